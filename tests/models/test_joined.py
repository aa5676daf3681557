"""LoRA whose products are joined with the weights: the same answers, the same gradients."""

import pytest
import torch

from samtune.models.joined import is_worth_joining, joined
from samtune.models.loading import load_model
from samtune.models.lora import base_beside, prepare_for_training
from samtune.models.settings import LoraSettings


@pytest.fixture
def open_sam():
    def opened(rank=32, **settings):
        sam = load_model("nano", image_size=64)
        lora = LoraSettings(rank=rank, alpha=2 * rank, targets="all", **settings)
        prepare_for_training(sam, "lora", lora, "lora")
        torch.manual_seed(0)
        for name, parameter in sam.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05)
        return sam.train()

    return opened


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def layers(sam):
    return [m for m in sam.network.modules() if hasattr(m, "lora_A") and len(m.lora_A)]


def joined_layers(sam):
    with joined(sam):
        return [layer for layer in layers(sam) if "forward" in vars(layer)]


def learned(sam, pixels):
    sam.zero_grad()
    answer = sam.encode(pixels).main
    answer.square().mean().backward()
    return answer.detach(), {n: p.grad for n, p in sam.named_parameters() if p.grad is not None}


def test_answers_and_gradients_are_the_same(open_sam, pixels):
    sam = open_sam()
    answer, gradients = learned(sam, pixels)
    with joined(sam):
        sam.zero_grad()
        found = sam.encode(pixels).main
    found.square().mean().backward()  # after the block too
    torch.testing.assert_close(found, answer, atol=1e-5, rtol=1e-4)
    own = {n: p.grad for n, p in sam.named_parameters() if p.grad is not None}
    assert own.keys() == gradients.keys()
    assert any("lora_A" in name for name in own)
    torch.testing.assert_close(own, gradients, atol=1e-6, rtol=1e-3)


def test_the_base_beside_it_answers_as_without(open_sam, pixels):
    sam = open_sam()
    base = base_beside(sam)
    with torch.no_grad():
        expected = base.encode(pixels).main
    with joined(sam), torch.no_grad():
        torch.testing.assert_close(base.encode(pixels).main, expected)


def test_layers_are_themselves_again_afterwards(open_sam):
    sam = open_sam()
    assert joined_layers(sam) == layers(sam)
    assert not any("forward" in vars(layer) for layer in layers(sam))
    with pytest.raises(KeyError), joined(sam):
        raise KeyError
    assert not any("forward" in vars(layer) for layer in layers(sam))


@pytest.mark.parametrize(
    "settings",
    [{"dropout": 0.1}, {"with_dora": True}, {"rank": 2}],
    ids=["dropout", "dora", "thin"],
)
def test_what_is_more_than_a_product_or_thin_is_left(open_sam, settings):
    assert not any(is_worth_joining(layer) for layer in layers(open_sam(**settings))[:12])


def test_nothing_is_joined_where_it_is_asked_again_or_does_not_learn(open_sam):
    sam = open_sam()
    with torch.no_grad():
        assert joined_layers(sam) == []
    with torch.autocast("cpu", torch.bfloat16):
        assert joined_layers(sam) == []
    sam.with_checkpointing = True
    assert joined_layers(sam) == []

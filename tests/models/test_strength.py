"""Between the base and the tuned model."""

import pytest
import torch
from peft import LoHaConfig, LoraConfig, PeftModel, get_peft_model

from samtune.errors import UserError
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.saving import save_tuned
from samtune.models.settings import LoraSettings
from samtune.models.strength import TunedScale, undo
from samtune.types import Prompts

PIXELS = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
PROMPTS = Prompts(boxes_xyxy=torch.tensor([[10.0, 12.0, 40.0, 50.0]]))


def answer(sam):
    with torch.no_grad():
        return sam.decode(sam.encode(PIXELS), torch.tensor([0]), PROMPTS, True).low_res_logits


def tuned(mode="lora", decoder="full", **lora):
    sam = load_model("nano", image_size=64)
    prepare_for_training(sam, mode, LoraSettings(rank=2, **lora), decoder)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in sam.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return sam.eval()


@pytest.fixture(scope="module")
def base():
    return load_model("nano", image_size=64)


@pytest.mark.parametrize(
    ("mode", "decoder", "lora"),
    [
        ("lora", "full", {}),
        ("lora", "lora", {}),
        ("lora", "frozen", {"with_rslora": True}),
        ("decoder", "full", {}),
        ("full", "full", {}),
    ],
)
def test_0_is_the_base_and_1_the_tuned_model(base, mode, decoder, lora):
    sam = tuned(mode, decoder, **lora)
    at_one = answer(sam)
    scale = TunedScale(sam, base)
    distances = []
    for value in (0.0, 0.5, 1.0, 0.0):
        scale.set(value)
        distances.append((answer(sam) - answer(base)).abs().max().item())
    # LoRA layers that add nothing may still round otherwise than none
    assert max(distances[0], distances[3]) < (1e-4 if decoder == "lora" else 1e-12)
    assert distances[1] > 1e-3
    scale.set(1.0)
    assert torch.equal(answer(sam), at_one)


def test_what_is_settled_is_saved_and_loads_by_peft_alone(base, tmp_path):
    sam = tuned()
    TunedScale(sam).settle(0.4)
    expected = answer(sam)
    save_tuned(sam, tmp_path)
    assert torch.allclose(answer(load_model(tmp_path)), expected, atol=1e-5)
    plain = load_model("nano", image_size=64)
    plain.network = PeftModel.from_pretrained(plain.core, tmp_path / "adapter")
    assert torch.allclose(answer(plain.eval()), expected, atol=1e-5)


def test_what_is_no_sum_with_the_base_has_no_scale():
    with pytest.raises(UserError, match="DoRA has no scale"):
        TunedScale(tuned(with_dora=True))
    for config, reason in (
        (LoHaConfig(r=2, target_modules=["qkv"]), "LOHA has no scale"),
        (LoraConfig(r=2, target_modules=["qkv"], bias="lora_only"), "trained biases"),
    ):
        sam = load_model("nano", image_size=64)
        sam.network = get_peft_model(sam.core, config)
        with pytest.raises(UserError, match=reason):
            TunedScale(sam)


@pytest.mark.parametrize("decoder", ["full", "lora"])
@pytest.mark.parametrize("with_dora", [False, True])
def test_an_adapter_that_is_undone_answers_as_the_base(base, tmp_path, decoder, with_dora):
    sam = tuned(decoder=decoder, with_dora=with_dora)
    assert not torch.allclose(answer(sam), answer(base), atol=1e-3)
    undo(sam)
    assert torch.allclose(answer(sam), answer(base), atol=1e-4)
    save_tuned(sam, tmp_path)
    assert torch.allclose(answer(load_model(tmp_path)), answer(base), atol=1e-4)

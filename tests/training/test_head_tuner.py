"""A head learns beside an encoder that is asked no more than it has to be."""

from types import SimpleNamespace

import pytest
import torch

from samtune.data.views import View
from samtune.errors import UserError
from samtune.reading import Reading
from samtune.training import heads
from samtune.training.averaging import Averaging
from samtune.training.heads import HeadTuner, quick
from samtune.training.settings import ModelSettings


def make(**settings):
    made = HeadTuner(
        "nano",
        ModelSettings(head="instances", **settings),
        lambda side: {"tile": side},
        Reading(),
        image_size=64,
    )
    made.configure_model()
    return made


@pytest.fixture
def tuner():
    return make()


@pytest.fixture
def asked(tuner, monkeypatch):
    """How many views the encoder was asked about, each time."""
    counts, encode = [], tuner.network.encode_for_heads

    def counted(pixel_values):
        counts.append(len(pixel_values))
        return encode(pixel_values)

    monkeypatch.setattr(tuner.network, "encode_for_heads", counted)
    return counts


PIXELS = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def batch(*keys):
    pixels = PIXELS[[place for place, _ in keys]]
    return View(pixels, {}, torch.ones(len(keys), 32, 32, dtype=torch.bool), list(keys))


def test_views_that_come_again_are_not_encoded_again(tuner, asked):
    tuner._features(batch((0, 5), (1, 5)))
    features = tuner._features(batch((1, 5), (2, 5), (0, 5), (2, 5)))
    assert asked == [2, 1]
    expected = tuner.network.encode(PIXELS[[1, 2, 0, 2]]).main
    torch.testing.assert_close(features.main, expected, atol=1e-4, rtol=1e-4)


def test_another_epoch_has_other_views(tuner, asked):
    tuner._features(batch((0, 5), (1, 5)))
    tuner._features(batch((0, 6), (1, 6)))
    assert asked == [2, 2]
    assert {key[1] for key in tuner._encoded} == {6}


def test_what_has_no_room_is_encoded_again(tuner, asked, monkeypatch):
    monkeypatch.setattr(heads, "_KEPT_BYTES", 0)
    one = tuner._features(batch((0, 5), (1, 5)))
    other = tuner._features(batch((0, 5), (1, 5)))
    assert asked == [2, 2]
    assert torch.equal(one.main, other.main)


def test_only_a_cpu_that_multiplies_in_bfloat16_is_asked_to(monkeypatch):
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    for able, expected in (
        (names[:1], torch.bfloat16), (names[1:], torch.bfloat16), ((), torch.float32),
    ):  # fmt: skip
        for name in names:
            monkeypatch.setattr(torch.cpu, name, lambda found=name in able: found)
        with quick(torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    with quick(torch.device("meta")):
        assert not torch.is_autocast_enabled("cpu")


def learning(tuner):
    return {name for name, weight in tuner.named_parameters() if weight.requires_grad}


def test_beside_a_frozen_encoder_nothing_but_the_head_learns(tuner):
    assert learning(tuner)
    assert all(name.startswith("sam.heads.instances.") for name in learning(tuner))


def test_together_the_encoders_adapter_gets_its_gradient_from_the_heads_loss():
    tuner = make(head_encoder="lora")
    adapter = {name for name in learning(tuner) if ".heads." not in name}
    assert adapter
    assert all("vision_encoder" in name and "lora_" in name for name in adapter)
    features = tuner.network.encode_for_heads(PIXELS)
    tuner.head(PIXELS, features).square().mean().backward()
    weights = dict(tuner.named_parameters())
    # LoRA's B is zero at first, so that A has no gradient yet
    assert all(float(weights[n].grad.abs().sum()) > 0 for n in adapter if "lora_B" in n)


def test_each_part_learns_at_its_own_rate():
    tuner = make(head_encoder="lora", head_lr=0.01)
    tuner.trainer = SimpleNamespace(estimated_stepping_batches=100, callbacks=[])
    groups = tuner.configure_optimizers()["optimizer"].param_groups
    rates = {
        name: group["initial_lr"]
        for group in groups
        for name, weight in tuner.named_parameters()
        if any(weight is own for own in group["params"])
    }
    assert set(rates) == learning(tuner)
    assert {rate for name, rate in rates.items() if "lora_" in name} == {1e-4}
    assert {round(rate, 6) for name, rate in rates.items() if ".heads." in name} == {0.01, 0.06}


def test_validation_looks_at_the_mean_and_training_goes_on_with_its_own_weights():
    tuner, averaging = make(), Averaging()
    weights = dict(tuner.named_parameters())
    name = min(learning(tuner))
    own = weights[name].detach().clone()
    averaging.weights = {name: torch.full_like(own, 0.25)}
    tuner.trainer = SimpleNamespace(callbacks=[averaging])
    tuner.on_validation_epoch_start()
    assert float(weights[name].mean()) == 0.25
    tuner.on_validation_epoch_end()
    assert torch.equal(weights[name], own)


@pytest.mark.parametrize("settings", [{"head": "none"}, {"head": "instances", "mode": "full"}])
def test_an_encoder_learns_together_with_a_head_and_by_lora_alone(settings):
    with pytest.raises(UserError, match=r"set model\.head, and mode lora"):
        ModelSettings(head_encoder="lora", **settings)

"""A head learns beside an encoder that is asked no more than it has to be."""

import pytest
import torch

from samtune.data.views import View
from samtune.reading import Reading
from samtune.training import heads
from samtune.training.heads import HeadTuner, quick
from samtune.training.settings import ModelSettings


@pytest.fixture
def tuner():
    made = HeadTuner(
        "nano",
        ModelSettings(head="instances"),
        lambda side: {"tile": side},
        Reading(),
        image_size=64,
    )
    made.configure_model()
    return made


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
    for is_able, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda found=is_able: found)
        with quick(torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    with quick(torch.device("meta")):
        assert not torch.is_autocast_enabled("cpu")

"""Each effect does what the instrument does, and nothing else."""

import numpy as np
import pytest

from samtune.data.augment.effects import (
    ChannelGain,
    GainField,
    Ghosting,
    Haze,
    Highlights,
    ShotNoise,
    StainJitter,
    Window,
)

EFFECTS = [ChannelGain, GainField, Ghosting, Haze, Highlights, ShotNoise, StainJitter, Window]
every_effect = pytest.mark.parametrize("effect", EFFECTS)


def colourful(shape=(48, 64)):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def applied(transform, image, seed=0):
    transform.p = 1.0
    transform.set_random_seed(seed)
    return transform(image=image)["image"]


@every_effect
def test_the_seed_alone_decides_and_the_picture_is_left_alone(effect):
    image = colourful()
    first, second = applied(effect(), image, 3), applied(effect(), image, 3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, colourful())
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    assert len({applied(effect(), image, seed).tobytes() for seed in range(8)}) > 3


@every_effect
def test_equal_channels_stay_equal(effect):
    image = colourful()
    image[..., 1] = image[..., 0]
    both = applied(effect(), np.repeat(image[..., :1], 3, 2))
    assert (both == both[..., :1]).all()
    if effect is not StainJitter:  # two of three may well be equal in stained tissue
        two = applied(effect(), image)
        np.testing.assert_array_equal(two[..., 0], two[..., 1])


@pytest.mark.parametrize(
    "effect", [ChannelGain, GainField, Ghosting, ShotNoise, Highlights, Window]
)
def test_black_stays_black(effect):
    assert not applied(effect(), np.zeros((30, 40, 3), np.uint8)).any()


def test_gains_are_each_channel_s_own_and_within_their_limits():
    image = np.full((4, 4, 3), 100, np.uint8)
    image[0, 0] = (99, 100, 101)  # channels that differ anywhere are different ones
    values = [applied(ChannelGain((0.5, 2.0)), image, seed)[2, 2] for seed in range(200)]
    assert np.min(values) >= 50
    assert np.max(values) <= 200
    assert np.mean(np.array(values) < 100) == pytest.approx(0.5, abs=0.08)
    assert all(len(set(pixel.tolist())) > 1 for pixel in values)


def test_a_window_has_its_ends_where_they_are_said():
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    found = applied(Window((0.1, 0.1), (0.8, 0.8)), image)[0, :, 0]
    assert found[25] == 0 < found[28]
    assert found[202] < 255 == found[204]
    assert applied(Window((0.0, 0.0), (1.2, 1.2)), image)[0, 240, 0] == 200


def test_haze_makes_dark_paler_and_contrast_smaller_but_keeps_the_order():
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    hazy = applied(Haze((0.3, 0.3)), image).astype(int)[0, :, 0]
    assert hazy[0] > 30
    assert hazy[-1] - hazy[0] < 0.9 * 255
    assert (np.diff(hazy) >= 0).all()
    assert hazy[220] == 220  # airlight itself


def test_stains_of_strength_one_are_the_picture_itself():
    image = colourful()
    np.testing.assert_array_equal(applied(StainJitter((1.0, 1.0)), image), image)


def test_glass_stays_white_and_stains_become_stronger():
    image = np.array([[[255, 255, 255], [80, 50, 130], [225, 150, 190]]], np.uint8)
    glass, nucleus, muscle = applied(StainJitter((1.4, 1.4)), image)[0].astype(int)
    assert glass.tolist() == [255, 255, 255]
    assert nucleus.sum() < 80 + 50 + 130
    assert muscle.sum() < 225 + 150 + 190
    strong = StainJitter().apply(image, np.array([2.0, 1.0, 1.0])).astype(int)[0]
    assert (image[0, 1] - strong[1])[0] > (image[0, 2] - strong[2])[0]  # the nucleus is blue


def test_a_gain_field_of_wide_spacing_is_smooth_and_one_of_narrow_spacing_is_not():
    image = np.full((128, 128, 3), 120, np.uint8)
    wide = applied(GainField((0.2, 0.2), 0.3), image)[..., 0].astype(int)
    narrow = applied(GainField((0.2, 0.2), 1 / 128), image)[..., 0].astype(int)
    assert np.abs(np.diff(wide)).max() < 6
    assert np.ptp(wide) > 15
    assert np.abs(np.diff(narrow)).mean() > 10
    assert np.log(narrow / 120).std() == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("level", [40, 160])
def test_shot_noise_grows_with_the_root_of_the_light(level):
    image = np.full((200, 200, 3), level, np.uint8)
    noise = applied(ShotNoise((0.05, 0.05)), image)[..., 0].astype(float) - level
    assert noise.std() == pytest.approx(0.05 * 255 * np.sqrt(level / 255), rel=0.05)
    assert abs(noise.mean()) < 0.2


def test_ghosts_are_faint_copies_around_the_edge():
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:14, 20:24] = 200
    found = Ghosting().apply(image, 0.2, 3, 0)[..., 0]
    assert found[10:14, 20:24].min() == found[10:14, 20:24].max() == 160
    assert found[30:34, 20:24].min() == found[50:54, 20:24].max() == 20
    assert found.astype(int).sum() == image[..., 0].astype(int).sum()
    aside = Ghosting().apply(image, 0.2, 3, 1)[..., 0]
    assert aside[10:14, 0:4].min() == aside[10:14, 40:44].min() == 20


def test_highlights_lie_on_what_is_lit_and_darken_nothing():
    image = np.full((200, 300, 3), (150, 60, 50), np.uint8)
    image[:, 200:] = 10
    num_seen = 0
    for seed in range(12):
        found = applied(Highlights(), image, seed)
        assert (found >= image).all()
        assert (found[:, 220:] == 10).all()
        share = (found.min(2) > 200).mean()
        assert share < 0.02
        num_seen += share > 0
    assert num_seen > 8

"""Carrying a prompt through slices: where it goes, where it stops and why, with the small model."""

import numpy as np
import pytest
import torch

from samtune.data.volumes.slices import SliceStack, as_seen
from samtune.errors import UserError
from samtune.inference.volumes.carrying import Carrier, Seed, contrast, contrast_left, grow
from samtune.inference.volumes.objects import largest_part, num_voxels, to_voxels
from samtune.inference.volumes.rule import SliceAnswer, StopRule
from samtune.masks import mask_to_box, rle_to_mask
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.types import MaskPrediction, Prompt, Window

SIDE, SLICES = 64, 12


@pytest.fixture(scope="module")
def sam():
    return load_model("nano")


def ball(centre, radius, shape=(SIDE, SIDE, SLICES), thickness=4.0):
    """A ball of `radius` pixels whose slices are `thickness` pixels apart."""
    x, y, z = np.meshgrid(*[np.arange(side) for side in shape], indexing="ij")
    squares = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + ((z - centre[2]) * thickness) ** 2
    return squares <= radius**2


def volume_of(*masks):
    """Bright objects on a dark ground with some noise."""
    noise = np.random.default_rng(0).normal(0, 6, masks[0].shape)
    values = np.full(masks[0].shape, 50.0) + noise
    for mask in masks:
        values[mask] += 120
    return SliceStack(values.astype(np.float32), 2, ((0.0, 255.0),))


def seed_of(mask, number, object_id=1):
    box = mask_to_box(as_seen(mask[..., number]))
    return Seed(object_id, f"ball {object_id}", number, Prompt(box_xyxy=box))


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


class TestCarrying:
    def test_a_ball_is_followed_to_both_ends(self, sam):
        mask = ball((30, 34, 6), 14)
        stack = volume_of(mask)
        found = Carrier(sam, stack, StopRule()).carry([seed_of(mask, 6)])[0]
        assert dice(to_voxels(found.masks, stack), mask) > 0.85
        true = np.flatnonzero(mask.any((0, 1)))
        assert abs(min(found.masks) - true[0]) <= 1
        assert abs(max(found.masks) - true[-1]) <= 1
        assert found.stops["up"].startswith(f"slice {max(found.masks) + 1}: ")
        assert found.stops["down"].startswith(f"slice {min(found.masks) - 1}: ")

    def test_several_objects_from_different_slices_are_as_each_alone(self, sam):
        masks = [ball((18, 20, 4), 11), ball((44, 40, 8), 12)]
        stack, seeds = volume_of(*masks), [seed_of(masks[0], 4), seed_of(masks[1], 8, 2)]
        carrier = Carrier(sam, stack, StopRule())
        together = carrier.carry(seeds)
        for found, seed, mask in zip(together, seeds, masks, strict=True):
            assert found == carrier.carry([seed])[0]
            assert dice(to_voxels(found.masks, stack), mask) > 0.8

    def test_a_column_ends_with_the_volume(self, sam):
        mask = np.repeat(ball((30, 34, 6), 14)[..., 6:7], 3, axis=2)
        stack = volume_of(mask)
        found = Carrier(sam, stack, StopRule()).carry([seed_of(mask, 2)])[0]
        assert sorted(found.masks) == [0, 1, 2]
        assert found.stops == {"up": "the volume ends", "down": "the volume ends"}

    def test_every_slice_is_encoded_once_a_direction(self, sam, monkeypatch):
        masks = [ball((18, 20, 5), 11), ball((44, 40, 5), 12)]
        stack, seen = volume_of(*masks), []
        encode = Sam.encode
        monkeypatch.setattr(Sam, "encode", lambda *given: seen.append(1) or encode(*given))
        rule = StopRule(0, -9, 1e9, -9)
        Carrier(sam, stack, rule).carry([seed_of(m, 5, n) for n, m in enumerate(masks)])
        assert len(seen) == SLICES

    @pytest.mark.parametrize("with_multimask", [False, True])
    def test_a_model_trained_for_one_mask_is_asked_for_one(self, sam, monkeypatch, with_multimask):
        mask, asked, seen = ball((30, 34, 6), 14), [], []
        decode, encode = Sam.decode, Sam.encode
        monkeypatch.setattr(Sam, "encode", lambda *given: seen.append(1) or encode(*given))
        monkeypatch.setattr(sam, "with_multimask", with_multimask)
        monkeypatch.setattr(Sam, "decode", lambda *given: asked.append(given[4]) or decode(*given))
        Carrier(sam, volume_of(mask), StopRule()).carry([seed_of(mask, 6)])
        # once on the slice of the prompt, a box; beyond it with both, where the model knows both
        assert asked[0] == with_multimask
        followed = [False, True] if with_multimask else [False]
        assert len(seen) > 5
        assert asked[1:] == followed * (len(seen) - 1)

    def test_progress_sees_the_slices_of_both_directions(self, sam):
        mask, seen = ball((30, 34, 6), 14), []

        def progress(numbers):
            seen.append(numbers)
            return numbers

        Carrier(sam, volume_of(mask), StopRule()).carry([seed_of(mask, 6)], progress)
        assert seen == [range(7, SLICES), range(5, -1, -1)]

    def test_a_point_alone_is_a_prompt(self, sam):
        mask = ball((30, 34, 6), 14)
        y, x = np.argwhere(as_seen(mask[..., 6])).mean(0)
        prompt = Prompt(np.array([[x, y]], np.float32), np.array([1]))
        stack = volume_of(mask)
        found = Carrier(sam, stack, StopRule()).carry([Seed(1, "ball", 6, prompt)])[0]
        assert dice(to_voxels(found.masks, stack), mask) > 0.8


def test_a_model_that_diverged_is_said(sam, monkeypatch):
    mask = ball((30, 34, 6), 14)
    answer = MaskPrediction(torch.zeros(1, 1, 64, 64), torch.tensor([[np.nan]]))
    monkeypatch.setattr(Sam, "decode", lambda *_: answer)
    with pytest.raises(UserError, match="NaN"):
        Carrier(sam, volume_of(mask), StopRule()).carry([seed_of(mask, 6)])


class TestStopRule:
    def answer(self, mask, score=0.9, is_there=True):
        return SliceAnswer(mask, score, np.zeros((4, 4), np.float32), is_there, Window(0, 0, 4, 4))

    def window(self, *place):
        mask = np.zeros((20, 20), np.bool_)
        mask[place] = True
        return mask

    @pytest.mark.parametrize(
        ("rule", "after", "contrast_left", "reason"),
        [
            ({}, np.s_[2:8, 2:8], 1.0, ""),
            ({}, np.s_[0:0, 0:0], 1.0, "nothing found"),
            ({"min_contrast": 0.5}, np.s_[2:8, 2:8], 0.49, "contrast 0.49 of that prompted"),
            ({"min_contrast": 0.5}, np.s_[2:8, 2:8], 0.51, ""),
            ({"min_contrast": 0}, np.s_[2:8, 2:8], -3.0, ""),
            ({}, np.s_[2:8, 2:8], -3.0, "contrast -3.00 of that prompted"),
            ({"min_score": 0.91}, np.s_[2:8, 2:8], 1.0, "expected IoU 0.90 below 0.91"),
            ({"max_change": 2}, np.s_[2:8, 2:4], 1.0, "area from 36 to 12 pixels, beyond 2 times"),
            ({"max_change": 3}, np.s_[2:8, 2:4], 1.0, ""),
            ({"max_change": 2}, np.s_[0:10, 0:10], 1.0, "area from 36 to 100"),
            ({"min_overlap": 0.5}, np.s_[2:8, 5:11], 1.0, "overlap 0.33 with the slice before"),
        ],
    )
    def test_says_why(self, rule, after, contrast_left, reason):
        before = self.window(slice(2, 8), slice(2, 8))
        said = StopRule(**rule).reason(before, self.answer(self.window(*after)), contrast_left)
        assert said.startswith(reason)
        assert bool(said) == bool(reason)

    def test_a_model_may_say_itself_that_there_is_nothing(self):
        mask = self.window(slice(2, 8), slice(2, 8))
        assert StopRule().reason(mask, self.answer(mask, is_there=False), 1.0) == "nothing found"


class TestContrast:
    def test_is_the_median_inside_less_that_around(self):
        grey = np.full((40, 50), 30, np.uint8)
        mask = np.zeros((40, 50), np.bool_)
        mask[10:20, 12:22] = True
        grey[mask] = 90
        assert contrast(grey, mask) == 60
        assert contrast(255 - grey, mask) == -60
        grey[25:, 30:] = 255  # far away
        assert contrast(grey, mask) == 60

    def test_without_object_or_surroundings_is_none(self):
        grey = np.full((8, 8), 9, np.uint8)
        assert contrast(grey, np.zeros((8, 8), np.bool_)) == 0
        assert contrast(grey, np.ones((8, 8), np.bool_)) == 0

    def test_of_a_faint_object_says_nothing(self):
        assert contrast_left(0.0, 3.0) == 1.0
        assert contrast_left(-10.0, -40.0) == 0.25

    def test_of_what_was_bright_and_is_dark_now_is_below_nothing(self):
        assert contrast_left(-40.0, 40.0) == -1.0
        assert contrast_left(10.0, -40.0) == -0.25


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 10, 29, 19), (6, 8, 33, 21)),
        ((0, 1, 9, 10), (0, 0, 11, 12)),
        ((40, 30, 49, 39), (38, 28, 49, 39)),
    ],
)
def test_boxes_grow_within_the_slice(box, expected):
    np.testing.assert_array_equal(grow(np.array(box, np.float32), 0.2, (40, 50)), expected)


def test_boxes_grow_by_a_pixel_at_least():
    np.testing.assert_array_equal(
        grow(np.array([5, 5, 6, 6], np.float32), 0.0, (40, 50)), [4, 4, 7, 7]
    )


@pytest.mark.parametrize(
    ("number", "prompt", "message"),
    [
        (12, Prompt(box_xyxy=np.array([1, 1, 5, 5], np.float32)), "no slice 12: .* 0 to 11"),
        (-1, Prompt(box_xyxy=np.array([1, 1, 5, 5], np.float32)), "no slice -1"),
        (
            3,
            Prompt(box_xyxy=np.array([1, 1, 5, 90], np.float32)),
            r"5,90 lies outside slice 3 of ball \(64x64",
        ),
        (3, Prompt(np.array([[-3, 4]], np.float32), np.array([1])), "-3,4 lies outside"),
        (3, Prompt(np.array([[np.nan, 4]], np.float32), np.array([1])), "nan,4 lies outside"),
    ],
)
def test_prompts_outside_are_said(sam, number, prompt, message):
    stack = volume_of(ball((30, 34, 6), 14))
    with pytest.raises(UserError, match=message):
        Carrier(sam, stack, StopRule()).carry([Seed(1, "ball", number, prompt)])


@pytest.mark.parametrize("number", [2, 3])
def test_a_slice_without_values_is_not_asked_about(sam, number):
    stack = volume_of(ball((30, 34, 6), 14))
    stack.values(3)[:] = np.nan
    seed = Seed(1, "ball", number, Prompt(box_xyxy=np.array([20, 20, 40, 40], np.float32)))
    if number == 3:
        with pytest.raises(UserError, match="ball: slice 3 of the volume holds no values"):
            Carrier(sam, stack, StopRule()).carry([seed])
    else:
        Carrier(sam, stack, StopRule()).carry([seed])


class TestObjects:
    def test_masks_come_back_as_voxels(self):
        mask = ball((20, 34, 5), 9)
        for axis in range(3):
            stack = SliceStack(mask.astype(np.float32), axis, ((0.0, 1.0),))
            masks = {
                n: stack_rle(np.take(mask, n, axis=axis))
                for n in range(len(stack))
                if np.take(mask, n, axis=axis).any()
            }
            np.testing.assert_array_equal(to_voxels(masks, stack), mask)
            assert num_voxels(masks) == mask.sum()

    def test_the_largest_part_stays(self):
        parts = [ball((20, 20, 3), 8), ball((44, 44, 8), 6)]
        stack = volume_of(*parts)
        both = {n: stack_rle((parts[0] | parts[1])[..., n]) for n in range(SLICES)}
        kept = largest_part(both, stack)
        np.testing.assert_array_equal(to_voxels(kept, stack), parts[0])
        assert largest_part(kept, stack) == kept
        assert all(rle_to_mask(rle).any() for rle in kept.values())


def stack_rle(plane):
    from samtune.masks import mask_to_rle

    return mask_to_rle(as_seen(plane))

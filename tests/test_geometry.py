import json

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from samtune.geometry import (
    logits_to_original,
    mask_to_cells,
    prompt_to_input,
    resized_hw,
    scale_xy,
    valid_cells,
)
from samtune.masks import mask_to_box, mask_to_rle, polygons_to_mask, rle_to_mask
from samtune.types import InputFrame, Prompt


def block(hw, rows, columns):
    mask = np.zeros(hw, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


SOLID_MASKS = {
    "square": block((12, 14), (2, 6), (3, 9)),
    "at the corner": block((12, 14), (0, 3), (0, 4)),
    "at the far corner": block((12, 14), (9, 12), (10, 14)),
    "whole image": np.ones((12, 14), bool),
    "one pixel": block((12, 14), (5, 6), (7, 8)),
    "thin line": block((12, 14), (5, 6), (2, 11)),
    "an L": block((12, 14), (2, 9), (3, 5)) | block((12, 14), (7, 9), (3, 11)),
    "two parts": block((12, 14), (1, 4), (1, 4)) | block((12, 14), (7, 11), (6, 12)),
}
MASKS = SOLID_MASKS | {
    "empty": np.zeros((12, 14), bool),
    "with a hole": block((12, 14), (2, 9), (2, 9)) ^ block((12, 14), (4, 6), (4, 6)),
    "noise": np.random.default_rng(0).random((12, 14)) < 0.4,
}
solid_masks = pytest.mark.parametrize("mask", SOLID_MASKS.values(), ids=SOLID_MASKS)
masks = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


@pytest.mark.parametrize(
    ("hw", "side", "expected"),
    [
        ((768, 1024), 1024, (768, 1024)),
        ((300, 400), 1024, (768, 1024)),
        ((500, 333), 1024, (1024, 682)),
        ((64, 64), 1024, (1024, 1024)),
        ((2000, 1000), 256, (256, 128)),
    ],
)
def test_longest_side_becomes_the_given_one(hw, side, expected):
    assert resized_hw(hw, InputFrame(side)) == expected


def test_half_a_pixel_rounds_up():
    assert resized_hw((5, 10), InputFrame(5)) == (3, 5)


@pytest.mark.parametrize(("hw", "expected"), [((1, 4000), (1, 256)), ((4000, 7), (256, 1))])
def test_a_very_long_image_keeps_at_least_one_pixel(hw, expected):
    assert resized_hw(hw, InputFrame(256)) == expected


def test_each_axis_is_scaled_by_its_own_ratio():
    scaled = scale_xy(np.array([[10, 20], [0, 0]]), (100, 50), (400, 100))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[20, 80], [0, 0]]


def test_scaling_there_and_back_is_the_identity():
    points = np.random.default_rng(1).uniform(0, 333, (20, 2)).astype(np.float32)
    there = scale_xy(points, (333, 500), (682, 1024))
    np.testing.assert_allclose(scale_xy(there, (682, 1024), (333, 500)), points, rtol=1e-6)


def test_a_prompt_moves_to_the_input_frame():
    prompt = Prompt(
        np.array([[10, 20]], np.float32), np.array([1]), np.array([5, 6, 50, 60], np.float32)
    )
    moved = prompt_to_input(prompt, (75, 100), InputFrame(1024))
    np.testing.assert_allclose(moved.point_coords, [[102.4, 204.8]])
    np.testing.assert_allclose(moved.box_xyxy, [51.2, 61.44, 512.0, 614.4])
    assert moved.point_labels.tolist() == [1]


def test_absent_parts_of_a_prompt_stay_absent_and_a_mask_stays_as_it_is():
    mask_input = np.ones((4, 4), np.float32)
    moved = prompt_to_input(Prompt(mask_input=mask_input), (75, 100), InputFrame(1024))
    assert moved.point_coords is None
    assert moved.point_labels is None
    assert moved.box_xyxy is None
    np.testing.assert_array_equal(moved.mask_input, mask_input)


def test_logits_grow_linearly_between_cell_centres():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    full = logits_to_original(ramp, (32, 32), InputFrame(32))
    expected = ((torch.arange(32) + 0.5) / 4 - 0.5).clamp(0, 7)
    torch.testing.assert_close(full, expected.expand(1, 1, 32, 32))


def test_logits_pass_the_input_size_on_their_way_to_a_smaller_image():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    small = logits_to_original(ramp, (16, 16), InputFrame(32))
    columns = torch.arange(1, 15)
    torch.testing.assert_close(small[0, 0, 5, 1:15], (2 * columns + 1) / 4 - 0.5)


def test_padding_is_cut_off_the_logits():
    logits = torch.full((2, 3, 8, 8), -9.0)
    logits[..., :4, :] = 5.0
    inside = logits_to_original(logits, (8, 16), InputFrame(32))
    assert inside.shape == (2, 3, 8, 16)
    assert (inside[..., :7, :] == 5.0).all()


def test_a_cell_holds_the_share_that_the_mask_covers():
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = True
    mask[4:6, 4:6] = True
    cells = mask_to_cells(mask, InputFrame(4).grid(4))
    expected = np.zeros((4, 4), np.uint8)
    expected[0, 0], expected[2, 2] = 64, 255
    np.testing.assert_array_equal(cells, expected)


def test_cells_of_a_smaller_image_are_enlarged_pixels():
    cells = mask_to_cells(np.array([[False, True], [False, False]]), InputFrame(4).grid(4))
    expected = np.zeros((4, 4), np.uint8)
    expected[:2, 2:] = 255
    np.testing.assert_array_equal(cells, expected)


def test_cells_below_and_right_of_the_image_are_empty():
    below = mask_to_cells(np.ones((4, 8), bool), InputFrame(8).grid(8))
    right = mask_to_cells(np.ones((8, 4), bool), InputFrame(8).grid(8))
    assert (below[:4] == 255).all()
    assert (below[4:] == 0).all()
    np.testing.assert_array_equal(right, below.T)


@pytest.mark.parametrize(
    ("hw", "rows", "columns"),
    [((30, 40), 24, 32), ((40, 30), 32, 24), ((9, 9), 32, 32), ((30, 50), 20, 32)],
)
def test_valid_cells_are_those_of_the_image(hw, rows, columns):
    """Of 30 x 50 pixels the input has 77 of 128 rows, which end in the twentieth cell."""
    expected = np.zeros((32, 32), bool)
    expected[:rows, :columns] = True
    np.testing.assert_array_equal(valid_cells(hw, InputFrame(128).grid(32)), expected)


def test_without_padding_all_cells_are_valid():
    assert valid_cells((30, 100), InputFrame(64, keeps_aspect=False).grid(64)).all()


@given(
    hw=st.tuples(st.integers(80, 700), st.integers(80, 700)),
    place=st.tuples(st.floats(0.15, 0.85), st.floats(0.15, 0.85)),
    frame=st.sampled_from([InputFrame(256), InputFrame(1024), InputFrame(256, keeps_aspect=False)]),
    cells=st.sampled_from([64, 256]),
)
@example(hw=(300, 500), place=(0.85, 0.5), frame=InputFrame(256), cells=64)
@example(hw=(520, 696), place=(0.85, 0.5), frame=InputFrame(1024), cells=64)
@example(hw=(80, 137), place=(0.5, 0.5), frame=InputFrame(1024), cells=256)
@settings(max_examples=60, deadline=None)
def test_what_is_drawn_into_a_target_is_read_back_where_it_was(hw, place, frame, cells):
    """Images of 80 pixels and more: the centre of a disc moves by less than a tenth of a cell of
    targets or answers, or of the image's own pixels where those are larger: nothing finer can be
    read back."""
    y, x = place[0] * hw[0], place[1] * hw[1]
    radius = 0.1 * min(hw)
    rows, columns = np.mgrid[: hw[0], : hw[1]]
    disc = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    shares = torch.from_numpy(mask_to_cells(disc, frame.grid(cells))).float()[None, None]
    low_res = torch.nn.functional.interpolate(shares, (frame.side // 4,) * 2, mode="area")
    back = logits_to_original(low_res, hw, frame)[0, 0].numpy()
    found = np.array([(back * rows).sum(), (back * columns).sum()]) / back.sum()
    truth = np.array([rows[disc].mean(), columns[disc].mean()])
    cell = max(4, frame.side / cells) * np.array(hw) / np.array(resized_hw(hw, frame))
    cell = np.maximum(cell, 1)
    assert (abs(found - truth) < 0.1 * cell).all()


def test_cells_keep_the_covered_area():
    mask = np.random.default_rng(2).random((96, 64)) < 0.3
    cells = mask_to_cells(mask, InputFrame(24).grid(24))
    assert cells.sum() / 255 * 16 == pytest.approx(mask.sum(), rel=0.01)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (block((12, 14), (2, 6), (3, 9)), [3, 2, 8, 5]),
        (block((12, 14), (5, 6), (7, 8)), [7, 5, 7, 5]),
        (block((12, 14), (0, 1), (0, 1)), [0, 0, 0, 0]),
        (np.ones((12, 14), bool), [0, 0, 13, 11]),
        (MASKS["two parts"], [1, 1, 11, 10]),
    ],
)
def test_a_box_names_the_first_and_last_pixel_inside(mask, expected):
    box = mask_to_box(mask)
    assert box.dtype == np.float32
    assert box.tolist() == expected


def test_an_empty_mask_has_no_box():
    assert mask_to_box(np.zeros((3, 4), bool)) is None


@masks
def test_rle_survives_json_and_gives_the_mask_back(mask):
    rle = json.loads(json.dumps(mask_to_rle(mask)))
    assert rle["size"] == [12, 14]
    decoded = rle_to_mask(rle)
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize("seed", range(5))
def test_compressed_rle_is_what_pycocotools_writes(seed):
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((300, 40)) < rng.random(), 50, axis=0)
    np.testing.assert_array_equal(rle_to_mask(mask_to_rle(mask)), mask)


@pytest.mark.parametrize("counts", ["", "o", "oooooooooo0", "~", "0 0"])
def test_damaged_rle_counts_are_refused(counts):
    with pytest.raises(ValueError, match="its counts"):
        rle_to_mask({"size": [4, 4], "counts": counts})


def test_uncompressed_rle_counts_down_the_columns():
    mask = rle_to_mask({"size": [2, 3], "counts": [1, 2, 3]})
    assert mask.tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize("counts", [[3, 2], [5], [30, 2]])
def test_rle_counts_must_sum_to_the_size(counts):
    with pytest.raises(ValueError, match=r".+"):
        rle_to_mask({"size": [4, 4], "counts": counts})


def test_a_polygon_covers_the_pixels_between_its_corners():
    mask = polygons_to_mask([[1, 1, 4, 1, 4, 3, 1, 3]], (5, 6))
    np.testing.assert_array_equal(mask, block((5, 6), (1, 3), (1, 4)))


def test_polygons_of_one_object_are_united():
    squares = [[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 4, 1, 4]]
    expected = block((6, 6), (0, 2), (0, 2)) | block((6, 6), (1, 4), (1, 4))
    np.testing.assert_array_equal(polygons_to_mask(squares, (6, 6)), expected)


class TestFrameWithoutPadding:
    """SAM 2's rule: both sides become S, each with its own scale."""

    FRAME = InputFrame(64, keeps_aspect=False)

    def test_every_image_fills_it(self):
        assert resized_hw((30, 100), self.FRAME) == (64, 64)

    def test_prompts_are_scaled_by_each_side(self):
        prompt = Prompt(np.float32([[50, 15]]), np.int64([1]), np.float32([0, 0, 100, 30]))
        moved = prompt_to_input(prompt, (30, 100), self.FRAME)
        assert moved.point_coords.tolist() == [[32, 32]]
        assert moved.box_xyxy.tolist() == [0, 0, 64, 64]

    def test_masks_fill_the_grid_and_come_back(self):
        mask = np.zeros((30, 100), bool)
        mask[:15, 50:] = True
        cells = mask_to_cells(mask, self.FRAME.grid(64))
        assert (cells[:32, 32:] == 255).all()
        assert not cells[:, :32].any()
        logits = torch.from_numpy(cells).float()[None, None] - 127
        back = logits_to_original(logits, (30, 100), self.FRAME)[0, 0] > 0
        assert (back.numpy() == mask).mean() > 0.98

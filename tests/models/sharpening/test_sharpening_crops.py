"""Where the cells of a crop lie: exactly, at any size, and there and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samtune.models.sharpening.crops import CHANNELS, Crop, crop_around, extent, inputs_of
from samtune.types import Prompt, Window

sides = st.floats(9, 700, allow_subnormal=False)
places = st.floats(-40, 260, allow_subnormal=False)


def ramp(height=300, width=400):
    """Each pixel holds its own x and y."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)


@given(x=places, y=places, side=sides)
def test_a_cell_holds_what_lies_in_its_middle(x, y, side):
    crop = Crop(x, y, side)
    seen = crop.cut(ramp())
    middles = (np.arange(64) + 0.5) * side / 64
    edge = 8 + side / 16  # where what is beyond counts too
    inside = [(start + middles > edge) & (start + middles < end - edge)
              for start, end in ((x, 400), (y, 300))]  # fmt: skip
    columns, rows = inside
    near = 0.02 + 0.03 * max(1, side / 64)  # cv2 goes in steps of a 32nd
    found = seen[rows][:, columns]
    expected = np.meshgrid(x + middles[columns] - 0.5, y + middles[rows] - 0.5)
    np.testing.assert_allclose(found, np.stack(expected, -1), atol=near)


@given(x=places, y=places, side=sides)
def test_points_lie_in_the_cells_that_hold_them(x, y, side):
    crop = Crop(x, y, side)
    point = np.array([[150.0, 120.0]])
    (column, row), = crop.moved(point)  # fmt: skip
    seen = crop.cut(ramp())
    if 2 < column < 61 and 2 < row < 61:
        found = seen[round(float(row)), round(float(column))]
        np.testing.assert_allclose(found, point[0], atol=0.51 * max(1, side / 64) + 0.05)


@given(
    x=st.floats(5, 150, allow_subnormal=False),
    y=st.floats(5, 100, allow_subnormal=False),
    side=st.floats(12, 120, allow_subnormal=False),
)
def test_what_is_cut_is_spread_to_where_it_was(x, y, side):
    crop, whole = Crop(x, y, side), Window(0, 0, 300, 400)
    window = crop.window(whole)
    middles = np.arange(window.x, window.x + window.width)
    assert (middles + 0.5 >= x).all()
    assert (middles + 0.5 < x + side).all()
    assert window.width in (int(side), int(side) + 1)
    back = crop.spread(crop.cut(ramp()[..., 0]), window)
    edge = 1 + int(side / 32)  # half a cell from the edge there is nothing to go between
    np.testing.assert_allclose(
        back[:, edge:-edge], np.tile(middles[edge:-edge], (window.height, 1)), atol=0.05
    )


def test_a_crop_beside_a_window_has_none_of_its_pixels():
    assert Crop(50, 50, 20).window(Window(0, 0, 40, 40)) is None
    assert Crop(30, 30, 20).window(Window(0, 0, 40, 40)) == Window(30, 30, 10, 10)


@pytest.mark.parametrize("corner", [(0, 0), (130, 60)])
def test_a_part_of_an_image_is_cut_as_the_image_is(corner):
    image = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    part = image[corner[1] :, corner[0] :]
    crop = Crop(150.3, 80.8, 90)
    np.testing.assert_allclose(crop.cut(part, corner), crop.cut(image), atol=2e-3)


def test_what_is_beyond_goes_on_or_is_what_was_asked_for():
    values = np.full((20, 20), 7, np.float32)
    crop = Crop(-20, -20, 60)
    assert (crop.cut(values) == 7).all()
    assert crop.cut(values, outside=-3.0)[0, 0] == -3
    assert crop.cut(values, outside=-3.0)[32, 32] == 7


def test_a_mean_is_taken_where_a_cell_holds_many_pixels():
    checks = np.indices((512, 512)).sum(0).astype(np.float32) % 2
    assert np.abs(Crop(0, 0, 512).cut(checks) - 0.5).max() < 0.01


def test_an_object_is_in_its_box_or_else_where_it_was_found():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:20] = True
    box = Prompt(box_xyxy=np.float32([100, 50, 119, 59]))
    np.testing.assert_array_equal(extent(box, mask, (80, 40)), [100, 50, 120, 60])
    click = Prompt(np.float32([[90, 60]]), np.int64([1]))
    np.testing.assert_array_equal(extent(click, mask, (80, 40)), [85, 50, 100, 70])
    assert extent(click, np.zeros((40, 40), bool), (80, 40)) is None


def test_a_very_small_object_is_seen_with_what_is_around_it():
    edges = extent(Prompt(box_xyxy=np.float32([10, 10, 11, 10])), np.zeros((4, 4), bool), (0, 0))
    assert (edges[2] - edges[0], edges[3] - edges[1]) == (8, 7)
    assert crop_around(edges).side == 12


@given(
    ratio=st.floats(1, 3, allow_subnormal=False),
    shift=st.tuples(
        st.floats(-0.2, 0.2, allow_subnormal=False), st.floats(-0.2, 0.2, allow_subnormal=False)
    ),
)
def test_a_crop_stands_around_its_object(ratio, shift):
    crop = crop_around(np.float32([10, 20, 50, 40]), ratio, 64, shift)
    assert crop.side == pytest.approx(40 * ratio)
    assert crop.x + crop.side / 2 == pytest.approx(30 + 40 * shift[0], abs=1e-6)
    assert crop.y + crop.side / 2 == pytest.approx(30 + 40 * shift[1], abs=1e-6)


def test_the_prompt_is_seen_in_channels_of_its_own():
    crop = Crop(0, 0, 64)
    prompt = Prompt(np.float32([[10, 20], [40, 50]]), np.int64([1, 0]), np.float32([8, 4, 30, 40]))
    image, logits = np.full((64, 64, 3), 255, np.float32), np.full((64, 64), -2, np.float32)
    seen = inputs_of(crop, image, logits, prompt)
    assert (seen.shape, seen.dtype) == ((CHANNELS, 64, 64), np.float32)
    assert (seen[:3] == 0.5).all()
    box = np.zeros((64, 64))
    box[4:41, 8:31] = 1
    np.testing.assert_array_equal(seen[3], box)
    assert seen[4, 20, 10] == pytest.approx(1)
    assert seen[4, 50, 40] == pytest.approx(-1)
    assert abs(seen[4, 0, 63]) < 1e-6
    assert (seen[5] == -2).all()
    assert not inputs_of(crop, image, logits, Prompt())[3:5].any()

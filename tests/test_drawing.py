import base64
import io

import numpy as np
import pytest
from PIL import Image

from samtune.drawing import (
    BOX,
    NEGATIVE,
    POSITIVE,
    TRUTH,
    TUNED,
    comparison,
    crop_around,
    draw_prompt,
    enlarge,
    overlay,
    shift_prompt,
    side_by_side,
    to_data_uri,
    to_png,
)
from samtune.types import Prompt


def grey(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def square(hw, rows, columns):
    mask = np.zeros(hw, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_overlay_tints_inside_outlines_the_edge_and_leaves_the_rest():
    picture = overlay(grey(20, 20), square((20, 20), (5, 15), (5, 15)), (200, 0, 0), alpha=0.5)
    assert picture[10, 10].tolist() == [150, 50, 50]
    assert picture[5, 10].tolist() == [200, 0, 0]
    assert picture[14, 14].tolist() == [200, 0, 0]
    assert picture[4, 10].tolist() == [100, 100, 100]


def test_overlay_outlines_holes_too():
    mask = square((30, 30), (2, 28), (2, 28)) ^ square((30, 30), (12, 18), (12, 18))
    picture = overlay(grey(30, 30), mask, (200, 0, 0))
    assert picture[15, 11].tolist() == [200, 0, 0]
    assert picture[15, 15].tolist() == [100, 100, 100]


def test_overlay_of_an_empty_mask_is_the_image():
    image = grey(8, 8)
    picture = overlay(image, np.zeros((8, 8), bool), TRUTH)
    np.testing.assert_array_equal(picture, image)
    assert picture is not image


def test_overlay_leaves_its_input_alone():
    image = grey(8, 8)
    overlay(image, np.ones((8, 8), bool), TRUTH)
    np.testing.assert_array_equal(image, grey(8, 8))


def test_points_are_green_inside_and_red_outside():
    prompt = Prompt(np.array([[10, 20], [30, 5]], np.float32), np.array([1, 0]))
    picture = draw_prompt(grey(40, 40), prompt)
    assert picture[20, 10].tolist() == list(POSITIVE)
    assert picture[5, 30].tolist() == list(NEGATIVE)
    assert picture[35, 35].tolist() == [100, 100, 100]


def test_a_box_is_drawn_on_its_first_and_last_pixels():
    picture = draw_prompt(grey(40, 40), Prompt(box_xyxy=np.array([5, 8, 30, 25], np.float32)))
    is_box = (picture == BOX).all(axis=2)
    assert is_box[8, 5:31].all()
    assert is_box[25, 5:31].all()
    assert is_box[8:26, 5].all()
    assert is_box[8:26, 30].all()
    assert not is_box[9:25, 6:30].any()


def test_an_absent_prompt_draws_nothing():
    np.testing.assert_array_equal(draw_prompt(grey(9, 9), Prompt()), grey(9, 9))


@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 5), (0, 5)), ((195, 200), (290, 300)), ((90, 110), (100, 180))]
)
def test_a_window_is_square_lies_in_the_image_and_holds_the_object(rows, columns):
    mask = square((200, 300), rows, columns)
    window_rows, window_columns = crop_around(mask)
    height = window_rows.stop - window_rows.start
    assert height == window_columns.stop - window_columns.start
    assert window_rows.start >= 0
    assert window_rows.stop <= 200
    assert window_columns.start >= 0
    assert window_columns.stop <= 300
    assert mask[window_rows, window_columns].sum() == mask.sum()


def test_a_window_has_the_margin_but_not_less_than_the_smallest_side():
    small, _ = crop_around(square((300, 300), (100, 110), (100, 110)))
    large, _ = crop_around(square((300, 300), (100, 200), (100, 150)), margin=0.5)
    assert small.stop - small.start == 64
    assert large.stop - large.start == 150


def test_a_window_has_its_object_in_the_middle():
    rows, columns = crop_around(square((300, 300), (100, 200), (50, 150)), margin=0.5)
    assert (rows, columns) == (slice(74, 224), slice(24, 174))


def test_the_window_of_an_empty_mask_is_the_image():
    assert crop_around(np.zeros((20, 30), bool)) == (slice(0, 20), slice(0, 30))


def test_the_window_in_a_small_image_is_the_image():
    assert crop_around(square((20, 30), (5, 9), (5, 9))) == (slice(0, 20), slice(0, 30))


def test_a_prompt_follows_its_pixel_into_an_enlarged_window():
    prompt = Prompt(
        np.array([[12, 25]], np.float32), np.array([1]), np.array([10, 20, 14, 30], np.float32)
    )
    moved = shift_prompt(prompt, slice(20, 40), slice(10, 30), 4.0)
    assert moved.point_coords.tolist() == [[9.5, 21.5]]
    assert moved.box_xyxy.tolist() == [1.5, 1.5, 17.5, 41.5]
    assert moved.point_labels.tolist() == [1]


def test_a_row_puts_pictures_side_by_side_on_white():
    row = side_by_side([grey(10, 5, 1), grey(6, 7, 2)], gap=3)
    assert row.shape == (10, 15, 3)
    assert (row[:, :5] == 1).all()
    assert (row[:, 5:8] == 255).all()
    assert (row[:6, 8:] == 2).all()
    assert (row[6:, 8:] == 255).all()


@pytest.mark.parametrize(("hw", "size"), [((20, 40), (80, 160)), ((400, 100), (160, 40))])
def test_enlarging_makes_the_longest_side_the_given_one(hw, size):
    picture, factor = enlarge(grey(*hw), 160)
    assert picture.shape[:2] == size
    assert factor == 160 / max(hw)


def test_a_one_pixel_wide_picture_keeps_its_width_of_one():
    picture, _ = enlarge(grey(400, 1), 160)
    assert picture.shape == (160, 1, 3)


def test_a_comparison_has_a_picture_for_the_prompt_and_one_for_each_mask():
    truth = square((100, 100), (40, 60), (40, 60))
    point = Prompt(np.array([[50, 50]], np.float32), np.array([1]))
    row = comparison(grey(100, 100), point, [(truth, TRUTH), (np.zeros_like(truth), TUNED)])
    assert row.shape == (160, 3 * 160 + 2 * 4, 3)
    prompted, true, tuned = row[:, :160], row[:, 164:324], row[:, 328:]
    assert (prompted == POSITIVE).all(axis=2).any()
    assert (true == TRUTH).all(axis=2).any()
    assert (tuned == 100).all()


def test_png_keeps_every_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(to_png(picture))) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_a_data_uri_holds_the_png():
    kind, _, content = to_data_uri(grey(3, 3)).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == to_png(grey(3, 3))

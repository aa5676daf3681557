"""Masks as polygons along the edges of their pixels, and back without the loss of one."""

import numpy as np
import pytest
from scipy import ndimage

from samtune.geometry import polygons_to_mask
from samtune.outlines import mask_to_polygon, mask_to_rings


def area(ring):
    x, y = ring.T
    return np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2


def filled(ring, hw):
    return polygons_to_mask([ring.reshape(-1).astype(float).tolist()], hw)


def masks():
    rng = np.random.default_rng(0)
    for number in range(60):
        hw = tuple(rng.integers(1, 40, 2))
        if number % 2:
            yield rng.random(hw) > 0.5
        else:
            yield ndimage.gaussian_filter(rng.normal(size=hw), 1.5) > 0.05


def test_a_pixel_is_the_square_around_it():
    mask = np.zeros((4, 5), np.bool_)
    mask[1, 2] = True
    (ring,) = mask_to_rings(mask)
    assert sorted(ring.tolist()) == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert area(ring) == 1


def test_parts_run_one_way_and_holes_the_other():
    mask = np.ones((5, 5), np.bool_)
    mask[2, 2] = False
    areas = sorted(area(ring) for ring in mask_to_rings(mask))
    assert areas == [-1, 25]


def test_pixels_that_touch_at_a_corner_are_parts_of_their_own():
    assert [area(ring) for ring in mask_to_rings(np.eye(3, dtype=bool))] == [1, 1, 1]


@pytest.mark.parametrize("mask", masks(), ids=lambda mask: "x".join(map(str, mask.shape)))
def test_what_is_traced_is_filled_again_to_the_pixel(mask):
    rings = mask_to_rings(mask)
    assert sum(area(ring) for ring in rings) == mask.sum()
    again = np.zeros_like(mask)
    for ring in rings:
        again ^= filled(ring, mask.shape)
    np.testing.assert_array_equal(again, mask)
    if mask.any():
        np.testing.assert_array_equal(filled(mask_to_polygon(mask), mask.shape), mask)


def test_an_empty_mask_has_no_outline():
    empty = np.zeros((3, 3), np.bool_)
    assert mask_to_rings(empty) == []
    with pytest.raises(ValueError, match="no outline"):
        mask_to_polygon(empty)

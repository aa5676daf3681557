"""Masks as polygons along the edges of their pixels, and back without the loss of one."""

import numpy as np
import pytest
from scipy import ndimage

from samtune.masks import mask_to_polygon, mask_to_polygons, mask_to_rings, polygons_to_mask


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


@pytest.mark.parametrize("mask", list(masks()), ids=lambda mask: "x".join(map(str, mask.shape)))
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


@pytest.mark.parametrize("mask", list(masks()), ids=lambda mask: "x".join(map(str, mask.shape)))
def test_a_polygon_for_each_part_and_all_of_them_are_the_mask(mask):
    polygons = mask_to_polygons(mask)
    assert len(polygons) == ndimage.label(mask)[1]
    flat = [polygon.reshape(-1).astype(float).tolist() for polygon in polygons]
    again = polygons_to_mask(flat, mask.shape) if flat else np.zeros_like(mask)
    np.testing.assert_array_equal(again, mask)


def test_a_simpler_outline_has_fewer_corners_and_nearly_the_same_mask():
    rows, columns = np.mgrid[:80, :80]
    distance = np.hypot(rows - 40, columns - 40)
    mask = (distance < 33) & (distance > 12)
    (exact,), (simple,) = mask_to_polygons(mask), mask_to_polygons(mask, tolerance=1.0)
    assert len(simple) < len(exact) / 4
    again = filled(simple, mask.shape)
    assert (again & mask).sum() / (again | mask).sum() > 0.95


def test_what_is_too_small_to_be_simpler_stays_as_it_is():
    mask = np.zeros((6, 6), np.bool_)
    mask[2, 3] = True
    (polygon,) = mask_to_polygons(mask, tolerance=5.0)
    np.testing.assert_array_equal(filled(polygon, mask.shape), mask)

"""Masks cut to their objects hold all that whole ones do."""

import numpy as np
import pytest
from scipy import ndimage

from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.masks import mask_to_box, mask_to_rle


def masks():
    rng = np.random.default_rng(0)
    found = [np.zeros((5, 7), np.bool_), np.ones((5, 7), np.bool_), np.ones((1, 1), np.bool_)]
    for number in range(40):
        hw = tuple(rng.integers(1, 30, 2))
        smooth = ndimage.gaussian_filter(rng.normal(size=hw), number % 3)
        found.append(smooth > rng.choice([-0.1, 0.1, 0.5]))
    columns = np.zeros((6, 9), np.bool_)
    columns[:, 3:6] = columns[2, 6] = True  # runs that go on from column to column
    return [*found, columns]


@pytest.mark.parametrize("mask", masks(), ids=lambda mask: "x".join(map(str, mask.shape)))
def test_a_mask_is_the_same_again(mask):
    placed = PlacedMask.of(mask)
    np.testing.assert_array_equal(placed.whole(mask.shape), mask)
    np.testing.assert_array_equal(placed.box, mask_to_box(mask))
    assert placed.area == mask.sum()
    assert placed.to_rle(mask.shape) == mask_to_rle(mask)


def test_a_part_of_an_image_keeps_its_place():
    part = np.zeros((6, 6), np.bool_)
    part[2:4, 3:6] = True
    placed = PlacedMask.of(part, top=10, left=20)
    assert (placed.top, placed.left, placed.part.shape) == (12, 23, (2, 3))
    assert placed.box.tolist() == [23, 12, 25, 13]
    assert placed.window((15, 26), margin=4) == (slice(8, 15), slice(19, 26))
    whole = placed.whole((15, 26))
    np.testing.assert_array_equal(placed.within(placed.window((15, 26), 4)), whole[8:15, 19:26])
    assert placed.to_rle((15, 26)) == mask_to_rle(whole)

"""Thinning out, mending and keeping masks small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samtune.inference.automatic.candidates import (
    Candidate,
    box_and_bits,
    suppress,
    without_small_regions,
)
from samtune.masks import rle_to_mask


def candidate(mask, score=0.5):
    box, bits = box_and_bits(mask)
    hw = mask.shape
    return Candidate(box, bits, hw, score, 1.0, (0.0, 0.0), (0, 0, hw[1], hw[0]))


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_a_mask_comes_back_from_its_bits(mask):
    mask.flat[-1] = True  # never empty
    found = candidate(mask)
    np.testing.assert_array_equal(found.mask(), mask)
    np.testing.assert_array_equal(mask[found.window], found.cropped())
    np.testing.assert_array_equal(rle_to_mask(found.rle()), mask)


def test_the_better_of_two_doubles_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50]])
    scores = np.array([0.6, 0.9, 0.7], np.float32)
    assert suppress(boxes, scores, 0.5) == [1, 2]
    assert suppress(boxes, scores, 0.9) == [1, 2, 0]


def test_of_equal_scores_the_first_stays_and_nothing_is_well():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]])
    assert suppress(boxes, np.array([0.5, 0.5], np.float32), 0.5) == [0]
    assert suppress(np.zeros((0, 4), np.int64), np.zeros(0, np.float32), 0.5) == []


def test_boxes_without_an_area_touch_nothing():
    boxes = np.array([[3, 3, 3, 9], [3, 3, 3, 9]])
    assert suppress(boxes, np.ones(2, np.float32), 0.1) == [0, 1]


def test_small_holes_are_filled_and_small_islands_dropped():
    mask = np.zeros((40, 40), np.bool_)
    mask[5:25, 5:25] = True
    whole = mask.copy()
    mask[10:12, 10:12] = False
    mask[35, 35] = True
    (found,) = without_small_regions([candidate(mask)], 9, 0.7)
    np.testing.assert_array_equal(found.mask(), whole)
    assert found.box_xyxy.tolist() == [5, 5, 24, 24]


def test_of_nothing_but_small_islands_the_largest_stays():
    mask = np.zeros((20, 20), np.bool_)
    mask[2, 2] = mask[10, 10:13] = True
    (found,) = without_small_regions([candidate(mask)], 50, 0.7)
    assert found.mask().sum() == 3


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_masks_that_needed_no_mending_win(order):
    clean = np.zeros((40, 40), np.bool_)
    clean[5:25, 5:25] = True
    torn = clean.copy()
    torn[10, 10] = False
    pair = [candidate(clean, 0.4), candidate(torn, 0.9)]
    (found,) = without_small_regions([pair[place] for place in order], 9, 0.7)
    assert found.predicted_iou == 0.4

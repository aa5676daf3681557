"""Outlines: hand values, brute force, and what empty masks count as."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from samtune.evaluation.metrics.contour import DEFINITION, contour_scores


def square(hw, rows, columns):
    mask = np.zeros(hw, np.bool_)
    mask[rows, columns] = True
    return mask


def blobs(seed, hw=(40, 50)):
    rng = np.random.default_rng(seed)
    return [ndimage.gaussian_filter(rng.normal(size=hw), 2.5) > 0.05 for _ in range(2)]


class TestHandValues:
    def test_equal_masks(self):
        mask = square((20, 20), slice(3, 9), slice(4, 12))
        scores = contour_scores(mask, mask)
        assert (scores.boundary_iou, scores.surface_dice, scores.hd95) == (1.0, 1.0, 0.0)

    def test_a_square_moved_by_three_pixels(self):
        truth = square((30, 30), slice(5, 15), slice(5, 15))
        moved = square((30, 30), slice(5, 15), slice(8, 18))
        scores = contour_scores(moved, truth, tolerance=2.0)
        # Of the truth's 36 edge pixels, the left column (10) is 3 away from the moved edge, and so are
        # the 4 in the middle of its right column, which lies inside the moved square.
        assert scores.surface_dice == pytest.approx((36 - 14) / 36)
        assert scores.hd95 == 3.0
        assert contour_scores(moved, truth, tolerance=3.0).surface_dice == 1.0

    def test_spacing_makes_distances_physical(self):
        truth = square((30, 30), slice(5, 15), slice(5, 15))
        moved = square((30, 30), slice(5, 15), slice(8, 18))
        scores = contour_scores(moved, truth, spacing=(1.0, 0.5), tolerance=1.5)
        assert scores.hd95 == 1.5
        assert scores.surface_dice == 1.0

    def test_two_pixels_apart(self):
        first, second = square((9, 9), 1, 1), square((9, 9), 4, 5)
        scores = contour_scores(first, second, tolerance=4.9)
        assert (scores.boundary_iou, scores.surface_dice, scores.hd95) == (0.0, 0.0, 5.0)
        assert contour_scores(first, second, tolerance=5.0).surface_dice == 1.0


class TestAgainstBruteForce:
    @pytest.mark.parametrize("seed", range(8))
    def test_distances_between_all_pixels_of_the_edges(self, seed):
        predicted, truth = blobs(seed)
        spacing, tolerance = (0.7, 1.3), 1.6
        edges = [m & ~ndimage.binary_erosion(m) for m in (predicted, truth)]
        points = [np.argwhere(edge) * spacing for edge in edges]
        distances = cdist(*points)
        there, back = distances.min(1), distances.min(0)
        near = (there <= tolerance).sum() + (back <= tolerance).sum()
        scores = contour_scores(predicted, truth, spacing, tolerance)
        assert scores.surface_dice == pytest.approx(near / (len(there) + len(back)))
        assert scores.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))

    @pytest.mark.parametrize("seed", range(8))
    def test_bands_by_one_erosion_after_another(self, seed):
        """As the paper's own description: 2% of the diagonal, one pixel at a time, border outside."""
        masks = blobs(seed, (150, 200))
        width = round(0.02 * np.hypot(150, 200))
        bands = []
        for mask in masks:
            inner = np.pad(mask.astype(np.uint8), 1)
            for _ in range(width):
                inner = cv2.erode(inner, np.ones((3, 3), np.uint8))
            bands.append(mask & ~inner[1:-1, 1:-1].astype(bool))
        expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
        assert contour_scores(*masks).boundary_iou == pytest.approx(expected)


class TestEmptyMasks:
    def test_both(self):
        empty = np.zeros((3, 4), np.bool_)
        scores = contour_scores(empty, empty)
        assert (scores.boundary_iou, scores.surface_dice, scores.hd95) == (1.0, 1.0, 0.0)

    def test_one_is_as_far_off_as_can_be(self):
        empty, mask = np.zeros((30, 40), np.bool_), square((30, 40), 3, 4)
        for pair in ((empty, mask), (mask, empty)):
            scores = contour_scores(*pair, spacing=(2.0, 2.0))
            assert (scores.boundary_iou, scores.surface_dice, scores.hd95) == (0.0, 0.0, 100.0)

    def test_an_object_at_the_border_has_an_edge_there(self):
        whole = np.ones((6, 6), np.bool_)
        part = square((6, 6), slice(0, 6), slice(0, 3))
        assert contour_scores(whole, part).hd95 == 3.0


def test_the_definition_is_the_one_that_is_told():
    """Of a corner 3 x 3 against 3 x 1 pixels: edges of 8 and 3 pixels, each counting the same."""
    first, second = np.zeros((2, 8, 8), bool)
    first[2:5, 2:5] = True
    second[2:5, 2] = True
    found = contour_scores(first, second, tolerance=1.0)
    # of the 8 pixels three lie on the line and two beside it
    assert found.surface_dice == pytest.approx((5 + 3) / (8 + 3))
    assert "count pixels (voxels) of edges, each the same" in DEFINITION

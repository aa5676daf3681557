"""Surface Dice and HD95 over pieces of outlines, against lengths and areas found by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samtune.evaluation.metrics.contour import DEFINITION
from samtune.evaluation.metrics.surface import pieces, surface_agreement
from samtune.evaluation.metrics.table import METRICS, Pair, measured
from samtune.evaluation.metrics.volume import volume_scores

SLANT = np.sqrt(0.5)  # of a piece round the corner of a square of side 1


def total(mask, spacing=None):
    places, sizes = pieces(np.pad(mask, 1), spacing or (1,) * mask.ndim)
    assert len(places) == len(sizes)
    return sizes.sum()


def square(side):
    return np.ones((side, side), bool)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_the_outline_of_a_square_is_its_sides_with_corners_cut_off(side):
    assert total(square(side)) == pytest.approx(4 * (side - 1) + 4 * SLANT)


def test_pixels_that_are_no_squares_have_the_lengths_of_their_sides():
    # 3 rows, 4 apart, and 2 columns, 3 apart: sides of 2 x 4 and 1 x 3, corners of half a diagonal
    mask = np.ones((3, 2), bool)
    assert total(mask, (4.0, 3.0)) == pytest.approx(2 * 2 * 4 + 2 * 1 * 3 + 4 * 2.5)


def test_pixels_that_meet_in_a_corner_have_outlines_of_their_own():
    assert total(np.eye(2, dtype=bool)) == pytest.approx(2 * total(square(1)))
    assert total(~np.eye(2, dtype=bool)) == pytest.approx(2 * total(square(1)))


def test_a_hole_has_the_outline_of_what_fills_it():
    ring = square(3)
    ring[1, 1] = False
    assert total(ring) == pytest.approx(total(square(3)) + total(square(1)))


@pytest.mark.parametrize("side", [1, 2, 4])
def test_the_surface_of_a_cube_is_its_faces_with_edges_and_corners_cut_off(side):
    faces, edges, corners = 6 * (side - 1) ** 2, 12 * (side - 1) * SLANT, 8 * np.sqrt(3) / 8
    assert total(np.ones((side,) * 3, bool)) == pytest.approx(faces + edges + corners)


def test_voxels_that_are_no_cubes_have_the_areas_of_their_faces():
    # the eight corners of one are each an eighth of the length of (2 x 3, 1 x 3, 1 x 2)
    assert total(np.ones((1, 1, 1), bool), (1.0, 2.0, 3.0)) == pytest.approx(7)


@pytest.mark.parametrize("is_inside", [True, False])
def test_an_inner_edge_of_space_is_a_triangle_and_a_trapezium(is_inside):
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[0, 0, 1] = mask[0, 1, 0] = True
    codes_only = mask if is_inside else ~mask
    places, sizes = pieces(codes_only, (1.0, 1.0, 1.0))
    assert places.tolist() == [[1, 1, 1]]
    # half a unit square, and between sides of sqrt(2)/2 and sqrt(2), sqrt(6)/4 apart
    assert sizes[0] == pytest.approx(0.5 + 0.75 * np.sqrt(2) * np.sqrt(6) / 4)


def test_of_two_rectangles_pieces_count_by_their_length():
    """3 x 3 pixels against the three of its first column."""
    whole = np.zeros((8, 8), bool)
    whole[2:5, 2:5] = True
    part = whole.copy()
    part[:, 3:] = False
    near, distance = surface_agreement(whole, part, (1.0, 1.0), 0.0)
    # on one line: the left side of both, and where the right corners of the part meet the whole's sides
    of_whole, of_part = 2 * SLANT + 2 + 2, 2 * SLANT + 2 + 2 * SLANT
    assert near == pytest.approx((of_whole + of_part) / (8 + 4 * SLANT + 4 + 4 * SLANT))
    assert distance == 2.0
    both = surface_agreement(whole, part, (1.0, 1.0), 2.0)
    assert both == (1.0, 2.0)
    assert surface_agreement(part, whole, (1.0, 1.0), 0.0) == pytest.approx((near, distance))


def test_a_short_piece_that_is_far_off_is_beyond_the_95_percent():
    plate, spur = np.zeros((2, 30, 30), bool)
    plate[5:25, 5:25] = spur[5:25, 5:25] = True
    spur[15, 25] = True
    # 76 + 4 slants against three pieces and a half that are at most one pixel off
    assert surface_agreement(spur, plate, (1.0, 1.0), 0.5)[1] == 0.0
    spur[10:20, 25:28] = True
    assert surface_agreement(spur, plate, (1.0, 1.0), 0.5)[1] == 3.0


def test_empty_masks_agree_with_each_other_alone():
    empty, full = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    assert surface_agreement(empty, empty, (1.0, 1.0), 2.0) == (1.0, 0.0)
    assert surface_agreement(full, empty, (2.0, 2.0), 2.0) == (0.0, 10.0)


@settings(max_examples=40, deadline=None)
@given(mask=arrays.arrays(np.bool_, st.tuples(*[st.integers(1, 5)] * 3)), shift=st.integers(0, 2))
def test_a_mask_agrees_with_itself_and_as_well_wherever_both_lie(mask, shift):
    if mask.any():
        spacing = (1.0, 2.0, 0.5)
        assert surface_agreement(mask, mask, spacing, 0.0) == (pytest.approx(1.0), 0.0)
        moved = np.pad(mask, ((shift, 0), (0, 0), (0, 0)))
        there = surface_agreement(moved, np.pad(mask, ((0, shift), (0, 0), (0, 0))), spacing, 3.0)
        assert there == (pytest.approx(1.0), pytest.approx(there[1]))
        assert there[1] <= shift


def test_both_definitions_are_measured_and_named():
    """A corner of 3 x 3 pixels against 3 x 1: each definition has its own figure."""
    whole = np.zeros((8, 8), bool)
    whole[2:5, 2:5] = True
    part = whole.copy()
    part[:, 3:] = False
    found = measured(Pair(whole, part, tolerance=1.0))
    by_length = surface_agreement(whole, part, (1.0, 1.0), 1.0)
    assert (found["surface_dice_by_length"], found["hd95_by_length"]) == by_length
    assert found["surface_dice"] == pytest.approx((5 + 3) / (8 + 3))
    assert found["surface_dice_by_length"] != pytest.approx(found["surface_dice"], abs=0.01)
    labels = [METRICS[f"{name}_by_length"].label for name in ("surface_dice", "hd95")]
    assert labels == ["surface Dice (NSD) by length", "HD95 by length"]
    assert "as the package surface-distance does" in DEFINITION


def test_objects_of_volumes_have_both_too():
    truth = np.zeros((9, 9, 9), bool)
    truth[2:6, 2:6, 2:6] = True
    moved = np.roll(truth, 1, axis=0)
    spacing = (2.0, 1.0, 1.0)
    scores = volume_scores(moved, truth, spacing, tolerance=1.5)
    by_area = scores.surface_dice_by_area, scores.hd95_by_area
    assert by_area == surface_agreement(moved, truth, spacing, 1.5)
    assert scores.hd95_by_area == 2.0
    unknown = volume_scores(moved, truth, (np.nan, 1.0, 1.0))
    assert np.isnan([unknown.surface_dice_by_area, unknown.hd95_by_area]).all()
    nothing = np.zeros_like(truth)
    assert volume_scores(nothing, truth, spacing).surface_dice_by_area == 0.0
    assert volume_scores(nothing, nothing, spacing).hd95_by_area == 0.0

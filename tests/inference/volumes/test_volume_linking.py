"""Masks of slices linked to objects: hand cases, against trying all pairings, and from a finder."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from samtune.data.volumes.slices import SliceStack, slice_of
from samtune.inference.volumes.linking import SliceMask, link_slices, segment_slices
from samtune.inference.volumes.objects import to_voxels
from samtune.masks import mask_to_rle


def square(x, y, side=6, hw=(32, 40)):
    mask = np.zeros(hw, np.bool_)
    mask[y : y + side, x : x + side] = True
    return mask


def numbers(slices, min_iou=0.5):
    rles = [[mask_to_rle(mask) for mask in masks] for masks in slices]
    return [[number for number, _ in linked] for linked in link_slices(rles, min_iou)]


def test_an_object_keeps_its_number_while_it_overlaps():
    slices = [[square(2, 2), square(20, 2)], [square(21, 2), square(3, 2)], [square(3, 3)]]
    assert numbers(slices) == [[1, 2], [2, 1], [1]]


def test_a_gap_or_a_jump_begins_another_object():
    assert numbers([[square(2, 2)], [], [square(2, 2)]]) == [[1], [], [2]]
    assert numbers([[square(2, 2)], [square(7, 2)]]) == [[1], [2]]
    assert numbers([[square(2, 2)], [square(5, 2)]], 0.3) == [[1], [1]]
    assert numbers([[square(2, 2)], [square(20, 20)]], 0.0) == [[1], [2]]


def test_two_never_get_one_number():
    assert numbers([[square(2, 2, 8)], [square(2, 2, 8), square(2, 2, 7)]]) == [[1], [1, 2]]


def test_pairs_are_the_best_together_not_one_by_one():
    """The first new mask is nearest to the first old one, but so is the second, which has no other."""
    old = [square(4, 4), square(6, 4)]
    new = [square(5, 4), square(3, 4)]
    assert numbers([old, new], 0.2) == [[1, 2], [2, 1]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.1, 0.4]))
def test_no_other_pairing_has_a_greater_sum(seed, num_old, num_new, min_iou):
    rng = np.random.default_rng(seed)
    old, new = (
        [square(*rng.integers(0, 8, 2), side=rng.integers(4, 12)) for _ in range(count)]
        for count in (num_old, num_new)
    )
    ids = numbers([old, new], min_iou)
    ious = np.array([[(a & b).sum() / (a | b).sum() for b in new] for a in old])
    linked = [(i, ids[1].index(number)) for i, number in enumerate(ids[0]) if number in ids[1]]
    assert all(ious[pair] >= min_iou for pair in linked)
    best = 0.0
    if num_old and num_new:
        allowed = np.where(ious >= min_iou, ious, 0)
        if num_old > num_new:
            allowed = allowed.T
        rows = range(allowed.shape[0])
        best = max(
            sum(allowed[row, column] for row, column in zip(rows, columns, strict=True))
            for columns in itertools.permutations(range(allowed.shape[1]), allowed.shape[0])
        )
    assert sum(ious[pair] for pair in linked) == pytest.approx(best)


def bars():
    """Two slanted bars that never touch, through a volume of 6 slices."""
    volume = np.zeros((40, 32, 6), np.int32)
    for number in range(6):
        volume[4 + number : 12 + number, 5:15, number] = 1
        volume[25 - number : 33 - number, 20:30, number] = 2
    volume[2:4, 28:30, 3] = 9  # a speck on one slice
    return volume


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_objects_of_a_volume_from_a_finder(axis):
    truth = np.moveaxis(bars(), 2, axis)
    stack = SliceStack((truth > 0) * 255.0, axis, ((0.0, 255.0),))
    seen = []

    def find(number):
        labels, count = ndimage.label(stack.picture(number)[..., 1] > 128)
        masks = [labels == n for n in range(1, count + 1)] + [np.zeros(stack.hw, np.bool_)]
        return [SliceMask(mask_to_rle(mask), number / 10) for mask in masks]

    def progress(slices):
        seen.extend(slices)
        return slices

    objects = segment_slices(len(stack), find, progress=progress)
    assert seen == list(range(6))
    assert [found.object_id for found in objects] == [1, 2]
    assert all(found.scores == {n: n / 10 for n in range(6)} for found in objects)
    found = sorted(to_voxels(o.masks, stack).sum() for o in objects)
    assert found == [(truth == 1).sum(), (truth == 2).sum()]
    masks = [to_voxels(o.masks, stack) for o in objects]
    for value in (1, 2):
        assert any(np.array_equal(mask, truth == value) for mask in masks)
    with_specks = segment_slices(len(stack), find, min_slices=1)
    assert len(with_specks) == 3
    assert slice_of(to_voxels(with_specks[-1].masks, stack), axis, 3).sum() == 4

"""Objects that overlap in a volume: who keeps what, as in a label volume."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from samtune.data.volumes.segments import Segment, merged
from samtune.data.volumes.slices import SliceStack
from samtune.inference.volumes.carrying import VolumeObject
from samtune.inference.volumes.objects import num_voxels, to_voxels, without_overlaps
from samtune.masks import mask_to_rle


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(0, 2))
def test_labels_are_those_of_a_merged_volume(seed, count, axis):
    rng = np.random.default_rng(seed)
    stack = SliceStack(np.zeros((5, 6, 4)), axis, ((0.0, 1.0),))
    objects = []
    for number in range(1, count + 1):
        chosen = rng.permutation(len(stack))[: rng.integers(0, len(stack) + 1)]
        masks = {int(n): rng.random(stack.hw) > 0.5 for n in chosen}
        rles = {n: mask_to_rle(mask) for n, mask in masks.items() if mask.any()}
        objects.append(VolumeObject(number, "", rles, dict.fromkeys(rles, 0.5)))
    segments = [
        Segment(o.object_id, "", num_voxels(o.masks), lambda o=o: to_voxels(o.masks, stack))
        for o in objects
    ]
    labels = merged(segments, stack.voxels.shape)
    parted = without_overlaps(objects)
    assert [found.object_id for found in parted] == [found.object_id for found in objects]
    for found in parted:
        np.testing.assert_array_equal(to_voxels(found.masks, stack), labels == found.object_id)
        assert num_voxels(found.masks) == np.count_nonzero(labels == found.object_id)
        assert all(rle["counts"] for rle in found.masks.values())


def test_a_score_is_the_mean_of_the_slices_that_are_left():
    rle = mask_to_rle(np.ones((2, 2), np.bool_))
    found = VolumeObject(1, "", {2: rle, 3: rle}, {1: 0.1, 2: 0.5, 3: 0.75})
    assert found.score == 0.625
    assert VolumeObject(1, "", {}, {1: 0.1}).score is None

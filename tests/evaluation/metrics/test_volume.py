"""Objects in space: hand values, brute force over all voxels, and what empty masks count as."""

import numpy as np
import pytest
from scipy import ndimage

from samtune.evaluation.metrics.contour import contour_scores
from samtune.evaluation.metrics.volume import volume_scores

SPACING = (0.7, 1.3, 3.0)


def blobs(seed, shape=(14, 16, 9)):
    rng = np.random.default_rng(seed)
    return [ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.05 for _ in range(2)]


def surface(mask):
    """Voxels with one of six neighbours outside, found one by one."""
    padded = np.pad(mask, 1)
    steps = [step for axis in np.eye(3, dtype=int) for step in (axis, -axis)]
    places = np.argwhere(padded)
    return np.array([p - 1 for p in places if not all(padded[tuple(p + s)] for s in steps)])


@pytest.mark.parametrize("seed", range(5))
def test_distances_between_all_voxels_of_the_surfaces(seed):
    masks = blobs(seed)
    points = [surface(mask) * SPACING for mask in masks]
    distances = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    there, back = distances.min(1), distances.min(0)
    scores = volume_scores(*masks, SPACING, tolerance=1.5)
    near = (there <= 1.5).sum() + (back <= 1.5).sum()
    assert scores.surface_dice == pytest.approx(near / (len(there) + len(back)))
    assert scores.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    common, sizes = (masks[0] & masks[1]).sum(), masks[0].sum() + masks[1].sum()
    assert scores.dice == pytest.approx(2 * common / sizes)
    assert scores.iou == pytest.approx(common / (sizes - common))


def test_a_single_slice_is_as_in_the_plane_but_for_its_own_faces():
    """A plate one voxel thick is all surface."""
    plate = np.zeros((20, 20, 1), np.bool_)
    plate[4:10, 4:10] = True
    moved = np.roll(plate, 3, axis=0)
    scores = volume_scores(moved, plate, (2.0, 1.0, 5.0), tolerance=6.0)
    assert scores.hd95 == 6.0
    assert scores.surface_dice == 1.0
    outlines = contour_scores(moved[..., 0], plate[..., 0], (2.0, 1.0), 6.0)
    assert outlines.hd95 == scores.hd95


def test_empty_masks():
    empty, mask = np.zeros((3, 4, 12), np.bool_), np.zeros((3, 4, 12), np.bool_)
    mask[1, 1, 1] = True
    both = volume_scores(empty, empty, (1.0, 1.0, 1.0))
    assert (both.dice, both.iou, both.surface_dice, both.hd95) == (1.0, 1.0, 1.0, 0.0)
    for pair in ((empty, mask), (mask, empty)):
        scores = volume_scores(*pair, (2.0, 2.0, 2.0))
        assert (scores.dice, scores.iou, scores.surface_dice, scores.hd95) == (0, 0, 0, 26)

import numpy as np
import pytest

from samtune.evaluation.metrics.instances import Instances, segmentation_accuracy
from samtune.heads.matching import accuracy, best_ious
from samtune.masks import mask_to_rle


def to_instances(found, truth):
    def masks(labels):
        return [mask_to_rle(labels == number) for number in np.unique(labels) if number]

    one, other = masks(found), masks(truth)
    return Instances(other, ["o"] * len(other), one, ["o"] * len(one), [1.0] * len(one))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_measure_of_the_evaluation(seed):
    rng = np.random.default_rng(seed)
    truth, found = np.zeros((2, 60, 60), np.int32)
    for number in range(1, 9):
        y, x, height, width = rng.integers(0, 40, 2).tolist() + rng.integers(5, 18, 2).tolist()
        truth[y : y + height, x : x + width] = number
        y, x = y + rng.integers(0, 3), x + rng.integers(0, 3)
        found[y : y + height, x : x + width] = number
    assert accuracy(found, truth) == pytest.approx(
        segmentation_accuracy(to_instances(found, truth))
    )


def test_nothing_found_where_nothing_is():
    nothing = np.zeros((4, 4), np.int32)
    assert accuracy(nothing, nothing) == 1
    assert accuracy(nothing, nothing + 1) == 0
    assert accuracy(nothing + 1, nothing) == 0


def test_each_object_has_the_iou_of_the_true_one_that_it_fits_best():
    truth, found = np.zeros((2, 10, 10), np.int32)
    truth[:, :4], truth[:, 4:8] = 7, 2
    found[:, :5], found[:5, 8:] = 1, 3
    found[5:, 8:] = 2
    truth[5:, 8:] = 4
    # 40 of 50 pixels are of the first; the second is met exactly; nothing is where the third was found
    np.testing.assert_allclose(best_ious(found, truth), [0.8, 1.0, 0.0])
    assert best_ious(np.zeros_like(truth), truth).shape == (0,)

"""How well two label maps agree, quickly: what a training is judged by while it runs."""

import numpy as np
from numpy.typing import NDArray

from samtune.types import LabelArray

_THRESHOLDS = np.arange(0.5, 1.0, 0.05).round(2)


def accuracy(found: LabelArray, truth: LabelArray) -> float:
    """Mean segmentation accuracy of (H, W) labels, the mean of TP / (TP + FP + FN) over IoUs.

    From an IoU of a half up an object fits one other at most, so nothing has to be assigned; of two
    that cover just a half of one each, one counts. Two empty maps agree.
    """
    counts = [len(np.unique(labels[labels > 0])) for labels in (found, truth)]
    if not sum(counts):
        return 1.0
    *_, ious = _overlaps(found, truth)
    hits = np.minimum((ious[:, None] >= _THRESHOLDS).sum(0), min(counts))
    return float(np.mean(hits / (sum(counts) - hits)))


def best_ious(found: LabelArray, truth: LabelArray) -> NDArray[np.float64]:
    """IoU (N,) of each of N objects, numbered 1 to N, with the true one that it fits best."""
    return best_matches(found, truth)[0]


def best_matches(
    found: LabelArray, truth: LabelArray
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each of N objects, numbered 1 to N, the true one that it fits best.

    Returns:
        (N,) IoUs and (N,) numbers, both 0 where it fits none.
    """
    count = int(found.max(initial=0)) + 1
    best, matches = np.zeros(count), np.zeros(count, np.int64)
    numbers, others, ious = _overlaps(found, truth)
    order = np.argsort(ious, kind="stable")  # the highest is written last
    best[numbers[order]], matches[numbers[order]] = ious[order], others[order]
    return best[1:], matches[1:]


def _overlaps(
    found: LabelArray, truth: LabelArray
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Of each pair that shares pixels: the numbers of both, and the IoU."""
    sizes_found, sizes_truth = np.bincount(found.ravel()), np.bincount(truth.ravel())
    both = (found > 0) & (truth > 0)
    pairs = found[both].astype(np.int64) * len(sizes_truth) + truth[both]
    numbers, shared = np.unique(pairs, return_counts=True)
    one, other = np.divmod(numbers, len(sizes_truth))
    return one, other, shared / (sizes_found[one] + sizes_truth[other] - shared)

"""How well two label maps agree, quickly: what a training is judged by while it runs."""

import numpy as np

from samtune.types import LabelArray

_THRESHOLDS = np.arange(0.5, 1.0, 0.05).round(2)


def accuracy(found: LabelArray, truth: LabelArray) -> float:
    """Mean segmentation accuracy of (H, W) labels, the mean of TP / (TP + FP + FN) over IoUs.

    From an IoU of a half up an object fits one other at most, so nothing has to be assigned; of two
    that cover just a half of one each, one counts. Two empty maps agree.
    """
    sizes_found, sizes_truth = np.bincount(found.ravel()), np.bincount(truth.ravel())
    counts = [int(np.count_nonzero(sizes[1:])) for sizes in (sizes_found, sizes_truth)]
    if not sum(counts):
        return 1.0
    both = (found > 0) & (truth > 0)
    pairs = found[both].astype(np.int64) * len(sizes_truth) + truth[both]
    numbers, shared = np.unique(pairs, return_counts=True)
    one, other = np.divmod(numbers, len(sizes_truth))
    ious = shared / (sizes_found[one] + sizes_truth[other] - shared)
    hits = np.minimum((ious[:, None] >= _THRESHOLDS).sum(0), min(counts))
    return float(np.mean(hits / (sum(counts) - hits)))

"""How well objects are named: macro-F1, top-1, confusion, and how honest the probabilities are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]

_BINS = 10
# A label is doubted where another class is as likely as this, at least
_SURE = 0.95


def confusion_of(probabilities: Values, truth: Numbers) -> Numbers:
    """(classes, classes): truth by row, likeliest class by column."""
    count = probabilities.shape[1]
    pairs = truth * count + probabilities.argmax(1)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def f1_by_class(confusion: Numbers | Values) -> Values:
    """2 TP / (2 TP + FP + FN) of (..., classes, classes); NaN of a class neither there nor named."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * hits / (confusion.sum(-2) + confusion.sum(-1)))


def class_scores(probabilities: Values, truth: Numbers) -> dict[str, Any]:
    """`macro_f1` over classes that are there or named, `top1`, `ece` and `confusion`.

    Args:
        probabilities: (K, classes) of K > 0 objects.
        truth: (K,) numbers from 0.
    """
    confusion = confusion_of(probabilities, truth)
    return {
        "macro_f1": float(np.nanmean(f1_by_class(confusion))),
        "top1": float(np.trace(confusion) / confusion.sum()),
        "ece": calibration_error(probabilities, truth),
        "confusion": confusion.tolist(),
        "num_objects": len(truth),
    }


def calibration_error(probabilities: Values, truth: Numbers) -> float:
    """Expected calibration error (arXiv 1706.04599) of the likeliest class, ten bins."""
    sure, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [
        np.mean(bins == number) * abs(right[bins == number].mean() - sure[bins == number].mean())
        for number in np.unique(bins)
    ]
    return float(np.sum(gaps))


def doubted(probabilities: Values, truth: Numbers) -> Numbers:
    """Objects whose label and the model disagree surely, the surest first."""
    sure = np.where(probabilities.argmax(1) != truth, probabilities.max(1), 0)
    order = np.argsort(-sure, kind="stable")
    return np.asarray(order[sure[order] >= _SURE], np.int64)

"""The next click: where a prediction is wrong.

A click in what was missed is positive, one in what was wrongly taken is negative. Defined for every
case: no error gives a click in the truth (positive), or, where the truth is empty too, one anywhere
(negative).
"""

import numpy as np

from samtune.prompts.sampling import PointPlacing, thickest_pixel, uniform_point
from samtune.types import MaskArray


def correction_click(
    truth: MaskArray,
    prediction: MaskArray,
    placing: PointPlacing,
    rng: np.random.Generator,
    from_truth: float = 0.0,
) -> tuple[tuple[float, float], int]:
    """One click for an object, both masks (H, W) in the same frame.

    Args:
        truth: ground truth.
        prediction: current mask.
        placing: `uniform` in the error region (SAM, SAM 2 in training), or `centre`: the pixel of
            the missed or of the wrong region, whichever is thicker, that is farthest from its edge
            (SAM 2 and RITM in evaluation).
        rng: of this object and round.
        from_truth: probability of a plain point in the truth instead (SAM 2: 0.1).

    Returns:
        xy in the masks' frame, and the label (1 positive, 0 negative).
    """
    if from_truth and rng.random() < from_truth and truth.any():
        return uniform_point(truth, rng), 1
    error = truth ^ prediction
    if not error.any():
        return _click_without_error(truth, rng)
    if placing == "uniform":
        xy = uniform_point(error, rng)
        return xy, int(truth[int(xy[1]), int(xy[0])])
    return _thickest_error(truth & ~prediction, prediction & ~truth)


def correction_pair(
    truth: MaskArray, prediction: MaskArray, rng: np.random.Generator
) -> list[tuple[tuple[float, float], int]]:
    """Two clicks for an object, both masks (H, W) in the same frame, as micro-sam trains with.

    The positive one lies in what was missed, or else in the truth; the negative one in what was wrongly
    taken, or else beside the truth. A truth that fills everything has no negative one.

    Returns:
        xy in the masks' frame, and the label (1 positive, 0 negative).
    """
    missed, wrong = truth & ~prediction, prediction & ~truth
    regions = (missed if missed.any() else truth, 1), (wrong if wrong.any() else ~truth, 0)
    return [(uniform_point(region, rng), label) for region, label in regions if region.any()]


def _click_without_error(
    truth: MaskArray, rng: np.random.Generator
) -> tuple[tuple[float, float], int]:
    if truth.any():
        return uniform_point(truth, rng), 1
    return uniform_point(np.ones_like(truth), rng), 0


def _thickest_error(missed: MaskArray, wrong: MaskArray) -> tuple[tuple[float, float], int]:
    candidates = []
    for region, label in ((missed, 1), (wrong, 0)):
        if region.any():
            xy, distance = thickest_pixel(region)
            candidates.append((distance, label, xy))
    _, label, xy = max(candidates)
    return xy, label

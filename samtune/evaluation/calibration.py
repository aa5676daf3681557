"""Do scores tell the truth? How far predicted IoU is off, and a map that mends it."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from samtune.errors import UserError
from samtune.evaluation.rows import Row
from samtune.models.calibration import Calibration, Threshold
from samtune.wording import counted

Values = NDArray[np.float64]

_NUM_BINS = 10
# Isotonic regression needs many masks; with fewer, two numbers are fitted instead.
_LEAST_FOR_ISOTONIC = 200
_LEAST_MASKS = 20
_NUM_KNOTS = 51
# The least rise between knots, and towards one more knot far outside the scores on either side: scores
# keep their order, so that the best of three masks stays so.
_RISE, _OUTSIDE = 1e-4, 0.5
REVIEW_IOUS = (0.7, 0.8, 0.9)
REVIEW_SHARES = (0.9, 0.95)


def expected_error(
    rows: Sequence[Row], name: str, calibration: Callable[[Values], Values] | None = None
) -> dict[str, Any]:
    """How far predicted IoU is from measured IoU, for one contestant.

    Returns:
        `ece`: expected calibration error over ten bins of equally many masks (Guo et al., arXiv
        1706.04599, with IoU in the place of accuracy); `mae`: mean error of single masks; `bias`:
        mean of predicted minus measured; `bins` with `predicted`, `measured` and `num_masks`.
    """
    predicted, measured = _pairs(rows, name)
    return error_of(predicted if calibration is None else calibration(predicted), measured)


def error_of(predicted: Values, measured: Values) -> dict[str, Any]:
    """The same of scores (K,) and measured IoUs (K,) of K > 0 masks."""
    order = np.argsort(predicted, kind="stable")
    bins = [
        {
            "predicted": float(predicted[part].mean()),
            "measured": float(measured[part].mean()),
            "num_masks": len(part),
        }
        for part in np.array_split(order, min(_NUM_BINS, len(order)))
    ]
    gaps = [abs(b["predicted"] - b["measured"]) * b["num_masks"] for b in bins]
    return {
        "ece": float(sum(gaps) / len(predicted)),
        "mae": float(np.abs(predicted - measured).mean()),
        "bias": float((predicted - measured).mean()),
        "bins": bins,
    }


def _pairs(rows: Sequence[Row], name: str) -> tuple[Values, Values]:
    scores = [row.scores[name] for row in rows]
    predicted = np.array([score.predicted_iou for score in scores])
    return predicted, np.array([score.iou for score in scores])


def fit_calibration(rows: Sequence[Row], name: str, split: str) -> Calibration:
    """Fit the map from predicted to measured IoU.

    Isotonic regression; with fewer than 200 masks a temperature and a shift of the log-odds.

    Args:
        rows: of images that the model was not trained on.
        name: the contestant.
        split: that the rows are of.

    Raises:
        UserError: there are fewer than 20 masks.
    """
    return fit_scores(*_pairs(rows, name), split)


def fit_scores(predicted: Values, measured: Values, split: str) -> Calibration:
    """The same of scores (K,) and measured IoUs (K,)."""
    if len(predicted) < _LEAST_MASKS:
        raise UserError(
            f"{counted(len(predicted), 'mask is', 'masks are')} too few to calibrate on: at "
            f"least {_LEAST_MASKS} are "
            "needed (more protocols or more images of the split)"
        )
    is_isotonic = len(predicted) >= _LEAST_FOR_ISOTONIC and len(np.unique(predicted)) > 1
    fit = _isotonic_knots if is_isotonic else _temperature_knots
    raw, calibrated = fit(predicted, measured)
    raw, rising = _rising(raw, calibrated)
    scores = np.interp(predicted, raw, rising)
    return Calibration(
        tuple(raw.tolist()), tuple(rising.tolist()),
        "isotonic" if is_isotonic else "temperature", len(predicted), split,
        tuple(
            review_threshold(scores, measured, iou, share)
            for iou in REVIEW_IOUS
            for share in REVIEW_SHARES
        ),
    )  # fmt: skip


def held_out_errors(
    predicted: Values, measured: Values, images: NDArray[np.int64]
) -> tuple[float, float]:
    """Expected calibration error of scores as they are, and after a map fitted on other images.

    Args:
        predicted, measured: (K,).
        images: (K,) number of each mask's image, or of the group of images that it is from; those of
            even and of odd places take turns.

    Raises:
        UserError: one of the two parts has fewer than 20 masks.
    """
    is_even = np.unique(images, return_inverse=True)[1] % 2 == 0
    mended = np.empty_like(predicted)
    for part in (is_even, ~is_even):
        mended[part] = fit_scores(predicted[~part], measured[~part], "").of_array(predicted[part])
    return error_of(predicted, measured)["ece"], error_of(mended, measured)["ece"]


def _isotonic_knots(predicted: Values, measured: Values) -> tuple[Values, Values]:
    """Means of isotonic regression's steps, at most 51 of them, joined by lines."""
    order = np.argsort(predicted, kind="stable")
    x, y = predicted[order], np.asarray(isotonic_regression(measured[order]).x, np.float64)
    steps = np.split(np.arange(len(x)), np.flatnonzero(np.diff(y)) + 1)
    while len(steps) > _NUM_KNOTS:  # the two neighbours with fewest masks become one
        sizes = [len(a) + len(b) for a, b in pairwise(steps)]
        at = int(np.argmin(sizes))
        steps[at : at + 2] = [np.concatenate(steps[at : at + 2])]
    raw = np.array([x[step].mean() for step in steps])
    calibrated = np.array([y[step].mean() for step in steps])
    raw, first = np.unique(raw, return_index=True)
    calibrated = calibrated[first]
    return raw, calibrated


def _rising(raw: Values, calibrated: Values) -> tuple[Values, Values]:
    """Knots that rise everywhere, within 0 to 1."""
    raw = np.concatenate([[raw[0] - _OUTSIDE], raw, [raw[-1] + _OUTSIDE]])
    level = np.concatenate([calibrated[:1], np.maximum.accumulate(calibrated), calibrated[-1:]])
    room = _RISE * len(raw) / 2
    return raw, room + level * (1 - 2 * room) + _RISE * (np.arange(len(raw)) - (len(raw) - 1) / 2)


def _temperature_knots(predicted: Values, measured: Values) -> tuple[Values, Values]:
    """sigmoid(a logit(x) + b), by least squares, a > 0 (Platt; temperature is 1 / a)."""

    def log_odds(values: Values) -> Values:
        return np.asarray(logit(np.clip(values, 1e-3, 1 - 1e-3)))

    def error(parameters: Values) -> float:
        slope, shift = parameters
        return float(((expit(np.exp(slope) * log_odds(predicted) + shift) - measured) ** 2).mean())

    found = minimize(error, np.zeros(2), method="Nelder-Mead").x
    raw = np.linspace(0, 1, _NUM_KNOTS)
    return raw, np.asarray(expit(np.exp(found[0]) * log_odds(raw) + found[1]))


def review_threshold(scores: Values, ious: Values, iou: float, share: float) -> Threshold:
    """The lowest score from which on a share of the masks is good enough, for review queues.

    A score is taken only where 20 masks or more pass it, so that a few lucky ones do not decide.
    """
    order = np.argsort(-scores, kind="stable")
    good = np.cumsum(ious[order] >= iou) / np.arange(1, len(order) + 1)
    # a score lets in all masks of the same score
    is_last = np.append(np.diff(scores[order]) != 0, True)
    passing = np.flatnonzero(
        (good >= share) & is_last & (np.arange(1, len(order) + 1) >= _LEAST_MASKS)
    )
    if not len(passing):
        return Threshold(iou, share, None, 0.0)
    last = int(passing[-1])
    return Threshold(iou, share, float(scores[order[last]]), (last + 1) / len(order))


def check_threshold(threshold: Threshold, scores: Values, ious: Values) -> dict[str, Any]:
    """What a threshold lets through on other data: `share` that is good, and `coverage`."""
    passing = scores >= (np.inf if threshold.score is None else threshold.score)
    return {
        "iou": threshold.iou,
        "wanted_share": threshold.share,
        "score": threshold.score,
        "share": float((ious[passing] >= threshold.iou).mean()) if passing.any() else None,
        "coverage": float(passing.mean()),
    }

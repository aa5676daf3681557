"""clDice: whether thin structures such as vessels and roads hang together as they should."""

import numpy as np
from skimage.morphology import skeletonize

from samtune.evaluation.metrics.window import common_window
from samtune.types import MaskArray


def cldice(predicted: MaskArray, truth: MaskArray) -> float:
    """Centreline Dice of two (H, W) masks (Shit et al., arXiv 2003.07311).

    The harmonic mean of the share of the predicted skeleton that lies in the truth, and the share
    of the true skeleton that lies in the prediction.
    """
    if not predicted.any() or not truth.any():
        return float(predicted.any() == truth.any())
    predicted, truth = common_window(predicted, truth)
    precision = _share_inside(skeletonize(predicted), truth)
    sensitivity = _share_inside(skeletonize(truth), predicted)
    total = precision + sensitivity
    return 2 * precision * sensitivity / total if total else 0.0


def _share_inside(skeleton: MaskArray, mask: MaskArray) -> float:
    return np.count_nonzero(skeleton & mask) / np.count_nonzero(skeleton)

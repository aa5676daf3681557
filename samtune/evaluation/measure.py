"""From masks to scores, and what an object looks like."""

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from samtune.evaluation.metrics.overlap import iou_and_dice
from samtune.evaluation.metrics.table import Pair, measured
from samtune.evaluation.playing import Played
from samtune.evaluation.rows import Score
from samtune.masks import mask_to_box
from samtune.types import ImageArray, MaskArray

# What is around an object is its box grown by this share of its sides, without the object.
_AROUND = 0.25


def measure(
    played: Played, truths: Tensor, spacing: tuple[float, float], tolerance: float,
    is_brief: bool = False,
) -> list[Score]:  # fmt: skip
    """Score the masks of one contestant.

    Args:
        played: masks (K, H, W) and what was expected of them.
        truths: (K, H, W) boolean.
        spacing, tolerance: see `contour_scores`.
        is_brief: without `measures`.
    """
    ious, dices = iou_and_dice(played.masks, truths)
    oracle = ious if played.oracle_ious is None else torch.maximum(played.oracle_ious, ious)
    scores = []
    for index, (mask, truth) in enumerate(zip(played.masks.numpy(), truths.numpy(), strict=True)):
        scores.append(
            Score(
                iou=float(ious[index]),
                dice=float(dices[index]),
                predicted_iou=float(played.expected[index]),
                oracle_iou=float(oracle[index]),
                predicted_area=int(np.count_nonzero(mask)),
                overlap=int(np.count_nonzero(mask & truth)),
                measures={} if is_brief else measured(Pair(mask, truth, spacing, tolerance)),
                clicks=tuple(float(round_ious[index]) for round_ious in played.earlier_ious)
                + ((float(ious[index]),) if played.earlier_ious else ()),
                rle=encode(mask),
            )
        )
    return scores


def encode(mask: MaskArray) -> bytes:
    """COCO's compressed counts of an (H, W) mask."""
    return bytes(coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"])


def contrast(image: ImageArray, mask: MaskArray) -> float:
    """How far an object's brightness is from that around it, in standard deviations (Cohen's d).

    Args:
        image: (H, W, 3).
        mask: (H, W) with at least one pixel.

    Returns:
        0 or more; 0 where there is nothing around the object.
    """
    box = mask_to_box(mask)
    assert box is not None, "objects have pixels"
    x0, y0, x1, y1 = box.astype(int)
    dx, dy = int(np.ceil(_AROUND * (x1 - x0 + 1))), int(np.ceil(_AROUND * (y1 - y0 + 1)))
    window = np.s_[max(0, y0 - dy) : y1 + dy + 1, max(0, x0 - dx) : x1 + dx + 1]
    grey: NDArray[np.float64] = image[window].mean(2)
    inside, around = grey[mask[window]], grey[~mask[window]]
    if not len(around):
        return 0.0
    spread = float(np.sqrt((inside.var() + around.var()) / 2))
    return abs(float(inside.mean() - around.mean())) / max(spread, 1.0)

"""How near a predicted object of a volume is to the truth, in space and in millimetres."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from samtune.evaluation.metrics.contour import edge_agreement
from samtune.evaluation.metrics.overlap import iou_and_dice
from samtune.evaluation.metrics.surface import surface_agreement
from samtune.evaluation.metrics.window import common_window
from samtune.types import MaskArray


@dataclass(frozen=True)
class VolumeScores:
    """Agreement of two masks of a volume.

    Attributes:
        dice, iou: over voxels.
        surface_dice: share of both surfaces' voxels within the tolerance of the other surface (NSD).
        hd95: 95th percentile of the distances between the surfaces, in the unit of the spacing.
        surface_dice_by_area, hd95_by_area: the same over pieces of the surfaces, by their area: see
            `surface_agreement`.

    Without a spacing distances are NaN, and so are these four.
    """

    dice: float
    iou: float
    surface_dice: float
    hd95: float
    surface_dice_by_area: float
    hd95_by_area: float


def volume_scores(
    predicted: MaskArray, truth: MaskArray, spacing: tuple[float, ...], tolerance: float = 2.0
) -> VolumeScores:
    """Compare two (X, Y, Z) masks.

    Surface Dice and HD95 as `contour_scores`, over the voxels with a neighbour, of six, outside: each
    counts the same, however much surface it has where the spacing is not that of a cube.

    Args:
        predicted, truth: masks of the volume.
        spacing: distance between voxels along each axis; NaN where it is not known.
        tolerance: of surface Dice, in the unit of `spacing`.
    """
    iou, dice = iou_and_dice(torch.from_numpy(predicted)[None], torch.from_numpy(truth)[None])
    if np.isnan(spacing).any():
        agreement = by_area = (np.nan, np.nan)
    elif not predicted.any() or not truth.any():
        is_equal = predicted.any() == truth.any()
        diagonal = float(np.linalg.norm(np.multiply(truth.shape, spacing)))
        agreement = by_area = (1.0, 0.0) if is_equal else (0.0, diagonal)
    else:
        first, second = (
            mask & ~ndimage.binary_erosion(mask) for mask in common_window(predicted, truth)
        )
        agreement = edge_agreement(first, second, spacing, tolerance)
        by_area = surface_agreement(predicted, truth, spacing, tolerance)
    return VolumeScores(float(dice[0]), float(iou[0]), *agreement, *by_area)

"""How well outlines agree: boundary IoU, surface Dice (NSD) and the 95th percentile of distances.

The edge of a mask are its pixels with a neighbour, of four, outside it. Distances are between pixels of
edges, each of which counts the same: MONAI's definition of NSD and HD95. That of the package
surface-distance, by the length of outlines, is in `surface.py`; its figures differ from these, for
small objects by up to 0.33 (NSD) and 2 pixels (HD95).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from samtune.evaluation.metrics.window import common_window
from samtune.types import MaskArray

# For whoever reads the numbers: packages call different things by these names.
DEFINITION = (
    "Surface Dice (NSD) and HD95 count pixels (voxels) of edges, each the same, as MONAI does; by "
    "length (by area, in space) they count pieces of the outline by their size, as the package "
    "surface-distance does"
)
# Share of the image's diagonal that the band of boundary IoU is wide (arXiv 2103.16562, section 5).
BAND = 0.02


@dataclass(frozen=True)
class ContourScores:
    """Agreement of two outlines.

    Attributes:
        boundary_iou: IoU of the bands inside both outlines.
        surface_dice: share of both edges that lies within the tolerance of the other edge.
        hd95: 95th percentile of the distances between the edges, in the unit of the spacing.
    """

    boundary_iou: float
    surface_dice: float
    hd95: float


def contour_scores(
    predicted: MaskArray,
    truth: MaskArray,
    spacing: tuple[float, float] = (1.0, 1.0),
    tolerance: float = 2.0,
) -> ContourScores:
    """Compare the outlines of two (H, W) masks.

    Boundary IoU as Cheng et al., arXiv 2103.16562. Surface Dice as Nikolov et al., arXiv
    1809.04430, but over pixels of the edges, as MONAI counts. HD95 is the larger of the two directed
    percentiles.

    Args:
        predicted, truth: masks of the original image.
        spacing: distance between rows and between columns.
        tolerance: of surface Dice, in the unit of `spacing`.
    """
    diagonal = float(np.hypot(truth.shape[0] * spacing[0], truth.shape[1] * spacing[1]))
    width = max(1, round(BAND * float(np.hypot(*truth.shape))))
    if not predicted.any() or not truth.any():
        is_equal = float(predicted.any() == truth.any())
        return ContourScores(is_equal, is_equal, 0.0 if is_equal else diagonal)
    predicted, truth = common_window(predicted, truth)
    bands = _band(predicted, width), _band(truth, width)
    union = np.count_nonzero(bands[0] | bands[1])
    surface_dice, hd95 = edge_agreement(_edge(predicted), _edge(truth), spacing, tolerance)
    return ContourScores(np.count_nonzero(bands[0] & bands[1]) / union, surface_dice, hd95)


def edge_agreement(
    first: MaskArray, second: MaskArray, spacing: tuple[float, ...], tolerance: float
) -> tuple[float, float]:
    """Surface Dice and HD95 of two edges, in the plane or in space; neither is empty.

    Args:
        first, second: pixels or voxels of the edges.
        spacing: distance between them along each axis.
        tolerance: of surface Dice, in the unit of `spacing`.
    """
    there, back = _distances(first, second, spacing)
    near = np.count_nonzero(there <= tolerance) + np.count_nonzero(back <= tolerance)
    hd95 = float(max(np.percentile(there, 95), np.percentile(back, 95)))
    return near / (len(there) + len(back)), hd95


def _band(mask: MaskArray, width: int) -> MaskArray:
    """What `width` erosions by a 3 x 3 square would take away."""
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return mask & ~_eroded(mask, square)


def _edge(mask: MaskArray) -> MaskArray:
    return mask & ~_eroded(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))


def _eroded(mask: MaskArray, kernel: NDArray[np.uint8]) -> MaskArray:
    inner = cv2.erode(
        mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=(0,)
    )
    return np.asarray(inner, np.bool_)


def _distances(
    first: MaskArray, second: MaskArray, spacing: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of each pixel of one edge to the nearest of the other, and the other way."""
    points = [np.argwhere(edge) * np.asarray(spacing) for edge in (first, second)]
    there, _ = cKDTree(points[1]).query(points[0])
    back, _ = cKDTree(points[0]).query(points[1])
    return np.asarray(there), np.asarray(back)

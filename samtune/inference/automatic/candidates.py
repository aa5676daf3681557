"""Masks that were found without being asked for: kept small, thinned out, written as records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from samtune.inference.automatic.crops import CropBox
from samtune.masks import mask_to_rle
from samtune.models.calibration import Calibration
from samtune.types import MaskArray


@dataclass(frozen=True)
class Candidate:
    """One mask; only what lies within its box is kept, a bit for each pixel.

    Attributes:
        box_xyxy: (4,) inclusive, original frame.
        bits: rows of the box, packed.
        image_hw: size of the original image.
        predicted_iou: as the IoU head says it, not calibrated; of an instance head its score,
            calibrated where that was fitted.
        stability_score: IoU of the mask cut a little higher with the mask cut a little lower, before
            it was sharpened.
        point_xy: the point that it answers, original frame.
        crop_xyxy: the crop that it was found in, with the ends outside.
        low_res_logits: SAM's (h, w) of the crop, of a mask that is yet to be sharpened.
        class_name, class_score: what it is and how likely that is, where somebody told.
    """

    box_xyxy: NDArray[np.int64]
    bits: NDArray[np.uint8]
    image_hw: tuple[int, int]
    predicted_iou: float
    stability_score: float
    point_xy: tuple[float, float]
    crop_xyxy: CropBox
    low_res_logits: Tensor | None = None
    class_name: str = ""
    class_score: float = 0.0

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of its box."""
        x0, y0, x1, y1 = self.box_xyxy.tolist()
        return slice(y0, y1 + 1), slice(x0, x1 + 1)

    def cropped(self) -> MaskArray:
        """The (h, w) mask within its box."""
        x0, y0, x1, y1 = self.box_xyxy.tolist()
        height, width = y1 - y0 + 1, x1 - x0 + 1
        bits = np.unpackbits(self.bits, count=height * width)
        return bits.view(np.bool_).reshape(height, width)

    def mask(self) -> MaskArray:
        """The (H, W) mask of the whole image."""
        mask = np.zeros(self.image_hw, np.bool_)
        mask[self.window] = self.cropped()
        return mask

    def rle(self) -> dict[str, Any]:
        """COCO's compressed run lengths."""
        return mask_to_rle(self.mask())


def calibrated(found: Sequence[Candidate], calibration: Calibration | None) -> list[Candidate]:
    """Masks of a grid with the expected IoU calibrated, where there is a calibration."""
    if calibration is None or not found:
        return list(found)
    scores = calibration.of_array(np.array([each.predicted_iou for each in found], np.float64))
    return [
        replace(each, predicted_iou=score)
        for each, score in zip(found, scores.tolist(), strict=True)
    ]


def box_and_bits(mask: MaskArray) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """What is kept of an (H, W) mask that is not empty: its inclusive box, and the bits in it."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = np.array([x, y, x + width - 1, y + height - 1], np.int64)
    return box, np.packbits(mask[y : y + height, x : x + width])


def thin_out(
    candidates: Sequence[Candidate], scores: Sequence[float], threshold: float
) -> list[Candidate]:
    """Those whose boxes overlap none of a higher score by an IoU above the threshold, best first."""
    if not candidates:
        return []
    boxes = np.stack([candidate.box_xyxy for candidate in candidates])
    kept = suppress(boxes, np.asarray(scores, np.float32), threshold)
    return [candidates[index] for index in kept]


def suppress(
    boxes_xyxy: NDArray[np.int64], scores: NDArray[np.float32], threshold: float
) -> list[int]:
    """Greedy non-maximum suppression; of equal scores the first one wins.

    Args:
        boxes_xyxy: (K, 4); as in torchvision's `nms`, whose sides are x1 - x0 and y1 - y0.
        scores: (K,).
        threshold: IoU.

    Returns:
        Numbers of the boxes that stay, best first.
    """
    order = np.argsort(-scores, kind="stable")
    x0, y0, x1, y1 = boxes_xyxy.astype(np.float32).T
    areas = (x1 - x0) * (y1 - y0)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(x1[best], x1[order]) - np.maximum(x0[best], x0[order])
        height = np.minimum(y1[best], y1[order]) - np.maximum(y0[best], y0[order])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[best] + areas[order] - shared
        # boxes of one row or column have no area here, and touch nothing
        overlaps = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        order = order[~(overlaps > np.float32(threshold))]
    return kept


def without_small_regions(
    candidates: Sequence[Candidate], min_area: int, threshold: float
) -> list[Candidate]:
    """Fill holes and drop islands smaller than `min_area` pixels, then suppress doubles once more.

    Masks that needed no mending go before those that did.
    """
    mended, scores = [], []
    for candidate in candidates:
        mask, has_holes = mended_mask(candidate.mask(), min_area, is_hole=True)
        mask, has_islands = mended_mask(mask, min_area, is_hole=False)
        is_changed = has_holes or has_islands
        if is_changed:
            box, bits = box_and_bits(mask)
            candidate = replace(candidate, box_xyxy=box, bits=bits)
        mended.append(candidate)
        scores.append(float(not is_changed))
    return thin_out(mended, scores, threshold)


def mended_mask(mask: MaskArray, min_area: float, is_hole: bool) -> tuple[MaskArray, bool]:
    """Turn small regions (8-neighbourhood) of the background or of the mask over.

    Of a mask of nothing but small islands the largest stays.
    """
    working = (mask ^ is_hole).view(np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(working, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    is_small = np.append(False, areas < min_area)
    if not is_small.any():
        return mask, False
    if is_hole:
        return mask | is_small[regions], True
    if is_small[1:].all():
        is_small[1 + int(areas.argmax())] = False
    is_small[0] = True
    return ~is_small[regions], True

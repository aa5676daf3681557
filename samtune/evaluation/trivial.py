"""What the same prompts give without any network: the floor that a model has to be above.

From a box: the box filled, the ellipse in it, Otsu's threshold inside it. From points: a flood fill
over grey values like those of the first one. What has a free number is measured with several, and the
one that does best on all objects together is taken, which flatters it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from samtune.types import FloatArray, ImageArray, MaskArray, Prompt

# Steps of grey, as shares of what lies between the picture's 1st and 99th percentile
TOLERANCES = (0.05, 0.1, 0.2)
# A flood fill goes this far from its point, pixels
_REACH = 160

Fill = Callable[[FloatArray], MaskArray]


def trivial_ious(image: ImageArray, prompt: Prompt, truth: MaskArray) -> dict[str, float]:
    """IoU of each answer to a prompt; none for a mask prompt.

    Args:
        image: (H, W, 3).
        prompt: original frame.
        truth: (H, W).
    """
    if prompt.mask_input is not None:
        return {}
    rows, columns = _part(prompt, truth.shape)
    grey = cv2.cvtColor(image[rows, columns], cv2.COLOR_RGB2GRAY).astype(np.float32)
    inside, area = truth[rows, columns], int(np.count_nonzero(truth))
    if prompt.box_xyxy is not None:
        fills = _FROM_BOX
    else:
        assert prompt.point_coords is not None
        spread = max(1.0, float(np.subtract(*np.percentile(grey, (99, 1)))))
        x, y = prompt.point_coords[0] - (columns.start, rows.start)
        fills = {
            f"flood fill ({tolerance})": partial(_flooded, (int(x), int(y)), tolerance * spread)
            for tolerance in TOLERANCES
        }
    return {name: _iou(fill(grey), inside, area) for name, fill in fills.items()}


def _part(prompt: Prompt, hw: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the image in which a prompt is answered."""
    if prompt.box_xyxy is not None:
        x0, y0, x1, y1 = np.round(prompt.box_xyxy).astype(int)
    else:
        assert prompt.point_coords is not None
        x, y = prompt.point_coords[0].astype(int)
        x0, y0, x1, y1 = x - _REACH, y - _REACH, x + _REACH, y + _REACH
    rows = slice(max(0, min(y0, hw[0] - 1)), min(hw[0], max(y1, 0) + 1))
    return rows, slice(max(0, min(x0, hw[1] - 1)), min(hw[1], max(x1, 0) + 1))


def _iou(mask: MaskArray, inside: MaskArray, area: int) -> float:
    overlap = int(np.count_nonzero(mask & inside))
    return overlap / (int(np.count_nonzero(mask)) + area - overlap)


def _filled(grey: FloatArray) -> MaskArray:
    return np.ones(grey.shape, np.bool_)


def _ellipse(grey: FloatArray) -> MaskArray:
    height, width = grey.shape
    y, x = np.ogrid[:height, :width]
    down, right = (y - (height - 1) / 2) / (height / 2), (x - (width - 1) / 2) / (width / 2)
    return np.asarray(down**2 + right**2 <= 1)


def _otsu(grey: FloatArray) -> MaskArray:
    """The side of Otsu's threshold that holds less of the box's edge."""
    if np.ptp(grey) == 0:
        return _filled(grey)
    bright = np.asarray(grey > threshold_otsu(grey))
    edge = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return bright if edge.mean() < 0.5 else ~bright


def _flooded(seed: tuple[int, int], reach: float, grey: FloatArray) -> MaskArray:
    mask = np.zeros((grey.shape[0] + 2, grey.shape[1] + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | (1 << 8)
    x, y = min(seed[0], grey.shape[1] - 1), min(seed[1], grey.shape[0] - 1)
    cv2.floodFill(grey, mask, (max(x, 0), max(y, 0)), 0, reach, reach, flags)
    return np.asarray(mask[1:-1, 1:-1] > 0)


_FROM_BOX: dict[str, Fill] = {
    "box filled": _filled,
    "ellipse in the box": _ellipse,
    "Otsu in the box": _otsu,
}


def best_of(measured: Sequence[dict[str, float]]) -> dict[str, Any] | None:
    """The answer with the highest mean over all objects: its name and mIoU; `None` without any."""
    names = set.intersection(*(set(each) for each in measured)) if measured else set()
    means = {name: float(np.mean([each[name] for each in measured])) for name in sorted(names)}
    if not means:
        return None
    name = max(means, key=means.__getitem__)
    return {"name": name, "miou": means[name]}

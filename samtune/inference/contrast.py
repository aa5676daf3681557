"""How an object stands out from what is around it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from samtune.geometry import mask_to_box
from samtune.types import MaskArray

# Width of the ring around an object, as a share of the root of its area.
_RING = 0.25
# Grey values of 255; an object that stands out by less is told by something else than its grey.
_FAINT = 4.0


def contrast(grey: NDArray[np.uint8], mask: MaskArray) -> float:
    """Median of an object less that of a ring around it, in grey values; 0 without object or ring.

    Args:
        grey: (H, W).
        mask: (H, W).
    """
    box = mask_to_box(mask)
    if box is None:
        return 0.0
    width = max(2, round(_RING * float(np.sqrt(np.count_nonzero(mask)))))
    x0, y0 = np.maximum(box[:2].astype(int) - width, 0)
    x1, y1 = box[2:].astype(int) + width + 1
    inside, values = mask[y0:y1, x0:x1], grey[y0:y1, x0:x1]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    ring = (cv2.dilate(inside.astype(np.uint8), disc) > 0) & ~inside
    if not ring.any():
        return 0.0
    return float(np.median(values[inside]) - np.median(values[ring]))


def contrast_left(now: float, prompted: float) -> float:
    """Share of the prompted slice's contrast that is left; 1 where there was none to speak of."""
    return 1.0 if abs(prompted) < _FAINT else now / prompted

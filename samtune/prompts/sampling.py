"""Points, boxes and masks drawn from a ground-truth mask (original frame, pixel indices).

An object must have at least one pixel; `ValueError` otherwise. An object of one pixel has its own
pixel as every point and as its box. The border of the image counts as outside, so that the centre
of an object that touches it lies inside the picture; of an object of many parts, the centre is that
of the thickest part.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samtune.geometry import mask_to_cells, resized_hw, scale_xy
from samtune.masks import mask_to_box
from samtune.types import FloatArray, Grid, MaskArray

PointPlacing = Literal["uniform", "centre"]
BoxNoise = Literal["exact", "gaussian", "uniform", "outward", "margin", "relative", "grown"]
MaskNoise = Literal["coarse", "noised"]

# A box corner moves at most 20 pixels of a 1024-pixel input (SAM, arXiv 2304.02643, appendix A).
MAX_BOX_SHIFT = 20 / 1024
_OUTWARD = np.array([-1, -1, 1, 1])
# Magnitude of a simulated mask prompt's logits; SAM's own lie within about this.
MASK_PROMPT_LOGIT = 8.0
# Negative points come from the box grown by this share of its sides, where they are hard.
NEGATIVE_MARGIN = 0.25


def _required_box(mask: MaskArray) -> FloatArray:
    box = mask_to_box(mask)
    if box is None:
        raise ValueError("the mask is empty: it has no prompt")
    return box


def uniform_point(region: MaskArray, rng: np.random.Generator) -> tuple[float, float]:
    """A pixel of a non-empty (H, W) region, each as likely as any other, as xy."""
    pixels = np.flatnonzero(region)
    if not len(pixels):
        raise ValueError("the mask is empty: it has no prompt")
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), region.shape[1])
    return float(column), float(row)


def centre_point(region: MaskArray) -> tuple[float, float]:
    """The pixel of a non-empty (H, W) region that is farthest from its edge, as xy."""
    return thickest_pixel(region)[0]


def thickest_pixel(region: MaskArray) -> tuple[tuple[float, float], float]:
    """The pixel of a non-empty region that is farthest from its edge, and how far that is.

    Maximum of the Euclidean distance transform; the first in reading order where several tie.
    """
    x0, y0, x1, y1 = _required_box(region).astype(int)
    crop = np.pad(region[y0 : y1 + 1, x0 : x1 + 1], 1)
    # OpenCV's transform is four times as fast, but its last bits differ from call to call
    distance = ndimage.distance_transform_edt(crop)
    row, column = divmod(int(np.argmax(distance)), crop.shape[1])
    return (float(column - 1 + x0), float(row - 1 + y0)), float(distance[row, column])


def positive_points(
    mask: MaskArray, count: int, placing: PointPlacing, rng: np.random.Generator
) -> FloatArray:
    """`count` points (count, 2) in the object; with `centre` the first one is its centre."""
    points = [centre_point(mask)] if placing == "centre" and count else []
    points += [uniform_point(mask, rng) for _ in range(count - len(points))]
    return np.asarray(points, np.float32).reshape(-1, 2)


def negative_points(mask: MaskArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Up to `count` points (n, 2) outside the object but near it; none if it fills the image."""
    x0, y0, x1, y1 = _required_box(mask)
    margin_x = np.ceil(NEGATIVE_MARGIN * (x1 - x0 + 1))
    margin_y = np.ceil(NEGATIVE_MARGIN * (y1 - y0 + 1))
    near = np.zeros_like(mask)
    rows = slice(int(max(0, y0 - margin_y)), int(y1 + margin_y + 1))
    columns = slice(int(max(0, x0 - margin_x)), int(x1 + margin_x + 1))
    near[rows, columns] = ~mask[rows, columns]
    region = near if near.any() else ~mask
    if not region.any():
        return np.zeros((0, 2), np.float32)
    return np.asarray([uniform_point(region, rng) for _ in range(count)], np.float32).reshape(-1, 2)


def object_box(
    mask: MaskArray, noise: BoxNoise, rng: np.random.Generator, scale: float = 0.1
) -> FloatArray:
    """The object's inclusive xyxy box, exact or moved as a hand would.

    Args:
        mask: (H, W) with at least one pixel.
        noise: `exact`; `gaussian` (SAM) or `uniform` (SAM 2) noise on each side, with sigma or
            limit `scale` times the box's own side; `outward` (MedSAM) grows each side by 0 to the
            greatest shift, `margin` (micro-sam) by 0 to `scale` times the box's own. No side of these
            moves more than 20 pixels of a 1024-pixel input. To measure robustness: `relative` as
            `uniform` without that limit; `grown` moves each side outward by `scale` pixels of the
            image, not by chance.
        scale: relative size of the noise, or pixels.

    Returns:
        (4,) float32, inside the image, never inverted.
    """
    box = _required_box(mask)
    sides = np.array([box[2] - box[0] + 1, box[3] - box[1] + 1] * 2)
    limit = MAX_BOX_SHIFT * max(mask.shape)
    if noise == "gaussian":
        shift = np.clip(rng.normal(0.0, 1.0, 4) * scale * sides, -limit, limit)
    elif noise == "uniform":
        shift = rng.uniform(-1.0, 1.0, 4) * np.minimum(scale * sides, limit)
    elif noise == "outward":
        shift = rng.uniform(0.0, limit, 4) * _OUTWARD
    elif noise == "margin":
        shift = rng.uniform(0.0, 1.0, 4) * np.minimum(scale * sides, limit) * _OUTWARD
    elif noise == "relative":
        shift = rng.uniform(-1.0, 1.0, 4) * scale * sides
    elif noise == "grown":
        shift = scale * _OUTWARD
    else:
        return box
    moved = (box + shift).astype(np.float32).reshape(2, 2)
    corners = np.array([mask.shape[1] - 1, mask.shape[0] - 1], np.float32)
    return np.sort(np.clip(moved, 0, corners), axis=0).reshape(4)


def mask_prompt(
    mask: MaskArray, noise: MaskNoise, rng: np.random.Generator, grid: Grid
) -> FloatArray:
    """A rough mask of the object as logits (side, side) in the input frame.

    Args:
        mask: (H, W) with at least one pixel.
        noise: `coarse` keeps only a grid of side / 8 cells; `noised` moves the object by up to a
            tenth of its size, and grows or shrinks it.
        grid: the cells of the model's mask prompt (S / 4 along each side).
    """
    _required_box(mask)
    side = grid.side
    share = np.asarray(mask_to_cells(mask, grid), np.float32) / np.float32(255)
    if not share.any():
        frame = grid.frame
        place = scale_xy(np.asarray(centre_point(mask)), mask.shape, resized_hw(mask.shape, frame))
        x, y = place * (side / frame.side)
        share[int(y), int(x)] = 1
    if noise == "coarse":
        small = cv2.resize(share, (side // 8, side // 8), interpolation=cv2.INTER_AREA)
        share = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    else:
        share = _moved(share, rng)
    # an object smaller than a cell must still prompt: its most covered cell counts as full
    share = share / share.max()
    return np.asarray((2 * share - 1) * MASK_PROMPT_LOGIT, np.float32)


def _moved(share: FloatArray, rng: np.random.Generator) -> FloatArray:
    size = np.sqrt(max(float(share.sum()), 1.0))
    dx, dy = rng.uniform(-0.1, 0.1, 2) * size
    shift: NDArray[np.float32] = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(share, shift, share.shape[::-1])
    if not moved.any():  # moved over the edge
        moved = share
    radius = int(rng.integers(0, max(2, int(0.15 * size) + 1)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    changed = change(moved, kernel)
    # A thin object that erosion would erase keeps its shape: an empty prompt prompts nothing.
    return np.asarray(changed if changed.max() > 0.5 else moved, np.float32)

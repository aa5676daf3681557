"""Every change of coordinate frame: original image, input, low resolution, targets.

Two resizing rules. segment_anything's (utils/transforms.py, `ResizeLongestSide`): the longest side
becomes S, the other is rounded half up, padding is right and below. SAM 2's (utils/transforms.py,
`SAM2Transforms`): both sides become S. Coordinates are multiplied by the ratio of the sizes, without
a half-pixel shift.
"""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samtune.types import FloatArray, Grid, InputFrame, MaskArray, Prompt, Window


def resized_hw(original_hw: tuple[int, int], frame: InputFrame) -> tuple[int, int]:
    """Size that an image has in the input frame, without the padding."""
    if not frame.keeps_aspect:
        return frame.side, frame.side
    scale = frame.side / max(original_hw)
    return max(1, int(original_hw[0] * scale + 0.5)), max(1, int(original_hw[1] * scale + 0.5))


def scale_xy(
    coords_xy: NDArray[Any], from_hw: tuple[int, int], to_hw: tuple[int, int]
) -> FloatArray:
    """Scale (..., 2) xy coordinates from an image of size `from_hw` to one of size `to_hw`."""
    ratio = np.array([to_hw[1] / from_hw[1], to_hw[0] / from_hw[0]])
    return np.asarray(np.asarray(coords_xy, np.float64) * ratio, np.float32)


def prompt_to_input(prompt: Prompt, original_hw: tuple[int, int], frame: InputFrame) -> Prompt:
    """Move a prompt's points and box from the original frame to the input frame."""
    input_hw = resized_hw(original_hw, frame)
    points, box = prompt.point_coords, prompt.box_xyxy
    return Prompt(
        None if points is None else scale_xy(points, original_hw, input_hw),
        prompt.point_labels,
        None if box is None else scale_xy(box.reshape(2, 2), original_hw, input_hw).reshape(4),
        prompt.mask_input,
    )


def logits_to_original(
    low_res_logits: Tensor, original_hw: tuple[int, int], frame: InputFrame
) -> Tensor:
    """Bring logits (K, M, h, w) of the input to (K, M, H, W) of the original image.

    With padding in two bilinear steps, as `Sam.postprocess_masks` of segment_anything: to (S, S),
    the padding cut off, to (H, W). Without padding in one, as `SAM2Transforms.postprocess_masks`.
    """
    logits = low_res_logits
    if frame.keeps_aspect:
        height, width = resized_hw(original_hw, frame)
        side = (frame.side, frame.side)
        logits = F.interpolate(logits, side, mode="bilinear", align_corners=False)
        logits = logits[..., :height, :width]
    if logits.shape[-2:] == original_hw:
        return logits  # the second step would change nothing
    return F.interpolate(logits, original_hw, mode="bilinear", align_corners=False)


def mask_to_cells(mask: MaskArray, grid: Grid) -> NDArray[np.uint8]:
    """Share of each cell of a grid over the input that a mask covers.

    A cell that the image's edge cuts counts with its part inside: an image seldom ends between two
    cells, and rounded to whole ones targets would lie elsewhere than the answers that are read back.

    Args:
        mask: (H, W) boolean, original frame.
        grid: cells over the (padded) input.

    Returns:
        (side, side) uint8, share times 255; the padding is 0.
    """
    rows, columns = _cell_edges(mask.shape, grid)
    # the integral image, of whole pixels, is linear between them in both directions
    sums = cv2.integral(mask.astype(np.uint8)).astype(np.float64)
    covered = np.diff(_between(np.diff(_between(sums, rows), axis=0).T, columns), axis=0).T
    areas = np.outer(np.diff(rows), np.diff(columns))
    shares = np.divide(covered, areas, out=np.zeros_like(areas), where=areas > 0)
    return np.asarray(np.rint(shares * 255), np.uint8)


def labels_to_cells(labels: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """What lies in the middle of each cell of a grid over the input.

    Args:
        labels: (..., H, W) numbers, original frame.
        grid: cells over the (padded) input.

    Returns:
        (..., side, side) numbers, 0 on the padding; and (side, side), which cells hold image.
    """
    height, width = labels.shape[-2:]
    resized = resized_hw((height, width), grid.frame)
    middles = (np.arange(grid.side) + 0.5) * (grid.frame.side / grid.side)
    rows, columns = (
        (middles * (length / own)).astype(int)
        for length, own in zip((height, width), resized, strict=True)
    )
    valid = np.outer(rows < height, columns < width)
    cells = labels[..., np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1)]
    return np.where(valid, cells, 0).astype(labels.dtype), valid


def valid_cells(original_hw: tuple[int, int], grid: Grid) -> NDArray[np.bool_]:
    """(side, side): which cells of a grid over the (padded) input hold image."""
    rows, columns = _cell_edges(original_hw, grid)
    return np.outer(np.diff(rows) > 0, np.diff(columns) > 0)


def _cell_edges(
    original_hw: tuple[int, ...], grid: Grid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where rows and columns of cells begin and end, (side + 1,) each, pixels of the original image."""
    edges = np.arange(grid.side + 1) * (grid.frame.side / grid.side)
    height, width = original_hw[:2]
    input_hw = resized_hw((height, width), grid.frame)
    rows, columns = (
        np.minimum(edges * (length / resized), length)
        for length, resized in zip((height, width), input_hw, strict=True)
    )
    return rows, columns


def _between(sums: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of (N, ...) at places between 0 and N - 1, linear between two of them."""
    below = np.minimum(places.astype(int), len(sums) - 2)
    share = (places - below)[:, None]
    return np.asarray(sums[below] * (1 - share) + sums[below + 1] * share)


def prompt_to_window(prompt: Prompt, window: Window) -> Prompt:
    """Move a prompt's points and box from an image to a window of it; a mask prompt is the window's."""
    corner = np.array([window.x, window.y], np.float32)
    points, box = prompt.point_coords, prompt.box_xyxy
    return replace(
        prompt,
        point_coords=None if points is None else points - corner,
        box_xyxy=None if box is None else (box.reshape(2, 2) - corner).reshape(4),
    )


def logits_to_window(
    logits: FloatArray, seen: Window, other: Window, frame: InputFrame
) -> FloatArray:
    """Low-resolution logits (h, w) of one window of an image, as another window would have them.

    Where the first window does not reach, they are as low as its lowest.
    """
    if seen == other:
        return logits
    full = logits_to_original(torch.from_numpy(logits)[None, None], seen.hw, frame)[0, 0].numpy()
    canvas = np.full(other.hw, full.min(), np.float32)
    rows = slice(max(seen.y, other.y), min(seen.y + seen.height, other.y + other.height))
    columns = slice(max(seen.x, other.x), min(seen.x + seen.width, other.x + other.width))
    if rows.start < rows.stop and columns.start < columns.stop:
        there = full[rows.start - seen.y : rows.stop - seen.y]
        there = there[:, columns.start - seen.x : columns.stop - seen.x]
        into = canvas[rows.start - other.y : rows.stop - other.y]
        into[:, columns.start - other.x : columns.stop - other.x] = there
    return original_to_logits(canvas, logits.shape[0], frame)


def original_to_logits(values: FloatArray, side: int, frame: InputFrame) -> FloatArray:
    """Bring values (H, W) of an image to the (side, side) of mask prompts; padding is the lowest."""
    height, width = resized_hw(values.shape, frame)
    resized = F.interpolate(
        torch.from_numpy(values)[None, None], (height, width), mode="bilinear", antialias=True
    )
    padding = (0, frame.side - width, 0, frame.side - height)
    padded = F.pad(resized, padding, value=float(values.min()))
    return np.asarray(F.interpolate(padded, (side, side), mode="area")[0, 0].numpy())

"""Every change of coordinate frame, mask <-> box and RLE, polygon -> mask.

Two resizing rules. segment_anything's (utils/transforms.py, `ResizeLongestSide`): the longest side
becomes S, the other is rounded half up, padding is right and below. SAM 2's (utils/transforms.py,
`SAM2Transforms`): both sides become S. Coordinates are multiplied by the ratio of the sizes, without
a half-pixel shift.
"""

from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samtune.types import FloatArray, InputFrame, MaskArray, Prompt

# A polygon's corners lie within so many of the image's longer side.
_FARTHEST = 16


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


def mask_to_cells(mask: MaskArray, frame: InputFrame) -> NDArray[np.uint8]:
    """Share of each cell of a grid over the (padded) input that a mask covers.

    Args:
        mask: (H, W) boolean, original frame.
        frame: of the grid; its side is that of the cells.

    Returns:
        (side, side) uint8, share times 255; the padding is 0.
    """
    height, width = resized_hw(mask.shape, frame)
    cells = np.zeros((frame.side, frame.side), np.uint8)
    full = mask.astype(np.uint8) * 255
    if full.shape != (height, width):
        full = cv2.resize(full, (width, height), interpolation=cv2.INTER_AREA)
    cells[:height, :width] = full
    return cells


def mask_to_box(mask: MaskArray) -> FloatArray | None:
    """Inclusive (4,) xyxy box of an (H, W) mask, `None` for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)


def mask_to_rle(mask: MaskArray) -> dict[str, Any]:
    """Compressed COCO run-length encoding, `counts` as ASCII text so that JSON can hold it."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "size": [int(side) for side in rle["size"]],
        "counts": bytes(rle["counts"]).decode("ascii"),
    }


def mask_to_runs(mask: MaskArray) -> list[int]:
    """Lengths of the runs of an (H, W) mask, column by column, beginning with the background.

    COCO's uncompressed run-length encoding.
    """
    flat = mask.T.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: list[int] = np.diff(np.concatenate([[0], ends, [len(flat)]])).tolist()
    return [0, *runs] if flat[0] else runs


def rle_to_mask(rle: dict[str, Any]) -> MaskArray:
    """Decode a COCO run-length encoding, compressed or not, to (H, W) boolean.

    Raises:
        ValueError: the counts are damaged, or do not fill the mask.
    """
    height, width = (int(side) for side in rle["size"])
    counts = rle["counts"]
    runs = np.asarray(counts, np.int64) if isinstance(counts, list) else _run_lengths(counts)
    total = sum(runs.tolist())  # without overflow
    if runs.ndim != 1 or (runs < 0).any() or total != height * width:
        raise ValueError(f"its counts sum to {total}, not to {height * width}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _run_lengths(counts: str) -> NDArray[np.int64]:
    """Runs of a compressed encoding: `rleFrString` of pycocotools (common/maskApi.c).

    Each character holds five bits and whether more follow; from the fourth run on, what is written
    is the difference to the run before the last one. pycocotools itself reads on behind a string
    that is cut off.
    """
    chars = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    is_last = chars & 32 == 0
    if not len(chars) or (chars < 0).any() or (chars > 63).any() or not is_last[-1]:
        raise ValueError("its counts are no compressed runs")
    ends = np.flatnonzero(is_last)
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise ValueError("its counts hold a run too long for any image")
    places = 5 * (np.arange(len(chars)) - np.repeat(starts, lengths))
    values = np.add.reduceat((chars & 31) << places, starts)
    values -= np.where(chars[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def polygons_to_mask(polygons: list[list[float]], hw: tuple[int, int]) -> MaskArray:
    """Union of COCO polygons ([x0, y0, x1, y1, ...], original frame) as (H, W) boolean.

    Raises:
        ValueError: a coordinate is not finite or far outside, or lacks its partner.
    """
    from pycocotools import mask as coco_mask

    for polygon in polygons:
        corners = np.asarray(polygon, np.float64)
        if not np.isfinite(corners).all():
            raise ValueError("a polygon has a coordinate that is not finite")
        if np.abs(corners).max(initial=0) > _FARTHEST * max(hw):  # pycocotools walks every pixel
            raise ValueError("a polygon has a coordinate far outside the image")
        if corners.ndim != 1 or len(corners) % 2:
            raise ValueError("a polygon is no list of x, y, x, y, ...")
    parts = coco_mask.frPyObjects(polygons, *hw)
    return np.asarray(coco_mask.decode(coco_mask.merge(parts)), np.bool_)

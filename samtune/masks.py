"""All that is done to masks without changing their frame: boxes, run lengths, outlines, overlap.

Boxes are inclusive, in the frame of pixel indices. Corners of outlines are in the frame of annotation
tools: (0, 0) is the outer corner of the top-left pixel, so that the pixel in row y and column x is the
square from (x, y) to (x + 1, y + 1).
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samtune.types import FloatArray, MaskArray

Ring = NDArray[np.int64]
Corner = tuple[int, int]

# A polygon's corners lie within so many of the image's longer side.
_FARTHEST = 16


def mask_to_rings(mask: MaskArray) -> list[Ring]:
    """Outlines of all parts (4-neighbourhood) and holes of an (H, W) mask.

    Returns:
        Closed rings (N, 2) of xy corners without the first one repeated and without corners on
        straight lines; parts run clockwise as seen on the screen, holes the other way.
    """
    box = mask_to_box(mask)
    if box is None:
        return []
    left, top, right, bottom = box.astype(int).tolist()
    follows = _edges(mask[top : bottom + 1, left : right + 1])
    rings = []
    while follows:
        start = next(iter(follows))
        ring, corner, step = [start], start, follows[start][0]
        while True:
            _take(follows, corner, step)
            corner = (corner[0] + step[0], corner[1] + step[1])
            if corner == start:
                break
            ring.append(corner)
            step = _next_step(follows[corner], step)
        corners = _without_straight_corners(np.array(ring, np.int64))
        rings.append(corners + np.array([left, top]))
    return rings


def _edges(mask: MaskArray) -> dict[Corner, list[Corner]]:
    """Edges between inside and outside, by the corner that they start from; inside is on the right."""
    padded = np.pad(mask, 1).astype(np.int8)
    follows: dict[Corner, list[Corner]] = {}
    down = np.diff(padded, axis=0)[:, 1:-1]  # (H + 1, W): 1 where a row begins below the edge
    for y, x in np.argwhere(down == 1).tolist():
        follows.setdefault((x, y), []).append((1, 0))
    for y, x in np.argwhere(down == -1).tolist():
        follows.setdefault((x + 1, y), []).append((-1, 0))
    across = np.diff(padded, axis=1)[1:-1]  # (H, W + 1)
    for y, x in np.argwhere(across == 1).tolist():
        follows.setdefault((x, y + 1), []).append((0, -1))
    for y, x in np.argwhere(across == -1).tolist():
        follows.setdefault((x, y), []).append((0, 1))
    return follows


def _next_step(steps: list[Corner], came: Corner) -> Corner:
    """Where two pixels touch at a corner only, turn right: each stays a part of its own."""
    right = (-came[1], came[0])
    return right if right in steps else steps[0]


def _take(follows: dict[Corner, list[Corner]], corner: Corner, step: Corner) -> None:
    follows[corner].remove(step)
    if not follows[corner]:
        del follows[corner]


def _without_straight_corners(ring: Ring) -> Ring:
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    turns = ((ring - before) != (after - ring)).any(1)
    return np.asarray(ring[turns])


def mask_to_polygon(mask: MaskArray) -> Ring:
    """All of a mask as one polygon (N, 2): parts and holes are joined by bridges without width.

    For formats in which an object is one polygon. Filled by even and odd crossings, or by
    pycocotools, it is the mask again.

    Raises:
        ValueError: the mask is empty.
    """
    rings = mask_to_rings(mask)
    if not rings:
        raise ValueError("an empty mask has no outline")
    return _join(rings)


def mask_to_polygons(mask: MaskArray, tolerance: float = 0.0) -> list[Ring]:
    """A polygon (N, 2) for each part (4-neighbourhood) of a mask, its holes joined to it by bridges.

    Args:
        mask: (H, W).
        tolerance: pixels by which an outline may move so that it needs fewer corners (Douglas and
            Peucker's way); with 0 the union of the polygons, as pycocotools fills them, is the mask.
    """
    parts, _ = ndimage.label(mask)
    polygons = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        rings = mask_to_rings(parts[rows, columns] == number)
        simple = [_simplified(ring, tolerance) for ring in rings]
        corner = np.array([columns.start, rows.start])
        polygons.append(_join(simple) + corner)
    return polygons


def _simplified(ring: Ring, tolerance: float) -> Ring:
    """Fewer corners; a ring too small to keep three of them stays as it is."""
    if tolerance <= 0:
        return ring
    fewer = cv2.approxPolyDP(ring.astype(np.int32), tolerance, closed=True)[:, 0]
    return fewer.astype(np.int64) if len(fewer) >= 3 else ring


def _join(rings: list[Ring]) -> Ring:
    polygon = rings[0]
    for ring in rings[1:]:
        # there along the bridge, round the ring, and back the same way
        polygon = np.concatenate([polygon, rings[0][:1], ring, ring[:1], rings[0][:1]])
    return polygon


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


def box_area(box_xyxy: FloatArray) -> float:
    """Pixels in an inclusive box."""
    return float((box_xyxy[2] - box_xyxy[0] + 1) * (box_xyxy[3] - box_xyxy[1] + 1))


def box_ious(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """(A, B) IoU of inclusive xyxy boxes (A, 4) and (B, 4)."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low + 1, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1) for boxes in (first, second)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))

"""Masks as polygons along the edges of their pixels, and back without the loss of one.

Corners are in the frame of annotation tools: (0, 0) is the outer corner of the top-left pixel, so that
the pixel in row y and column x is the square from (x, y) to (x + 1, y + 1).
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samtune.types import MaskArray

Ring = NDArray[np.int64]
Corner = tuple[int, int]


def mask_to_rings(mask: MaskArray) -> list[Ring]:
    """Outlines of all parts (4-neighbourhood) and holes of an (H, W) mask.

    Returns:
        Closed rings (N, 2) of xy corners without the first one repeated and without corners on
        straight lines; parts run clockwise as seen on the screen, holes the other way.
    """
    follows = _edges(mask)
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
        rings.append(_without_straight_corners(np.array(ring, np.int64)))
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

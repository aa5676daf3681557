"""Where automatic masks are looked for: crops of an image, and a grid of points in each.

Crops, grids and their order are those of segment_anything's utils/amg.py.
"""

from itertools import product
from math import ceil

import numpy as np
from numpy.typing import NDArray

from samtune.data.source import tile_starts

Grid = NDArray[np.float64]
CropBox = tuple[int, int, int, int]


def point_grid(points_per_side: int) -> Grid:
    """Evenly spaced points (N * N, 2) xy of the unit square, row by row, half a step off its edges."""
    places = (np.arange(points_per_side) + 0.5) / points_per_side
    columns, rows = np.meshgrid(places, places)
    return np.stack([columns, rows], axis=-1).reshape(-1, 2)


def layer_grids(points_per_side: int, num_layers: int, downscale: int) -> list[Grid]:
    """A grid for the image and for each layer of crops; each has `downscale` times fewer a side."""
    sides = [int(points_per_side / downscale**layer) for layer in range(num_layers + 1)]
    return [point_grid(side) for side in sides]


def crop_boxes(hw: tuple[int, int], num_layers: int, overlap_ratio: float) -> list[list[CropBox]]:
    """The image, then for each layer its crops: 4, 16, ... of equal size, overlapping.

    Args:
        hw: of the image.
        num_layers: beyond the image itself.
        overlap_ratio: of the first layer, as a share of the image's shorter side; halved with each.

    Returns:
        Per layer (x0, y0, x1, y1) with the ends outside, original frame.
    """
    height, width = hw
    layers: list[list[CropBox]] = [[(0, 0, width, height)]]
    for layer in range(1, num_layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(hw) * 2 / count)
        columns, rows = _spans(width, count, overlap), _spans(height, count, overlap)
        layers.append([(x0, y0, x1, y1) for (x0, x1), (y0, y1) in product(columns, rows)])
    return layers


def tile_boxes(hw: tuple[int, int], side: int, overlap: int) -> list[CropBox]:
    """Tiles of an image as a run that was trained on tiles saw them, row by row.

    Args:
        hw: of the image.
        side: of a tile, pixels; an image may be smaller.
        overlap: of neighbouring tiles, pixels; more where the last one of a row is moved inwards.

    Returns:
        (x0, y0, x1, y1) with the ends outside, original frame.
    """
    rows, columns = (tile_starts(length, side, overlap) for length in hw)
    return [(x, y, min(x + side, hw[1]), min(y + side, hw[0])) for y, x in product(rows, columns)]


def crop_area(crop: CropBox) -> int:
    return (crop[2] - crop[0]) * (crop[3] - crop[1])


def is_cut_off(box: NDArray[np.int64], crop: CropBox, hw: tuple[int, ...], near: int) -> bool:
    """Whether a box comes near an edge of its crop that is no edge of the image."""
    is_near_crop = np.abs(box - crop) <= near
    is_near_image = np.abs(box - (0, 0, hw[1], hw[0])) <= near
    return bool((is_near_crop & ~is_near_image).any())


def _spans(length: int, count: int, overlap: int) -> list[tuple[int, int]]:
    span = ceil((overlap * (count - 1) + length) / count)
    starts = [(span - overlap) * number for number in range(count)]
    # of fewer pixels than crops some are left without any
    return [(start, min(start + span, length)) for start in starts if start < length]

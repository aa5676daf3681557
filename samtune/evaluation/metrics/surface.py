"""How well outlines agree by their length, and surfaces by their area, not by their pixels.

An outline runs between the pixels: at each place where 2 x 2 pixels meet (2 x 2 x 2 voxels in space)
that are not all inside or all outside, lies a piece of it, through the middles between pixels inside
and outside. Pieces count by their length (area) and lie where the pixels meet. This is the definition
of Nikolov et al., arXiv 1809.04430, and of their package surface-distance, whose numbers these are.
"""

from functools import cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from samtune.evaluation.metrics.window import common_window
from samtune.types import MaskArray

_SHARE = 0.95


def surface_agreement(
    predicted: MaskArray, truth: MaskArray, spacing: tuple[float, ...], tolerance: float
) -> tuple[float, float]:
    """Surface Dice (NSD) and HD95 of two masks over pieces of their outlines, by length or area.

    The first is the share of both outlines that lies within the tolerance of the other. The second is
    the distance within which 95 % of an outline lies of the other, the larger of both directions. Two
    empty masks agree; with one of them the distance is the diagonal of the image.

    Args:
        predicted, truth: (H, W) or (X, Y, Z) masks.
        spacing: distance between pixels along each axis.
        tolerance: of surface Dice, in the unit of `spacing`.
    """
    if not predicted.any() or not truth.any():
        diagonal = float(np.linalg.norm(np.multiply(truth.shape, spacing)))
        return (1.0, 0.0) if predicted.any() == truth.any() else (0.0, diagonal)
    first, second = common_window(predicted, truth)
    (points, sizes), (others, other_sizes) = pieces(first, spacing), pieces(second, spacing)
    there = np.asarray(cKDTree(others).query(points)[0])
    back = np.asarray(cKDTree(points).query(others)[0])
    near = sizes[there <= tolerance].sum() + other_sizes[back <= tolerance].sum()
    distance = max(_percentile(there, sizes), _percentile(back, other_sizes))
    return float(near / (sizes.sum() + other_sizes.sum())), distance


def _percentile(distances: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    order = np.argsort(distances)
    shares = np.cumsum(sizes[order]) / sizes.sum()
    place = min(int(np.searchsorted(shares, _SHARE)), len(order) - 1)
    return float(distances[order[place]])


def pieces(
    mask: MaskArray, spacing: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, D) places and (N,) lengths or areas of the pieces of a mask's outline, in the spacing's unit.

    A place is that of the last of the pixels that meet there.

    Args:
        mask: (H, W) or (X, Y, Z), with background on every side.
        spacing: distance between pixels along each axis.
    """
    corners = list(product((0, 1), repeat=mask.ndim))
    codes = np.zeros([side - 1 for side in mask.shape], np.int64)
    for bit, corner in enumerate(corners):
        part = tuple(slice(at, at + n) for at, n in zip(corner, codes.shape, strict=True))
        codes |= mask[part].astype(np.int64) << bit
    # from 1: scipy's tree never ends beside 0 where the processor takes the smallest numbers for 0
    places = np.argwhere((codes != 0) & (codes != 2 ** len(corners) - 1)) + 1
    scale = np.prod(spacing) / np.asarray(spacing)
    sizes = np.array([np.linalg.norm(v * scale, axis=1).sum() for v in _shapes(mask.ndim)])
    return places * np.asarray(spacing), sizes[codes[tuple(places.T - 1)]]


@cache
def _shapes(ndim: int) -> list[NDArray[np.float64]]:
    """For each way in which 2**ndim pixels can be inside, (P, ndim) normals of what lies between.

    Their lengths are those of segments, or areas of triangles, of pixels of size 1. Of more than half
    inside, what is outside is looked at; groups that meet in an edge or corner alone stay apart.
    """
    found = []
    for code in range(2**2**ndim):
        bits = [code >> bit & 1 for bit in range(2**ndim)]
        inside = np.array(bits, bool).reshape((2,) * ndim)
        inside = ~inside if 2 * sum(bits) > len(bits) else inside
        groups, count = ndimage.label(inside)
        parts = [
            _shape(np.argwhere(groups == n), np.argwhere(~inside)) for n in range(1, count + 1)
        ]
        found.append(np.concatenate([np.zeros((0, ndim)), *parts]))
    return found


def _shape(group: NDArray[np.intp], outside: NDArray[np.intp]) -> NDArray[np.float64]:
    """Normals of what cuts a group of corners of a square or cube off from the others."""
    middles = [(a + b) / 2 for a, b in product(group, outside) if np.abs(a - b).sum() == 1]
    if group.shape[1] == 2:
        ((y, x),) = [b - a for a, b in combinations(middles, 2)]
        return np.array([[x, -y]])
    # segments on the faces of the cube make a ring; it is filled by triangles from one of its corners,
    # that which makes the largest area of them
    ring = [(a, b) for a, b in combinations(middles, 2) if ((a == b) & (a % 1 == 0)).any()]
    fans = [np.array([np.cross(a - top, b - top) / 2 for a, b in ring]) for top in middles]
    return max(fans, key=lambda fan: float(np.linalg.norm(fan, axis=1).sum()))

"""Shapes of drawn pictures, as (H, W) uint8 masks of 0 and 1.

Centres are xy in pixels and may lie outside the mask; `radius` is that of a circle of about the
same area.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from samtune.types import FloatArray

Mask = NDArray[np.uint8]
Point = tuple[float, float]
# OpenCV takes polygon corners as integers with this many binary places
_SHIFT = 4


def fill(points: NDArray[np.floating], hw: tuple[int, int]) -> Mask:
    """Fill the polygon with corners (n, 2) xy."""
    mask = np.zeros(hw, np.uint8)
    corners = np.round(np.clip(points, -4096, 4096) * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(mask, [corners], 1, shift=_SHIFT)
    return mask


def blob(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """A rounded shape: from nearly a circle to an uneven, stretched lump."""
    return fill(_outline(rng, rng.choice((0.03, 0.08, 0.2))) * radius + centre, hw)


def _outline(rng: np.random.Generator, unevenness: float, max_stretch: float = 1.9) -> FloatArray:
    """(64, 2) corners of a closed curve around the origin, radius about 1."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = np.arange(2, 7)
    weight = rng.normal(0, unevenness, 5) / np.sqrt(waves - 1)
    reach = 1 + np.cos(np.outer(angle, waves) + rng.uniform(0, 2 * np.pi, 5)) @ weight
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * np.maximum(reach, 0.25)[:, None]
    stretch = np.sqrt(rng.uniform(1, max_stretch))
    return np.asarray((points * [stretch, 1 / stretch]) @ _turn(rng.uniform(0, np.pi)), np.float32)


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def polygon(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """Three to nine corners around the centre, often concave."""
    count = int(rng.integers(3, 10))
    angle = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) * 2 * np.pi / count
    reach = rng.uniform(0.55, 1.35, count) * radius * 1.15
    turned = angle + rng.uniform(0, 2 * np.pi)
    points = np.stack([np.cos(turned), np.sin(turned)], 1) * reach[:, None]
    return fill(points + centre, hw)


def rectangle(centre: Point, sides: tuple[float, float], angle: float, hw: tuple[int, int]) -> Mask:
    """A turned rectangle."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(sides) / 2
    return fill(corners @ _turn(angle) + centre, hw)


def roof(
    rng: np.random.Generator, centre: Point, radius: float, angle: float, hw: tuple[int, int]
) -> Mask:
    """A house from above: one to three rectangles at right angles."""
    long = radius * rng.uniform(1.7, 2.6)
    short = np.pi * radius**2 / long
    mask = rectangle(centre, (long, short), angle, hw)
    for _ in range(int(rng.choice((0, 0, 1, 2)))):
        along = np.array([rng.uniform(-0.4, 0.4) * long, rng.choice((-0.4, 0.4)) * short])
        place = along @ _turn(angle) + centre
        wing = (long * rng.uniform(0.25, 0.5), short * rng.uniform(0.5, 1.0))
        mask |= rectangle((float(place[0]), float(place[1])), wing, angle, hw)
    return mask


def ring(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """A closed band."""
    outline = _outline(rng, 0.05)
    outer = radius * 1.2
    inner = outer * rng.uniform(0.45, 0.8)
    return _without(fill(outline * outer + centre, hw), fill(outline * inner + centre, hw))


def _without(mask: Mask, hole: Mask) -> Mask:
    return np.asarray(mask & (1 - hole), np.uint8)


def crescent(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """A blob with a bite taken out."""
    outline, turn = _outline(rng, 0.05) * radius * 1.25, rng.uniform(0, 2 * np.pi)
    bite = np.array([np.cos(turn), np.sin(turn)]) * radius * rng.uniform(0.5, 1.0)
    return _without(fill(outline + centre, hw), fill(outline * 0.9 + centre + bite, hw))


def star(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """Arms around a middle: dendrites, leaves, gears."""
    count = int(rng.integers(4, 9))
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    wave = np.cos(angle * count + rng.uniform(0, 2 * np.pi)) * rng.uniform(0.25, 0.5)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * (1 + wave)[:, None] * radius
    return fill(points + centre, hw)


def curve(
    rng: np.random.Generator, start: Point, length: float, bend: float, steps: int = 24
) -> FloatArray:
    """(steps, 2) points of a smooth wandering line; `bend` is the turn over its length, radians."""
    turns = np.cumsum(rng.normal(0, 1, steps)) * bend / steps
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns) / 3 + turns
    moves = np.stack([np.cos(heading), np.sin(heading)], 1) * length / steps
    return np.asarray(np.cumsum(moves, 0) + start, np.float32)


def band(points: FloatArray, thickness: float, hw: tuple[int, int]) -> Mask:
    """A line of the given thickness through points (n, 2)."""
    mask = np.zeros(hw, np.uint8)
    corners = np.round(np.clip(points, -4096, 4096) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(mask, [corners], False, 1, max(1, round(thickness)), cv2.LINE_8, _SHIFT)
    return mask


def filament(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """A thin wandering line, sometimes branched: fibre, vessel, crack."""
    length, thickness = radius * rng.uniform(4, 9), max(1.0, radius * rng.uniform(0.08, 0.3))
    line = curve(rng, centre, length, rng.uniform(0.5, 3.0))
    mask = band(line, thickness, hw)
    for _ in range(int(rng.choice((0, 0, 1, 2, 3)))):
        x, y = line[int(rng.integers(len(line)))]
        branch = curve(rng, (float(x), float(y)), length * rng.uniform(0.2, 0.6), 1.5)
        mask |= band(branch, max(1.0, thickness * rng.uniform(0.5, 1.0)), hw)
    return mask


def stripe(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """A broad band that crosses the picture: road, river, muscle."""
    middle = curve(rng, centre, 1.6 * max(hw), rng.uniform(0.0, 1.5))
    other = 2 * np.asarray(centre, np.float32) - middle
    return band(np.concatenate([other[::-1], middle]), radius * rng.uniform(0.3, 0.8), hw)


def patch(rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]) -> Mask:
    """An irregular region with bays and islands, as thresholded noise has."""
    cells = int(rng.integers(4, 9))
    noise = cv2.resize(rng.standard_normal((cells, cells), np.float32), hw[::-1])
    y, x = np.ogrid[: hw[0], : hw[1]]
    distance = np.hypot(x - centre[0], y - centre[1]).astype(np.float32) / np.float32(radius)
    mask = (distance + 0.45 * noise < 1.05).astype(np.uint8)
    _, labels = cv2.connectedComponents(mask)
    column, row = np.clip(np.round(centre), 0, np.array(hw[::-1]) - 1).astype(int)
    found = labels[row, column]
    return np.asarray(labels == found, np.uint8) if found else mask


Shape = Callable[[np.random.Generator, Point, float, tuple[int, int]], Mask]
SOLID: tuple[Shape, ...] = (blob, blob, polygon, polygon, star, crescent, patch)
ANY: tuple[Shape, ...] = (*SOLID, blob, ring, filament, stripe)

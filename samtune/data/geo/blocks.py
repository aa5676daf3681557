"""Scenes divided into blocks, and those into windows: what lies in two splits never overlaps.

Scenes that show the same ground, as those of several dates do, are cut along common lines on the
ground, and blocks that still share some are one group.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.raster import Scene
from samtune.data.geo.shared_ground import SLIVER, lay_on_ground, number_places
from samtune.data.source import tile_starts
from samtune.errors import require
from samtune.types import Window

# So many blocks of all scenes together let splits be drawn; so many places do without, where none has
# more than this share of the scenes.
_ENOUGH_BLOCKS, _ENOUGH_PLACES, _LARGEST_SHARE = 24, 10, 0.25


@dataclass(frozen=True)
class Block:
    """Part of a scene.

    Attributes:
        group: its name, or that of the first block that it shares ground with.
        whole: its pixels.
        windows: into which it is cut; they end where it ends.
    """

    group: str
    whole: Window
    windows: list[Window]


@dataclass(frozen=True)
class _Lines:
    """Lines on the ground along which scenes of one CRS are cut.

    Attributes:
        corner: (x, y) where two of them cross.
        steps: (x, y) from one to the next, units of the CRS.
    """

    corner: tuple[float, float]
    steps: tuple[float, float]


def divide(scenes: list[Scene], block: int, side: int, overlap: int) -> list[list[Block]]:
    """The blocks of each scene.

    Args:
        scenes: what is divided.
        block: side of a block, pixels; 0 chooses. Blocks of a scene are about equal.
        side, overlap: of windows.
    """
    grounds = lay_on_ground([(s, [Window(0, 0, s.height, s.width)]) for s in scenes], side)
    places = number_places(grounds)
    is_shared = np.bincount(places)[places] > 1
    block = block or _choose_block_side(scenes, side, grounds, places)
    tied = [scene for scene, shared in zip(scenes, is_shared, strict=True) if shared and block]
    lines = _common_lines([scene for scene in tied if _is_upright(scene)], block)
    cuts = [
        _cut_on_ground(scene, lines[scene.crs], side)
        if shared and block and _is_upright(scene)
        else _cut_evenly(scene, block)
        for scene, shared in zip(scenes, is_shared, strict=True)
    ]
    names = [
        f"{scene.path.stem}/{place}" if block else scene.path.stem
        for scene, parts in zip(scenes, cuts, strict=True)
        for place in parts
    ]
    wholes = [list(parts.values()) for parts in cuts]
    groups = iter(_shared_names(names, lay_on_ground(list(zip(scenes, wholes, strict=True)), side)))
    return [
        [Block(next(groups), whole, _windows(whole, side, overlap)) for whole in its]
        for its in wholes
    ]


def _shared_names(names: list[str], grounds: NDArray[np.object_]) -> list[str]:
    """For each block the name of the first one that it shares ground with."""
    first: dict[int, str] = {}
    places = number_places(grounds).tolist()
    return [first.setdefault(place, name) for place, name in zip(places, names, strict=True)]


def _choose_block_side(
    scenes: list[Scene], side: int, grounds: NDArray[np.object_], places: NDArray[np.int32]
) -> int:
    """Blocks that are enough to draw splits from, at least a window; 0 takes whole scenes."""
    counts = np.bincount(places)
    if len(counts) >= _ENOUGH_PLACES and counts.max() <= _LARGEST_SHARE * len(scenes):
        return 0
    shapely = require("shapely", "geo")
    areas = np.nansum(shapely.area(grounds))
    seen_once = shapely.area(shapely.union_all(grounds)) / areas if areas else 1.0
    area = sum(scene.height * scene.width for scene in scenes) * seen_once
    return max(side, round(math.sqrt(area / _ENOUGH_BLOCKS)))


def _is_upright(scene: Scene) -> bool:
    return scene.transform[1] == 0 == scene.transform[3]


def _common_lines(scenes: list[Scene], block: int) -> dict[str, _Lines]:
    """By CRS: those that cut the coarsest scene into equal blocks."""
    found: dict[str, _Lines] = {}
    for scene in sorted(scenes, key=lambda s: -abs(s.transform[0] * s.transform[4])):
        a, _, x, _, e, y = scene.transform
        width, height = (
            length / max(1, round(length / block)) for length in (scene.width, scene.height)
        )
        found.setdefault(scene.crs, _Lines((x, y), (abs(a) * width, abs(e) * height)))
    return found


def _cut_on_ground(scene: Scene, lines: _Lines, side: int) -> dict[str, Window]:
    a, _, x, _, e, y = scene.transform
    columns = _crossings(scene.width, (lines.corner[0] - x) / a, abs(lines.steps[0] / a), side)
    rows = _crossings(scene.height, (lines.corner[1] - y) / e, abs(lines.steps[1] / e), side)
    return _between(rows, columns)


def _crossings(length: int, start: float, step: float, side: int) -> list[int]:
    """Pixels from 0 to `length` at which lines cross; none cuts off a sliver."""
    margin = max(1.0, SLIVER * side / 2)
    first, last = math.ceil((margin - start) / step), math.floor((length - margin - start) / step)
    return [0, *(round(start + number * step) for number in range(first, last + 1)), length]


def _cut_evenly(scene: Scene, block: int) -> dict[str, Window]:
    return _between(_edges(scene.height, block), _edges(scene.width, block))


def _edges(length: int, block: int) -> list[int]:
    count = max(1, round(length / block)) if block else 1
    return [round(length * number / count) for number in range(count + 1)]


def _between(rows: list[int], columns: list[int]) -> dict[str, Window]:
    """Blocks between edges, by row and column."""
    return {
        f"{row},{column}": Window(top, left, bottom - top, right - left)
        for row, (top, bottom) in enumerate(itertools.pairwise(rows))
        for column, (left, right) in enumerate(itertools.pairwise(columns))
    }


def _windows(whole: Window, side: int, overlap: int) -> list[Window]:
    height, width = min(side, whole.height), min(side, whole.width)
    return [
        Window(whole.y + y, whole.x + x, height, width)
        for y in tile_starts(whole.height, side, overlap)
        for x in tile_starts(whole.width, side, overlap)
    ]

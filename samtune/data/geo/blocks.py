"""A scene divided into blocks, and those into windows: what lies in two splits never overlaps."""

import itertools
import math
from collections.abc import Iterator

from samtune.data.geo.raster import Scene, Window
from samtune.data.source import tile_starts

# So many blocks of all scenes together let splits be drawn; so many scenes do without.
_ENOUGH_BLOCKS, _ENOUGH_SCENES = 24, 10


def choose_block_side(scenes: list[Scene], side: int) -> int:
    """Side of blocks that are enough to draw splits from, at least a window; 0 takes whole scenes."""
    if len(scenes) >= _ENOUGH_SCENES:
        return 0
    area = sum(scene.height * scene.width for scene in scenes)
    return max(side, round(math.sqrt(area / _ENOUGH_BLOCKS)))


def block_windows(
    scene: Scene, block: int, side: int, overlap: int
) -> Iterator[tuple[str, Window, list[Window]]]:
    """Names of blocks, their pixels, and their windows.

    Args:
        scene: what is divided.
        block: side of a block, pixels; 0 for one block. Blocks of a scene are about equal.
        side, overlap: of windows, which end where their block ends.
    """
    rows, columns = (_edges(length, block) for length in (scene.height, scene.width))
    for row, (top, bottom) in enumerate(itertools.pairwise(rows)):
        for column, (left, right) in enumerate(itertools.pairwise(columns)):
            name = f"{scene.path.stem}/{row},{column}" if block else scene.path.stem
            windows = [
                Window(top + y, left + x, min(side, bottom - top), min(side, right - left))
                for y in tile_starts(bottom - top, side, overlap)
                for x in tile_starts(right - left, side, overlap)
            ]
            yield name, Window(top, left, bottom - top, right - left), windows


def _edges(length: int, block: int) -> list[int]:
    count = max(1, round(length / block)) if block else 1
    return [round(length * number / count) for number in range(count + 1)]

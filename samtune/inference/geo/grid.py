"""How a scene is divided: windows that overlap, and the core of each, which cover every pixel once."""

from dataclasses import dataclass

from samtune.data.geo.raster import Scene
from samtune.data.source import tile_starts
from samtune.types import Window


@dataclass(frozen=True)
class Cell:
    """One window of the grid.

    Attributes:
        row, column: its place in the grid.
        window: what is segmented.
        core: the part of it that counts: up to the middle of every overlap.
    """

    row: int
    column: int
    window: Window
    core: Window


def make_grid(scene: Scene, side: int, overlap: int) -> list[Cell]:
    """Cells in rows, from the top left.

    Args:
        scene: what is divided.
        side: of the windows, pixels.
        overlap: of neighbours, pixels.
    """
    rows = _spans(scene.height, side, overlap)
    columns = _spans(scene.width, side, overlap)
    return [
        Cell(
            row, column,
            Window(top, left, bottom - top, right - left),
            Window(core_top, core_left, core_bottom - core_top, core_right - core_left),
        )
        for row, (top, bottom, core_top, core_bottom) in enumerate(rows)
        for column, (left, right, core_left, core_right) in enumerate(columns)
    ]  # fmt: skip


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Start and end of windows along one side of the scene, and of their cores."""
    starts = tile_starts(length, side, overlap)
    ends = [min(start + side, length) for start in starts]
    middles = [(start + end) // 2 for start, end in zip(starts[1:], ends[:-1], strict=True)]
    return list(zip(starts, ends, [0, *middles], [*middles, length], strict=True))


def common(one: Window, other: Window) -> Window | None:
    """Where two windows overlap; `None` where they do not."""
    top, left = max(one.y, other.y), max(one.x, other.x)
    bottom = min(one.y + one.height, other.y + other.height)
    right = min(one.x + one.width, other.x + other.width)
    return Window(top, left, bottom - top, right - left) if top < bottom and left < right else None


def inside(part: Window, whole: Window) -> tuple[slice, slice]:
    """Rows and columns of a part in the frame of the window around it."""
    y, x = part.y - whole.y, part.x - whole.x
    return slice(y, y + part.height), slice(x, x + part.width)

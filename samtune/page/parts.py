"""Files that are too large or too deep for one picture: windows of a scene, slices of a volume."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.geo.raster import has_data, open_scene, read_window
from samtune.data.source import Record, Source
from samtune.data.volumes.copying import volume_name
from samtune.data.volumes.finding import channel_files
from samtune.data.volumes.slices import AXES, SliceStack, open_stack
from samtune.errors import require
from samtune.inference.geo.grid import make_grid
from samtune.reading import Reading
from samtune.types import Sample, Window

# Side of the windows of a scene, unless the model has one of its own that is larger
_SIDE = 1024
# Pixels between what is used of a window and one of the other side
_MARGIN = 16
# A volume is divided into so many ranges of slices, of at least so many
_RANGES, _LEAST_RANGE = 16, 4


class Parts(Source):
    """Images that are parts of one larger file."""

    is_part = True

    @abstractmethod
    def part_beside(self, index: int, others: Sequence[tuple[int, Window | None]]) -> Window:
        """What of an image shares nothing with others, pixels; without a side where nothing is left.

        Args:
            index: of the image.
            others: indices of images, and what is used of each; `None` is all.
        """


class SceneWindows(Parts):
    """A scene, window by window, read from its file when one is looked at.

    Windows overlap by a quarter, so that an object on a seam lies whole in one of them.

    Args:
        path: of the raster.
        reading: of the pixels; values are stretched as over the whole scene.

    Attributes:
        scene: the raster.
        cells: its windows, those with data; each with the part of it that counts where they overlap.
        outlines: geometries of its objects that are known already, by what they are made of.

    Raises:
        UserError: the file cannot be read.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        self.outlines: dict[Any, Any] = {}
        self.scene = open_scene(path, reading)
        side = max(_SIDE, reading.tile)
        cells = make_grid(self.scene, side, side // 4)
        self.cells = [cell for cell in cells if has_data(self.scene, cell.window)]
        self.windows = [cell.window for cell in self.cells]
        self.records = [Record(f"{path.stem}@{each.x},{each.y}", path) for each in self.windows]

    def read(self, index: int) -> Sample:
        image, _ = read_window(self.scene, self.windows[index])
        return _without_truth(self.records[index].image_id, image)

    def hw(self, index: int) -> tuple[int, int]:
        return self.windows[index].hw

    def part_beside(self, index: int, others: Sequence[tuple[int, Window | None]]) -> Window:
        own = left = self.windows[index]
        for place, part in others:
            other = self.windows[place]
            if part is not None:
                other = Window(other.y + part.y, other.x + part.x, *part.hw)
            left = _largest_beside(left, other)
        # of a strip at the edge there is little to learn
        if min(left.hw) < min(own.hw) // 4:
            return Window(0, 0, 0, 0)
        return Window(left.y - own.y, left.x - own.x, *left.hw)

    def corner_to_crs(self, index: int) -> tuple[float, ...]:
        """(a, b, c, d, e, f) of a window: its corner (x, y) lies at (a x + b y + c, d x + e y + f)."""
        a, b, c, d, e, f = self.scene.transform
        x, y = self.windows[index].x, self.windows[index].y
        return a, b, a * x + b * y + c, d, e, d * x + e * y + f


class VolumeSlices(Parts):
    """A volume, slice by slice, as the network sees it.

    Args:
        path: of the volume: a file, or a folder of DICOM slices.
        reading: window or range, axis, neighbours.

    Raises:
        UserError: the file cannot be read.

    Attributes:
        in_a_range: slices of a range, which belong together.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        require("nibabel", "medical")
        self.files = channel_files(path) if reading.bands else [path]
        self.name = volume_name(self.files)
        self.stack: SliceStack = open_stack(self.files, reading)
        self.in_a_range = max(_LEAST_RANGE, -(-len(self.stack) // _RANGES))
        # slices show their neighbours too where the model takes three
        self._margin = self.in_a_range // 4 + 2 * self.stack.with_neighbours
        plane = f"{self.name}/{AXES[self.stack.axis]}"
        self.records = [
            Record(f"{plane}{number:04d}", path, group=f"{plane}{first:04d}-{last:04d}")
            for first, last in self._ranges()
            for number in range(first, last + 1)
        ]

    def _ranges(self) -> list[tuple[int, int]]:
        """First and last slice of each range."""
        starts = range(0, len(self.stack), self.in_a_range)
        return [(each, min(each + self.in_a_range, len(self.stack)) - 1) for each in starts]

    def part_beside(self, index: int, others: Sequence[tuple[int, Window | None]]) -> Window:
        is_near = any(abs(index - place) <= self._margin for place, _ in others)
        return Window(0, 0, 0, 0) if is_near else Window(0, 0, *self.stack.hw)

    def read(self, index: int) -> Sample:
        return _without_truth(self.records[index].image_id, self.stack.picture(index))

    def hw(self, index: int) -> tuple[int, int]:
        return self.stack.hw


def _largest_beside(window: Window, other: Window) -> Window:
    """The largest part of a window, from edge to edge, that another one with a margin leaves."""
    (top, bottom), (left, right) = window.ranges
    (above, below), (before, behind) = other.ranges
    above, below, before, behind = (
        above - _MARGIN,
        below + _MARGIN,
        before - _MARGIN,
        behind + _MARGIN,
    )
    if above >= bottom or below <= top or before >= right or behind <= left:
        return window
    spans = [
        (top, left, above, right), (below, left, bottom, right),
        (top, left, bottom, before), (top, behind, bottom, right),
    ]  # fmt: skip
    left_over = [Window(y, x, max(0, down - y), max(0, end - x)) for y, x, down, end in spans]
    return max(left_over, key=lambda each: each.height * each.width)


def _without_truth(image_id: str, image: np.ndarray) -> Sample:
    return Sample(image_id, image, np.zeros((1, *image.shape[:2]), np.int32))

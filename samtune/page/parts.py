"""Files that are too large or too deep for one picture: windows of a scene, slices of a volume."""

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
from samtune.types import Sample

# Side of the windows of a scene, unless the model has one of its own that is larger
_SIDE = 1024


class SceneWindows(Source):
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

    is_part = True

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

    def corner_to_crs(self, index: int) -> tuple[float, ...]:
        """(a, b, c, d, e, f) of a window: its corner (x, y) lies at (a x + b y + c, d x + e y + f)."""
        a, b, c, d, e, f = self.scene.transform
        x, y = self.windows[index].x, self.windows[index].y
        return a, b, a * x + b * y + c, d, e, d * x + e * y + f


class VolumeSlices(Source):
    """A volume, slice by slice, as the network sees it.

    Args:
        path: of the volume: a file, or a folder of DICOM slices.
        reading: window or range, axis, neighbours.

    Raises:
        UserError: the file cannot be read.
    """

    is_part = True

    def __init__(self, path: Path, reading: Reading) -> None:
        require("nibabel", "medical")
        self.files = channel_files(path) if reading.bands else [path]
        self.name = volume_name(self.files)
        self.stack: SliceStack = open_stack(self.files, reading)
        self.records = [
            Record(f"{self.name}/{AXES[self.stack.axis]}{number:04d}", path, group=self.name)
            for number in range(len(self.stack))
        ]

    def read(self, index: int) -> Sample:
        return _without_truth(self.records[index].image_id, self.stack.picture(index))

    def hw(self, index: int) -> tuple[int, int]:
        return self.stack.hw


def _without_truth(image_id: str, image: np.ndarray) -> Sample:
    return Sample(image_id, image, np.zeros((1, *image.shape[:2]), np.int32))

"""Files that are too large or too deep for one picture: windows of a scene, slices of a volume."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.geo.raster import has_data, open_scene, read_window
from samtune.data.source import Record, Source, tile_starts
from samtune.data.volumes.finding import channel_files
from samtune.data.volumes.slices import AXES, SliceStack, choose_axes, open_stack
from samtune.data.volumes.voxels import read_geometry
from samtune.errors import require
from samtune.inference.geo.polygons import on_the_map, outline_parts
from samtune.inference.geo.writing import MapObjects, write_polygons
from samtune.page.state import Accepted
from samtune.reading import Reading
from samtune.types import Sample, Window

# Side of the windows of a scene, unless the model has one of its own that is larger
_SIDE = 1024


class SceneWindows(Source):
    """A scene, window by window, read from its file when one is looked at.

    Windows overlap by a quarter, so that an object on a seam lies whole in one of them.

    Args:
        path: of the raster.
        reading: of the pixels; values are stretched as over the whole scene.

    Raises:
        UserError: the file cannot be read.
    """

    is_part = True

    def __init__(self, path: Path, reading: Reading) -> None:
        self.scene = open_scene(path, reading)
        side, (height, width) = max(_SIDE, reading.tile), (self.scene.height, self.scene.width)
        self.windows = [
            window
            for y in tile_starts(height, side, side // 4)
            for x in tile_starts(width, side, side // 4)
            if has_data(
                self.scene, window := Window(y, x, min(side, height - y), min(side, width - x))
            )
        ]
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


def write_map(path: Path, source: SceneWindows, objects: Iterable[tuple[int, Accepted]]) -> None:
    """Write accepted objects as a file of a GIS, in the scene's CRS.

    Args:
        path: the file; its suffix is the format.
        source: the windows of the scene.
        objects: the window of each, and the object, in pixels of the window.

    Raises:
        UserError: what is needed for it is not installed.
    """
    shapely = require("shapely", "geo")
    outlines, rows = [], []
    for index, made in objects:
        mask, window = made.mask, source.windows[index]
        place = Window(window.y + mask.top, window.x + mask.left, *mask.part.shape)
        parts = [part for _, part in outline_parts(place, mask.part.astype(np.int32))]
        outlines.append(shapely.MultiPolygon(parts))
        score = np.nan if made.score is None else made.score
        rows.append((made.name, made.by, score, source.records[index].image_id, made.number))
    kinds: dict[str, Any] = {
        "class": object, "by": object, "score": float, "window": object, "number": int
    }  # fmt: skip
    columns = {
        name: np.array([row[place] for row in rows], kind)
        for place, (name, kind) in enumerate(kinds.items())
    }
    shapes = np.array(outlines, object)
    placed = on_the_map(source.scene, shapes) if len(shapes) else shapes
    write_polygons(path, [MapObjects(placed, columns)], source.scene)


class VolumeSlices(Source):
    """A volume, slice by slice, as the network sees it.

    Args:
        path: of the volume.
        reading: window or range, axis, neighbours.

    Raises:
        UserError: the file cannot be read.
    """

    is_part = True

    def __init__(self, path: Path, reading: Reading) -> None:
        require("nibabel", "medical")
        files = channel_files(path) if reading.bands else [path]
        self.stack: SliceStack = open_stack(files, reading)
        (axis,) = choose_axes(reading.axis, [read_geometry(path)])
        name = path.name.partition(".")[0]
        self.records = [
            Record(f"{name}/{AXES[axis]}{number:04d}", path, group=name)
            for number in range(len(self.stack))
        ]

    def read(self, index: int) -> Sample:
        return _without_truth(self.records[index].image_id, self.stack.picture(index))

    def hw(self, index: int) -> tuple[int, int]:
        return self.stack.hw


def _without_truth(image_id: str, image: np.ndarray) -> Sample:
    return Sample(image_id, image, np.zeros((1, *image.shape[:2]), np.int32))

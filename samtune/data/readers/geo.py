"""Scenes (GeoTIFF, COG, ...) with polygons or label rasters, read window by window.

PATH/a.tif              one scene or many, in PATH or PATH/images; or PATH is a file itself
PATH/a.geojson          its polygons (.gpkg, .geojson, .shp, .fgb), in any CRS; or one file for all
PATH/a_labels.tif       or its label raster (a_label, a_mask); or a.tif in PATH/labels or PATH/masks
PATH/manifest.csv       optional: a row for each scene, with a split or group column

Windows are read straight from the file: a scene never has to fit the memory. Scenes are divided into
blocks, which are the groups that no drawn split tears apart; windows end where their block ends, and
a polygon that reaches into two blocks belongs to the one that holds its centre.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samtune.data.geo.blocks import block_windows, choose_block_side
from samtune.data.geo.files import RASTER_SUFFIXES, find_objects_file, scene_files
from samtune.data.geo.raster import (
    Window,
    has_data,
    metres_per_pixel,
    open_scene,
    read_label_window,
    read_stored,
    read_window,
)
from samtune.data.geo.vector import VECTOR_SUFFIXES, Polygons, draw, find_on_scene, read_polygons
from samtune.data.label_maps import LabelKind, interpret_labels
from samtune.data.objects import split_components
from samtune.data.readers.mask_folder import read_manifest
from samtune.data.source import ReadSettings, Record, Source, spacing_columns
from samtune.errors import UserError
from samtune.types import MaskArray, Sample

# Side of windows where `data.tile` is not set, pixels.
_DEFAULT_TILE = 512


@dataclass(frozen=True)
class _Place:
    """One window: its scene, its pixels, and the polygons that belong to it."""

    scene: int
    window: Window
    numbers: np.ndarray


class GeoScenes(Source):
    """Windows of scenes with their objects.

    Args:
        path: a scene, or the folder described at the top of this module.
        settings: how to read. `objects` names a vector file, a label raster or a folder of them
            where they do not lie beside the scenes; `class_column` the attribute with the class;
            `block` the side of blocks in pixels (0 chooses).

    Raises:
        UserError: there are no scenes, one lacks its objects, or a file cannot be read.
    """

    is_tiled = is_part = True

    def __init__(self, path: Path, settings: ReadSettings | None = None) -> None:
        self.settings = settings or ReadSettings()
        files = scene_files(path)
        if not files:
            raise UserError(f"{path} holds no scenes ({', '.join(RASTER_SUFFIXES)})")
        chosen = self.settings
        self.scenes = [
            open_scene(file, chosen.bands, chosen.stretch, chosen.value_range) for file in files
        ]
        self._objects = self._open_objects(path)
        self._is_on_scene: dict[Path, MaskArray] = {}
        self.records: list[Record] = []
        self._places: list[_Place] = []
        rows = read_manifest(path if path.is_dir() else path.parent)
        for number in range(len(self.scenes)):
            self._add(number, rows)
        if not self.records:
            raise UserError(
                f"{path} has no window with an object (data.slices all takes empty ones)"
            )

    def _open_objects(self, path: Path) -> list[Polygons | Path]:
        """Polygons or label raster of each scene; a file of several scenes is read once."""
        settings, opened = self.settings, dict[Path, Polygons | Path]()
        files = [find_objects_file(scene.path, path, settings.objects) for scene in self.scenes]
        for file in files:
            if file not in opened:
                is_vector = file.suffix.lower() in VECTOR_SUFFIXES
                opened[file] = (
                    read_polygons(file, settings.class_column, settings.encoding)
                    if is_vector
                    else file
                )
        return [opened[file] for file in files]

    def _add(self, number: int, rows: dict[str, dict[str, str]]) -> None:
        """Windows of one scene that hold data and (unless all are wanted) objects."""
        scene, settings = self.scenes[number], self.settings
        side = settings.tile or _DEFAULT_TILE
        block = settings.block or choose_block_side(self.scenes, side)
        blocks = list(block_windows(scene, block, side, min(settings.tile_overlap, side - 1)))
        names = [name for name, windows in blocks for _ in windows]
        windows = [window for _, windows in blocks for window in windows]
        numbers = self._owned(number, windows, names)
        row = rows.get(scene.path.stem) or rows.get(scene.path.name) or {}
        metres = metres_per_pixel(scene)
        columns = {**row, **(spacing_columns(*metres, "m") if metres else {})}
        told = tqdm(
            zip(windows, names, numbers, strict=True), f"windows of {scene.path.name}",
            len(windows), unit="window", disable=None, delay=2,
        )  # fmt: skip
        for window, name, mine in told:
            is_wanted = settings.slices == "all" or len(mine) or self._is_labelled(number, window)
            if is_wanted and has_data(scene, window):
                self._places.append(_Place(number, window, mine))
                self.records.append(
                    Record(
                        f"{scene.path.stem}@{window.x},{window.y}", scene.path,
                        row.get("split", ""), name, tuple(columns.items()),
                    )
                )  # fmt: skip

    def _owned(self, number: int, windows: list[Window], names: list[str]) -> list[np.ndarray]:
        """Polygons of each window, each in that block only which holds its centre."""
        objects = self._objects[number]
        if isinstance(objects, Path):
            return [np.zeros(0, np.int64)] * len(windows)
        found = find_on_scene(objects, self.scenes[number], windows)
        is_on_scene = self._is_on_scene.setdefault(objects.path, np.zeros(len(objects), np.bool_))
        is_on_scene[found.polygons] = True
        block = np.unique(names, return_inverse=True)[1][found.windows]
        owner = np.zeros(len(objects), np.intp)
        nearest_last = np.argsort(-found.distances)
        owner[found.polygons[nearest_last]] = block[nearest_last]
        is_owned = owner[found.polygons] == block
        met, polygons = found.windows[is_owned], found.polygons[is_owned]
        order = np.lexsort((polygons, met))
        return np.split(polygons[order], np.searchsorted(met[order], np.arange(1, len(windows))))

    def _is_labelled(self, number: int, window: Window) -> bool:
        objects = self._objects[number]
        if isinstance(objects, Polygons):
            return False
        return bool(read_label_window(objects, self.scenes[number], window).any())

    def read(self, index: int) -> Sample:
        place, record = self._places[index], self.records[index]
        scene, objects = self.scenes[place.scene], self._objects[place.scene]
        image, is_valid = read_window(scene, place.window)
        if isinstance(objects, Polygons):
            labels, classes = draw(objects, place.numbers, scene, place.window)
        else:
            values = read_label_window(objects, scene, place.window)
            is_mask = objects.parent.name == "masks" or objects.stem.endswith("_mask")
            is_classes = is_mask or bool(self.settings.class_names)
            usual: LabelKind = "semantic" if is_classes else "instances"
            labels, classes = interpret_labels(values, self.settings, usual, objects)
        labels = np.where(is_valid, labels, np.int32(0))
        if self.settings.with_components:
            labels, classes = split_components(labels, classes)
        return Sample(record.image_id, image, labels, classes, record.group)

    @property
    def notes(self) -> list[str]:
        found = [
            f"the bands of {scene.path} have no names: the first three are taken as red, green and "
            "blue (set data.bands if they are stored otherwise)"
            for scene in self.scenes
            if not scene.is_marked
        ]
        layers = {o.path: o for o in self._objects if isinstance(o, Polygons)}
        for path, polygons in layers.items():
            found += polygons.notes
            if outside := int((~self._is_on_scene[path]).sum()):
                found.append(f"{outside} of {len(polygons)} polygons of {path} lie on no scene")
        return found

    def stored(self, index: int) -> NDArray[Any]:
        place = self._places[index]
        return read_stored(self.scenes[place.scene], place.window)

    def hw(self, index: int) -> tuple[int, int]:
        window = self._places[index].window
        return window.height, window.width

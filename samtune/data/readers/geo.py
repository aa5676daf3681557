"""Scenes (GeoTIFF, COG, ...) with polygons or label rasters, read window by window.

PATH/a.tif              one scene or many, in PATH or PATH/images; or PATH is a file itself
PATH/a.geojson          its polygons (.gpkg, .geojson, .shp, .fgb), in any CRS; or one file for all
                        (.json, .parquet, .shp.zip where they hold features); of pictures without a
                        georeference, PNG and JPEG too, in pixels, as QuPath exports them
PATH/a_labels.tif       or its label raster (a_label, a_mask); or a.tif in PATH/labels or PATH/masks;
                        names of its values count (`value_names.py`)
PATH/manifest.csv       optional: a row for each scene, with a split or group column

Windows are read straight from the file: a scene never has to fit the memory. Scenes are divided into
blocks, which are the groups that no drawn split tears apart; those that show the same ground, in
whatever scenes, are one group. Windows end where their block ends, and a polygon that reaches into two
blocks belongs to the one that holds a place within it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.bars import bar
from samtune.data.geo.blocks import Block, divide
from samtune.data.geo.burning import draw
from samtune.data.geo.finding import RASTER_SUFFIXES, find_objects_file, holds_scenes, scene_files
from samtune.data.geo.frames import metres_per_pixel
from samtune.data.geo.kinds import holds_vectors
from samtune.data.geo.label_raster import LabelRaster, open_labels, read_label_window
from samtune.data.geo.placing import find_on_scene, lie_apart, points_on_scene
from samtune.data.geo.raster import (
    has_data,
    open_scene,
    read_stored,
    read_window,
)
from samtune.data.geo.shared_ground import lay_on_ground
from samtune.data.geo.vector import Polygons, read_polygons
from samtune.data.label_maps import LabelKind, interpret_labels
from samtune.data.manifest import Manifest
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record, spacing_columns
from samtune.data.value_names import mean_classes, name_notes
from samtune.errors import UserError
from samtune.types import MaskArray, Window

# Side of windows where `data.tile` is not set, pixels.
_DEFAULT_TILE = 512


@dataclass(frozen=True)
class _Place:
    """One window: its scene, its pixels, and the polygons that belong to it."""

    scene: int
    window: Window
    numbers: np.ndarray


class GeoScenes(Reader):
    """Windows of scenes with their objects.

    Args:
        path: a scene, or the folder described at the top of this module.
        settings: how to read. `objects` names a vector file, a label raster or a folder of them
            where they do not lie beside the scenes; `layer` that of the vector files, where several
            hold polygons; `class_column` the attribute with the class; `block` the side of blocks in
            pixels (0 chooses).

    Raises:
        UserError: there are no scenes, one lacks its objects, or a file cannot be read.
    """

    is_tiled = is_part = True

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.settings = settings or SourceSettings()
        files = scene_files(path)
        if not files:
            raise UserError(f"{path} holds no scenes ({', '.join(RASTER_SUFFIXES)})")
        chosen = self.settings
        self.scenes = [open_scene(file, chosen.reading) for file in files]
        self._objects = self._open_objects(path)
        self._named = [o.named for o in self._objects if isinstance(o, LabelRaster)]
        self._are_classes = mean_classes(self._named, chosen)
        self._is_on_scene: dict[Path, MaskArray] = {}
        self.records: list[Record] = []
        self._places: list[_Place] = []
        manifest = Manifest(path if path.is_dir() else path.parent)
        self._side = chosen.reading.tile or _DEFAULT_TILE
        overlap = min(chosen.tile_overlap, self._side - 1)
        divided = divide(self.scenes, chosen.block, self._side, overlap)
        self._is_chained = any(len({b.group for b in its}) < len(its) for its in divided)
        for number, blocks in enumerate(divided):
            self._add(number, blocks, manifest)
        self._require_meeting()
        if not self.records:
            raise UserError(
                f"{path} has no window with an object (data.slices all takes empty ones)"
            )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() in RASTER_SUFFIXES
        return path.is_dir() and holds_scenes(path)

    def _require_meeting(self) -> None:
        """Scenes may have no objects, but not all of them where there are polygons."""
        for objects, scene in zip(self._objects, self.scenes, strict=True):
            if not isinstance(objects, Polygons) or self._is_on_scene[objects.path].any():
                return
            elsewhere = (objects, scene)
        if len(elsewhere[0]):
            raise UserError(lie_apart(*elsewhere))

    def _open_objects(self, path: Path) -> list[Polygons | LabelRaster]:
        """Polygons or label raster of each scene; a file of several scenes is read once."""
        files = [
            find_objects_file(scene.path, path, self.settings.objects) for scene in self.scenes
        ]
        vectors = [file for file in dict.fromkeys(files) if holds_vectors(file)]
        opened = {file: self._read_polygons(file) for file in vectors}
        return [
            opened[file] if file in opened else open_labels(file, scene, self.settings.class_column)
            for file, scene in zip(files, self.scenes, strict=True)
        ]

    def _read_polygons(self, file: Path) -> Polygons:
        settings = self.settings
        return read_polygons(file, settings.class_column, settings.encoding, settings.layer)

    def _add(self, number: int, blocks: list[Block], manifest: Manifest) -> None:
        """Windows of one scene that hold data and (unless all are wanted) objects."""
        scene, settings = self.scenes[number], self.settings
        names = [block.group for block in blocks for _ in block.windows]
        windows = [window for block in blocks for window in block.windows]
        numbers = self._owned(number, windows, [b.whole for b in blocks for _ in b.windows])
        metres = metres_per_pixel(scene)
        spacing = spacing_columns(*metres, "m") if metres else {}
        told = bar(
            zip(windows, names, numbers, strict=True), f"windows of {scene.path.name}", "window",
            len(windows), delay=2,
        )  # fmt: skip
        for window, name, mine in told:
            is_wanted = settings.slices == "all" or len(mine) or self._is_labelled(number, window)
            if is_wanted and has_data(scene, window):
                self._places.append(_Place(number, window, mine))
                self.records.append(
                    manifest.record(
                        f"{scene.path.stem}@{window.x},{window.y}",
                        scene.path,
                        group=name,
                        columns=spacing,
                    )
                )

    def _owned(self, number: int, windows: list[Window], blocks: list[Window]) -> list[np.ndarray]:
        """Polygons of each window, each in that block only which holds a place within it."""
        objects, scene = self._objects[number], self.scenes[number]
        if isinstance(objects, LabelRaster):
            return [np.zeros(0, np.int64)] * len(windows)
        found = find_on_scene(objects, scene, windows)
        is_on_scene = self._is_on_scene.setdefault(objects.path, np.zeros(len(objects), np.bool_))
        is_on_scene[found.polygons] = True
        x, y = points_on_scene(objects, scene)[found.polygons].T
        rows = np.array([(b.y, b.y + b.height) for b in blocks])[found.windows]
        columns = np.array([(b.x, b.x + b.width) for b in blocks])[found.windows]
        is_owned = (rows[:, 0] <= y) & (y < rows[:, 1]) & (columns[:, 0] <= x) & (x < columns[:, 1])
        # of what reaches in from beyond the scene, or round a corner, the first block takes care
        is_lost = ~np.isin(found.polygons, found.polygons[is_owned])
        block = np.unique([(b.y, b.x) for b in blocks], axis=0, return_inverse=True)[1].ravel()
        block = block[found.windows]
        first = np.full(len(objects), len(blocks))
        np.minimum.at(first, found.polygons, block)
        is_owned |= is_lost & (block == first[found.polygons])
        met, polygons = found.windows[is_owned], found.polygons[is_owned]
        order = np.lexsort((polygons, met))
        return np.split(polygons[order], np.searchsorted(met[order], np.arange(1, len(windows))))

    def _is_labelled(self, number: int, window: Window) -> bool:
        objects = self._objects[number]
        if isinstance(objects, Polygons):
            return False
        return bool(read_label_window(objects, self.scenes[number], window).any())

    def load(self, index: int) -> Loaded:
        place = self._places[index]
        scene, objects = self.scenes[place.scene], self._objects[place.scene]
        image, is_valid = read_window(scene, place.window)
        if isinstance(objects, Polygons):
            labels, classes = draw(objects, place.numbers, scene, place.window)
        else:
            values = read_label_window(objects, scene, place.window)
            file = objects.path
            is_mask = file.parent.name == "masks" or file.stem.endswith("_mask")
            is_classes = is_mask or bool(self.settings.class_names) or self._are_classes
            usual: LabelKind = "semantic" if is_classes else "instances"
            names = objects.named.names
            labels, classes = interpret_labels(values, self.settings, usual, file, names)
        labels = np.where(is_valid, labels, np.int32(0))
        return image, labels, classes

    def grounds(self) -> NDArray[np.object_]:
        places = [[p.window for p in self._places if p.scene == n] for n in range(len(self.scenes))]
        return lay_on_ground(list(zip(self.scenes, places, strict=True)), self._side)

    @property
    def are_bands_told(self) -> bool:
        return all(scene.is_marked for scene in self.scenes)

    @property
    def notes(self) -> list[str]:
        unnamed = [scene.path for scene in self.scenes if not scene.is_marked]
        more = f" (and {len(unnamed) - 1} more)" if len(unnamed) > 1 else ""
        found = [
            f"the bands of {path}{more} do not say which is red, green and blue: the first three are "
            "taken as such, in this order (set data.bands if they are stored otherwise)"
            for path in unnamed[:1]
        ]
        if self._is_chained:
            found.append(
                "scenes that show the same ground lie in other CRSs, or turned, and could not be cut "
                "alike: their blocks stay together (warped to one CRS they would be more groups)"
            )
        rasters = [each for each in self._objects if isinstance(each, LabelRaster)]
        found += dict.fromkeys(note for each in rasters for note in each.notes)
        found += name_notes(self._named, self.settings)
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

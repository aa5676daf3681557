"""Segmenting a scene of any size: window by window, resumable, as polygons or labels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samtune.data.geo.raster import Scene, Window, has_data, read_window
from samtune.data.geo.vector import Polygons
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor
from samtune.inference.scene.files import (
    RASTERS,
    MapObjects,
    require_format,
    write_labels,
    write_polygons,
)
from samtune.inference.scene.grid import Cell, make_grid
from samtune.inference.scene.polygons import (
    measure_on_ground,
    on_the_map,
    outline_objects,
    simplify_together,
)
from samtune.inference.scene.prompted import PromptedObjects, ScenePrompts
from samtune.inference.scene.seams import Seams
from samtune.inference.scene.store import Arrays, WindowStore, partial_folder
from samtune.types import ImageArray

# (H, W, 3) RGB of a window -> (H, W) labels, 0 or 1 to N, and the (N,) scores of the objects
FindObjects = Callable[[ImageArray], tuple[NDArray[np.int32], NDArray[np.float32]]]


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is divided, and what becomes of what is found.

    Attributes:
        side: of windows, pixels.
        overlap: of neighbouring windows, pixels: at least as wide as most objects.
        min_area: smaller objects are left out, pixels.
        tolerance: of simplified outlines, pixels; 0 keeps the pixels' edges.
        class_name: of all objects that are found without prompts.
        is_cog: a label raster is written as a cloud-optimised GeoTIFF.
    """

    side: int = 1024
    overlap: int = 256
    min_area: int = 16
    tolerance: float = 1.0
    class_name: str = ""
    is_cog: bool = False


def find_everything(generator: AutomaticMaskGenerator) -> FindObjects:
    """Automatic masks of a window; where they overlap, the one of the higher predicted IoU is seen."""

    def find(image: ImageArray) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        found = sorted(generator.search(image), key=lambda one: one.predicted_iou)
        labels = np.zeros(image.shape[:2], np.int32)
        for number, candidate in enumerate(found, start=1):
            labels[candidate.window][candidate.cropped()] = number
        return labels, np.array([one.predicted_iou for one in found], np.float32)

    return find


def segment_scene(
    scene: Scene, find: FindObjects, out: Path, settings: SceneSettings, provenance: dict[str, Any]
) -> int:
    """Find all objects of a scene; those that reach over several windows come out as one.

    Windows that are done lie in `OUT.partial` until the file is written: called again with the same
    settings, it goes on where it stopped, and gives the same objects.

    Args:
        scene: what is segmented.
        find: finds objects in a window.
        out: file to write; its suffix is the format.
        settings: see `SceneSettings`.
        provenance: what else the results of a window depend on (model, thresholds).

    Returns:
        The number of objects.

    Raises:
        UserError: the format is not known, or partial results are of other settings.
    """
    cells = make_grid(scene, settings.side, settings.overlap)
    store = _open_store(scene, out, settings, provenance)
    for cell in tqdm(cells, f"windows of {scene.path.name}", unit="window", disable=None):
        if not store.is_done(cell):
            store.write(cell, _found_in(scene, cell.window, find))
    seams = Seams(cells, store, settings.min_area)
    if out.suffix.lower() in RASTERS:
        write_labels(out, scene, _parts(cells, seams), settings.is_cog)
    else:
        outlines = outline_objects(_parts(cells, seams), len(seams.areas))
        classes = np.full(len(seams.areas), settings.class_name, object)
        write_polygons(out, _on_map(scene, outlines, classes, seams.scores, settings), scene)
    store.remove()
    return len(seams.areas)


def segment_prompted(
    scene: Scene, predictor: SamPredictor, features: Polygons, out: Path, settings: SceneSettings,
    provenance: dict[str, Any],
) -> int:  # fmt: skip
    """Segment what boxes (or the bounds of polygons) and points of a vector file show.

    Each object is segmented in one window that holds all of its box. Arguments and what is raised as
    in `segment_scene`; objects keep the class of their feature. Of two that overlap, the one of the
    higher score keeps the pixels.
    """
    cells = make_grid(scene, settings.side, settings.overlap)
    prompts = ScenePrompts(scene, features, cells, settings.side)
    about = {**provenance, "prompts": str(features.path.resolve())}
    store = _open_store(scene, out, settings, about)
    for cell in tqdm(prompts.cells, f"windows of {scene.path.name}", unit="window", disable=None):
        if not store.is_done(cell):
            store.write(cell, prompts.answer(cell, predictor))
    found = PromptedObjects(prompts.cells, store, settings.min_area)
    if out.suffix.lower() in RASTERS:
        parts = ((cell.core, found.labels(cell.core)) for cell in cells)
        write_labels(out, scene, parts, settings.is_cog)
    else:
        classes = features.classes[found.features]
        objects = _on_map(scene, found.outlines, classes, found.scores, settings)
        objects.columns["feature"] = found.features + 1
        write_polygons(out, objects, scene)
    store.remove()
    return len(found.features)


def _open_store(
    scene: Scene, out: Path, settings: SceneSettings, provenance: dict[str, Any]
) -> WindowStore:
    require_format(out, scene)
    out.parent.mkdir(parents=True, exist_ok=True)
    about = scene.path.stat()
    depends = {
        "scene": str(scene.path.resolve()), "bytes": about.st_size, "changed": about.st_mtime_ns,
        "bands": list(scene.bands), "value_range": list(scene.value_range or ()),
        "side": settings.side, "overlap": settings.overlap,
    }  # fmt: skip
    return WindowStore(partial_folder(out), {**depends, **provenance})


def _found_in(scene: Scene, window: Window, find: FindObjects) -> Arrays:
    """Nothing is looked for where there is no data, and nothing found there."""
    labels, scores = np.zeros((window.height, window.width), np.int32), np.zeros(0, np.float32)
    if has_data(scene, window):
        image, is_valid = read_window(scene, window)
        labels, scores = find(image)
        labels = np.where(is_valid, labels, np.int32(0))
    return {"labels": labels, "scores": scores}


def _parts(cells: list[Cell], seams: Seams) -> Iterator[tuple[Window, NDArray[np.int32]]]:
    for cell in cells:
        yield cell.core, seams.core_labels(cell)


def _on_map(
    scene: Scene, outlines: NDArray[np.object_], classes: NDArray[Any], scores: NDArray[Any],
    settings: SceneSettings,
) -> MapObjects:  # fmt: skip
    """Objects as polygons of the map, with class, score, square metres and metres around."""
    simple = simplify_together(outlines, settings.tolerance)
    areas, perimeters = measure_on_ground(scene, outlines, simple)
    unit = "m" if scene.crs else "px"
    columns = {
        "id": np.arange(1, len(outlines) + 1),
        "class": classes,
        "score": np.round(scores.astype(np.float64), 4),
        "area_m2" if scene.crs else "area_px": np.round(areas, 2),
        f"perim_{unit}": np.round(perimeters, 2),
    }
    return MapObjects(on_the_map(scene, simple), columns)

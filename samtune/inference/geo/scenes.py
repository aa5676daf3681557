"""Segmenting a scene of any size: window by window, resumable, as polygons or labels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samtune.bars import bar
from samtune.data.geo.raster import Scene, has_data, read_window
from samtune.data.geo.vector import Polygons
from samtune.files import partial_folder, try_writing
from samtune.inference.automatic.candidates import Candidate
from samtune.inference.geo.grid import inside, make_grid
from samtune.inference.geo.outlining import Traced, trace_objects
from samtune.inference.geo.patches import Patches, as_bytes
from samtune.inference.geo.polygons import measure_on_ground, on_the_map
from samtune.inference.geo.prompted import PromptedObjects, ScenePrompts
from samtune.inference.geo.seams import Seams
from samtune.inference.geo.specks import without_specks
from samtune.inference.geo.store import WindowStore
from samtune.inference.geo.writing import (
    RASTERS,
    MapObjects,
    require_format,
    write_labels,
    write_polygons,
)
from samtune.models.backend import Sam
from samtune.progress import Progress, stamp
from samtune.types import ImageArray, Window
from samtune.wording import counted


class FoundObjects(NamedTuple):
    """Objects of a window.

    Attributes:
        labels: (H, W), 0 or the number of an object from 1 to N.
        scores: (N,) predicted IoU of each.
        classes: (N,) names, where somebody tells them.
        class_scores: (N,) how likely they are.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    classes: NDArray[np.str_] | None = None
    class_scores: NDArray[np.float32] | None = None


# (H, W, 3) RGB of a window -> its objects
FindObjects = Callable[[ImageArray], FoundObjects]
# The same -> (H, W) numbers of classes, and how likely each pixel's is
MapClasses = Callable[[ImageArray], tuple[NDArray[np.int32], NDArray[np.float32]]]


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is divided, and what becomes of what is found.

    Attributes:
        side: of windows, pixels.
        overlap: of neighbouring windows, pixels: at least as wide as most objects.
        min_area: smaller objects, and smaller parts of objects, are left out, pixels.
        tolerance: of simplified outlines, pixels; 0 keeps the pixels' edges.
        class_name: of all objects that are found without prompts.
        is_cog: a label raster is written as a cloud-optimised GeoTIFF.
        with_focus: small objects that are prompted are looked at in a window around them.
    """

    side: int = 1024
    overlap: int = 256
    min_area: int = 16
    tolerance: float = 1.0
    class_name: str = ""
    is_cog: bool = False
    with_focus: bool = True


def find_everything(search: Callable[[ImageArray], Sequence[Candidate]]) -> FindObjects:
    """Masks of a window that were not asked for; where they overlap, the better one is seen."""

    def find(image: ImageArray) -> FoundObjects:
        found = sorted(search(image), key=lambda one: one.predicted_iou)
        labels = np.zeros(image.shape[:2], np.int32)
        for number, candidate in enumerate(found, start=1):
            labels[candidate.window][candidate.cropped()] = number
        scores = np.array([one.predicted_iou for one in found], np.float32)
        if not any(one.class_name for one in found):
            return FoundObjects(labels, scores)
        names = np.array([one.class_name for one in found], np.str_)
        sure = np.array([one.class_score for one in found], np.float32)
        return FoundObjects(labels, scores, names, sure)

    return find


def segment_scene(
    scene: Scene, find: FindObjects, out: Path, settings: SceneSettings, provenance: dict[str, Any]
) -> int:
    """Find all objects of a scene; those that reach over several windows come out as one.

    Windows that are done lie in `OUT.partial` until the file is written: called again with the same
    settings, it goes on where it stopped, and gives the same objects; with others it begins anew.

    Args:
        scene: what is segmented.
        find: finds objects in a window.
        out: file to write; its suffix is the format.
        settings: see `SceneSettings`.
        provenance: what else the results of a window depend on (model, thresholds).

    Returns:
        The number of objects.

    Raises:
        UserError: the format is not known.
    """
    cells = make_grid(scene, settings.side, settings.overlap)
    store = _open_store(scene, out, settings, provenance)
    for cell in bar(cells, f"windows of {scene.path.name}", "window"):
        if not store.is_done(cell):
            store.write(cell, _found_in(scene, cell.window, find, settings.min_area))
    seams = Seams(cells, store, settings.min_area)
    about: dict[str, NDArray[Any]] = {
        "class": np.full(len(seams.areas), settings.class_name, object), "score": seams.scores,
    }  # fmt: skip
    if seams.classes is not None:
        about |= {"class": seams.classes, "class_score": seams.class_scores}
    parts = ((cell.core, seams.core_labels(cell)) for cell in cells)
    _write(scene, out, parts, seams.last, about, settings)
    store.remove()
    return len(seams.areas)


def map_scene(
    scene: Scene, find: MapClasses, classes: Sequence[str], out: Path, settings: SceneSettings,
    provenance: dict[str, Any],
) -> dict[str, int]:  # fmt: skip
    """Give every pixel of a scene a class; what has no data is background.

    A GeoTIFF holds the numbers of the classes. Other formats hold the outlines of connected areas,
    each with its class and how likely that is; background has none, and areas below
    `settings.min_area` are left out.

    Windows overlap, and of each the core counts. Goes on where it stopped, as `segment_scene`.

    Args:
        scene: what is mapped.
        find: gives the numbers of classes of a window, and how likely each pixel's is.
        classes: names of the numbers.
        out: file to write; its suffix is the format.
        settings: see `SceneSettings`.
        provenance: what else the results of a window depend on.

    Returns:
        Pixels of each class.
    """
    cells = make_grid(scene, settings.side, settings.overlap)
    store = _open_store(scene, out, settings, provenance)
    pixels = np.zeros(len(classes), np.int64)
    for cell in bar(cells, f"windows of {scene.path.name}", "window"):
        if not store.is_done(cell):
            store.write(cell, _mapped_in(scene, cell.window, find))
        core = store.read(cell)["labels"][inside(cell.core, cell.window)]
        pixels += np.bincount(core.ravel(), minlength=len(classes))
    if out.suffix.lower() in RASTERS:
        cores = ((c.core, store.read(c)["labels"][inside(c.core, c.window)]) for c in cells)
        write_labels(out, scene, cores, settings.is_cog, classes)
    else:
        patches = Patches(cells, store, settings.min_area)
        names = np.array(classes, object)[patches.classes]
        parts = ((cell.core, patches.core_labels(cell)) for cell in cells)
        about = {"class": names, "score": patches.scores}
        _write(scene, out, parts, patches.last, about, settings)
    store.remove()
    return dict(zip(classes, pixels.tolist(), strict=True))


def segment_prompted(
    scene: Scene, sam: Sam, features: Polygons, out: Path, settings: SceneSettings,
    provenance: dict[str, Any],
) -> int:  # fmt: skip
    """Segment what boxes (or the bounds of polygons) and points of a vector file show.

    Each object is segmented in one window that holds all of its box. Arguments and what is raised as
    in `segment_scene`; objects keep the class and the number (FID) of their feature. Of two that
    overlap, the one of the higher score keeps the pixels.
    """
    cells = make_grid(scene, settings.side, settings.overlap)
    prompts = ScenePrompts(
        scene, features, cells, settings.side, settings.min_area, settings.with_focus
    )
    store = _open_store(
        scene,
        out,
        settings,
        {**provenance, "prompts": prompts.sha256, "focus": settings.with_focus},
    )
    for cell in bar(prompts.cells, f"windows of {scene.path.name}", "window"):
        if not store.is_done(cell):
            store.write(cell, prompts.answer(cell, sam))
    found = PromptedObjects(prompts.cells, store, settings.min_area)
    names, fids = features.classes[found.features], features.fids[found.features]
    parts = ((cell.core, found.labels(cell.core)) for cell in cells)
    about = {"class": names, "score": found.scores, "feature": fids}
    _write(scene, out, parts, found.last, about, settings)
    store.remove()
    if found.num_cut:
        features.notes.append(
            f"{counted(found.num_cut, 'object reaches', 'objects reach')} the edge of what "
            "was looked at and may be larger"
        )
    return len(found.features)


def _open_store(
    scene: Scene, out: Path, settings: SceneSettings, provenance: dict[str, Any]
) -> WindowStore:
    require_format(out, scene)
    try_writing(out)
    depends = {
        "scene": stamp(scene.path), "bands": list(scene.bands),
        "value_range": list(scene.value_range or ()),
        "side": settings.side, "overlap": settings.overlap, "min_area": settings.min_area,
    }  # fmt: skip
    return WindowStore(Progress(partial_folder(out), {**depends, **provenance}))


def _found_in(
    scene: Scene, window: Window, find: FindObjects, min_area: int
) -> dict[str, NDArray[Any]]:
    """Nothing is looked for where there is no data, and nothing found there."""
    if not has_data(scene, window):
        labels = np.zeros((window.height, window.width), np.int32)
        return {"labels": labels, "scores": np.zeros(0, np.float32)}
    image, is_valid = read_window(scene, window)
    found = find(image)
    labels = without_specks(np.where(is_valid, found.labels, np.int32(0)), min_area)
    told = found._replace(labels=labels)._asdict()
    return {name: values for name, values in told.items() if values is not None}


def _mapped_in(scene: Scene, window: Window, find: MapClasses) -> dict[str, NDArray[Any]]:
    """What has no data is background for sure."""
    labels = np.zeros((window.height, window.width), np.int32)
    sure = np.ones((window.height, window.width), np.float32)
    if has_data(scene, window):
        image, is_valid = read_window(scene, window)
        found, likely = find(image)
        labels, sure = np.where(is_valid, found, labels), np.where(is_valid, likely, sure)
    return {"labels": labels, "sure": as_bytes(sure)}


def _write(
    scene: Scene, out: Path, parts: Iterable[tuple[Window, NDArray[np.int32]]],
    last: NDArray[np.int64], about: dict[str, NDArray[Any]], settings: SceneSettings,
) -> None:  # fmt: skip
    """Labels as they are, or as polygons with what is known about each."""
    if out.suffix.lower() in RASTERS:
        write_labels(out, scene, parts, settings.is_cog)
    else:
        traced = trace_objects(parts, last, settings.tolerance)
        write_polygons(out, (_on_map(scene, some, about) for some in traced), scene)


def _on_map(scene: Scene, traced: Traced, about: dict[str, NDArray[Any]]) -> MapObjects:
    """Objects as polygons of the map, with what is known about them, and their sizes."""
    areas, perimeters, unit = measure_on_ground(scene, traced.outlines, traced.simple)
    columns: dict[str, NDArray[Any]] = {"id": traced.numbers}
    columns |= {name: values[traced.numbers - 1] for name, values in about.items()}
    for name in columns.keys() & {"score", "class_score"}:
        columns[name] = np.round(columns[name].astype(np.float64), 4)
    columns["area_m2" if unit == "m" else "area_px"] = np.round(areas, 2)
    columns[f"perim_{unit}"] = np.round(perimeters, 2)
    return MapObjects(on_the_map(scene, traced.simple), columns)

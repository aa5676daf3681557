"""Segmenting a scene of any size: window by window, resumable, seams closed, as polygons or labels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samtune.data.geo.raster import Scene, Window, has_data, read_window
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
from samtune.inference.scene.seams import Seams
from samtune.inference.scene.store import WindowResult, WindowStore
from samtune.types import ImageArray

# (H, W, 3) RGB of a window -> what is found in it
SegmentWindow = Callable[[ImageArray], WindowResult]
_NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is divided, and what becomes of what is found.

    Attributes:
        side: of windows, pixels.
        overlap: of neighbouring windows, pixels: at least as wide as most objects.
        min_area: smaller objects are left out, pixels.
        tolerance: of simplified outlines, pixels; 0 keeps the pixels' edges.
        class_name: of all objects.
        is_cog: a label raster is written as a cloud-optimised GeoTIFF.
    """

    side: int = 1024
    overlap: int = 256
    min_area: int = 16
    tolerance: float = 1.0
    class_name: str = ""
    is_cog: bool = False


def segment_scene(
    scene: Scene,
    segment_window: SegmentWindow,
    out: Path,
    settings: SceneSettings,
    provenance: dict[str, Any],
) -> int:
    """Segment all of a scene.

    Windows that are done lie in `OUT.partial` until the file is written: called again with the same
    settings, it goes on where it stopped, and gives the same objects.

    Args:
        scene: what is segmented.
        segment_window: finds objects in a window.
        out: file to write; its suffix is the format.
        settings: see `SceneSettings`.
        provenance: what else the results of a window depend on (model, thresholds).

    Returns:
        The number of objects.

    Raises:
        UserError: the format is not known, or partial results are of other settings.
    """
    require_format(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    cells = make_grid(scene, settings.side, settings.overlap)
    depends = {"side": settings.side, "overlap": settings.overlap, **_fingerprint(scene)}
    store = WindowStore(out.with_name(f"{out.name}.partial"), {**depends, **provenance})
    for cell in tqdm(cells, f"windows of {scene.path.name}", unit="window", disable=None):
        if not store.is_done(cell):
            store.write(cell, _segment(scene, cell.window, segment_window))
    seams = Seams(cells, store, settings.min_area)
    if out.suffix.lower() in RASTERS:
        write_labels(out, scene, _parts(cells, seams), settings.is_cog)
    else:
        write_polygons(out, map_objects(scene, cells, seams, settings), scene)
    store.remove()
    return len(seams.areas)


def _fingerprint(scene: Scene) -> dict[str, Any]:
    about = scene.path.stat()
    reading = {"bands": list(scene.bands), "value_range": list(scene.value_range or ())}
    return {"scene": str(scene.path.resolve()), "bytes": about.st_size, "changed": about.st_mtime_ns,
            **reading}  # fmt: skip


def _segment(scene: Scene, window: Window, segment_window: SegmentWindow) -> WindowResult:
    """Nothing is looked for where there is no data, and nothing found there."""
    if not has_data(scene, window):
        return WindowResult(np.zeros((window.height, window.width), np.int32), _NOTHING)
    image, is_valid = read_window(scene, window)
    found = segment_window(image)
    return WindowResult(np.where(is_valid, found.labels, np.int32(0)), found.scores)


def _parts(cells: list[Cell], seams: Seams) -> Iterator[tuple[Window, NDArray[np.int32]]]:
    for cell in cells:
        yield cell.core, seams.core_labels(cell)


def map_objects(
    scene: Scene, cells: list[Cell], seams: Seams, settings: SceneSettings
) -> MapObjects:
    """Objects as polygons of the map, with class, score, square metres and metres around."""
    count = len(seams.areas)
    outlines = outline_objects(_parts(cells, seams), count)
    outlines = simplify_together(outlines, settings.tolerance)
    areas, perimeters = measure_on_ground(scene, outlines, seams.areas)
    unit = ("area_m2", "perimeter_m") if scene.crs else ("area_px", "perimeter_px")
    columns = {
        "id": np.arange(1, count + 1),
        "class": np.full(count, settings.class_name, object),
        "score": np.round(seams.scores, 4),
        unit[0]: np.round(areas, 2),
        unit[1]: np.round(perimeters, 2),
    }
    return MapObjects(on_the_map(scene, outlines), columns)

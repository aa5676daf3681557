"""Label rasters of scenes, on whatever grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.geo.raster import Scene, opened, require_readable
from samtune.data.value_names import ValueNames, read_value_names
from samtune.errors import UserError, require
from samtune.images.labels import are_colours, whole_labels
from samtune.types import LabelArray, Window

# Stands for a CRS that nobody named, on both sides
_ANY_CRS = "EPSG:3857"


@dataclass(frozen=True)
class LabelRaster:
    """A file with labels.

    Attributes:
        path: the file.
        bands: numbers from 1 of the value, or of red, green and blue.
        named: names that it brings for its values; colours have none.
        notes: what a user should know, such as that it names no CRS.
    """

    path: Path
    bands: tuple[int, ...]
    named: ValueNames
    notes: tuple[str, ...] = ()


def open_labels(path: Path, scene: Scene, column: str = "") -> LabelRaster:
    """Find out whether a file holds values or colours, as `read_labels` does for images.

    The whole file decides, so that a value means the same in all windows.

    Args:
        path: the file.
        scene: which it belongs to.
        column: of its attribute table with the names of values; empty finds it.

    Raises:
        UserError: the file cannot be read, or lies elsewhere than its scene.
    """
    with opened(path) as file:
        require_readable(file, path)
        if file.compression is not None and "jpeg" in file.compression.name.lower():
            raise UserError(
                f"{path} is compressed as JPEG, which changes the values of labels: save it anew from "
                "its source with DEFLATE or LZW"
            )
        parts = (window for _, window in file.block_windows(1)) if file.count >= 3 else ()
        is_coloured = any(
            are_colours(np.moveaxis(file.read((1, 2, 3), window=part), 0, 2)) for part in parts
        )
        place = _place(file, scene)
        if place is None:
            _require_same_size(file, scene)
        else:
            _require_meeting(file, scene, place)
        notes = tuple(_notes(file, scene))
    named = ValueNames(path) if is_coloured else read_value_names(path, column)
    return LabelRaster(path, (1, 2, 3) if is_coloured else (1,), named, notes)


def read_label_window(raster: LabelRaster, scene: Scene, window: Window) -> LabelArray:
    """(H, W) int32 values, or (H, W, 3) colours, brought to the scene's grid (nearest).

    Raises:
        UserError: the raster cannot be read, or its values are no labels.
    """
    with opened(raster.path) as file:
        place = _place(file, scene)
        if place is None:
            values = file.read(raster.bands, window=window.ranges)
        else:
            with require("rasterio.vrt", "geo").WarpedVRT(file, **place) as warped:
                values = warped.read(raster.bands, window=window.ranges)
        if file.nodata is not None:
            values[:, (values == file.nodata).all(axis=0)] = 0
    values = np.nan_to_num(values)
    labels = whole_labels(values, raster.path) if values.dtype.kind == "f" else values
    if float(abs(labels).max(initial=0)) >= 2**31:
        raise UserError(f"{raster.path} holds values that are no labels (beyond 32 bits)")
    return np.asarray(np.moveaxis(labels, 0, 2) if len(labels) > 1 else labels[0], np.int32)


def _place(file: Any, scene: Scene) -> dict[str, Any] | None:
    """How a raster is brought to its scene's grid; `None` where it lies on it pixel by pixel.

    A transform without a CRS is taken to be in that of the other, or both in one that nobody named:
    then any will do, as nothing is reprojected.
    """
    if file.transform.is_identity or not scene.is_placed:
        return None
    is_same_size = (file.height, file.width) == (scene.height, scene.width)
    if is_same_size and tuple(file.transform)[:6] == scene.transform:
        return None
    crs = scene.crs or (file.crs.to_wkt() if file.crs else _ANY_CRS)
    transform = require("affine", "geo").Affine(*scene.transform)
    grid = {"height": scene.height, "width": scene.width, "transform": transform, "crs": crs}
    return grid | {"src_crs": file.crs or crs}


def _require_meeting(file: Any, scene: Scene, place: dict[str, Any]) -> None:
    """Labels must lie on some of their scene: all empty, they would say that there is nothing."""
    bounds = require("rasterio.warp", "geo").transform_bounds(
        place["src_crs"], place["crs"], *_low_high(file.bounds)
    )
    corners = place["transform"] * np.array([[0, scene.width], [0, scene.height]])
    (left, right), (bottom, top) = (sorted(each) for each in corners)
    if bounds[0] < right and bounds[2] > left and bounds[1] < top and bounds[3] > bottom:
        return
    raise UserError(
        f"{file.name} lies elsewhere than {scene.path}: its labels are at "
        f"{', '.join(f'{each:g}' for each in bounds)} (left, bottom, right, top), the scene at "
        f"{left:g}, {bottom:g}, {right:g}, {top:g}; set the right CRS and transform in the files"
    )


def _low_high(bounds: Any) -> tuple[float, float, float, float]:
    """Of a raster that may lie upside down."""
    left, right = sorted((bounds.left, bounds.right))
    bottom, top = sorted((bounds.bottom, bounds.top))
    return left, bottom, right, top


def _notes(file: Any, scene: Scene) -> Iterator[str]:
    is_placed = not file.transform.is_identity
    if is_placed and scene.is_placed and bool(file.crs) != bool(scene.crs):
        without, other = (scene.path, file.name) if file.crs else (file.name, scene.path)
        yield f"{without} names no CRS: its transform was taken to be in that of {other}"
    if is_placed != scene.is_placed:
        without = scene.path if is_placed else file.name
        yield (
            f"{without} does not say where it lies: labels were laid on {scene.path} pixel by "
            "pixel, as both have the same size"
        )


def _require_same_size(file: Any, scene: Scene) -> None:
    if (file.height, file.width) != (scene.height, scene.width):
        raise UserError(
            f"{file.name} is {file.width}x{file.height} pixels, but {scene.path} is "
            f"{scene.width}x{scene.height}, and no georeference tells how they lie"
        )

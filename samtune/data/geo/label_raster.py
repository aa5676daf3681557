"""Label rasters of scenes, on whatever grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.geo.raster import Scene, opened
from samtune.errors import UserError, require
from samtune.images.pixels import are_colours
from samtune.types import LabelArray, Window


@dataclass(frozen=True)
class LabelRaster:
    """A file with labels.

    Attributes:
        path: the file.
        bands: numbers from 1 of the value, or of red, green and blue.
    """

    path: Path
    bands: tuple[int, ...]


def open_labels(path: Path) -> LabelRaster:
    """Find out whether a file holds values or colours, as `read_labels` does for images.

    The whole file decides, so that a value means the same in all windows.

    Raises:
        UserError: the file cannot be read.
    """
    with opened(path) as file:
        parts = (window for _, window in file.block_windows(1)) if file.count >= 3 else ()
        is_coloured = any(
            are_colours(np.moveaxis(file.read((1, 2, 3), window=part), 0, 2)) for part in parts
        )
    return LabelRaster(path, (1, 2, 3) if is_coloured else (1,))


def read_label_window(raster: LabelRaster, scene: Scene, window: Window) -> LabelArray:
    """(H, W) int32 values, or (H, W, 3) colours, brought to the scene's grid (nearest).

    Raises:
        UserError: the raster cannot be read, or its values are no labels.
    """
    vrt, transform = require("rasterio.vrt", "geo"), require("affine", "geo").Affine
    with opened(raster.path) as file:
        grid: dict[str, Any] = {"height": scene.height, "width": scene.width}
        if file.crs and scene.crs:
            grid |= {"crs": scene.crs, "transform": transform(*scene.transform)}
        is_same_size = (file.height, file.width) == (scene.height, scene.width)
        is_same_grid = is_same_size and tuple(file.transform)[:6] == scene.transform
        if is_same_grid or "crs" not in grid:
            _require_same_size(file, scene)
            values = file.read(raster.bands, window=window.ranges)
        else:
            with vrt.WarpedVRT(file, **grid) as warped:
                values = warped.read(raster.bands, window=window.ranges)
        if file.nodata is not None:
            values[:, (values == file.nodata).all(axis=0)] = 0
    values = np.nan_to_num(values)
    labels = np.rint(values) if values.dtype.kind == "f" else values
    if not np.array_equal(labels, values) or float(abs(labels).max(initial=0)) >= 2**31:
        raise UserError(
            f"{raster.path} holds values that are no labels (fractions, or beyond 32 bits)"
        )
    return np.asarray(np.moveaxis(labels, 0, 2) if len(labels) > 1 else labels[0], np.int32)


def _require_same_size(file: Any, scene: Scene) -> None:
    if (file.height, file.width) != (scene.height, scene.width):
        raise UserError(
            f"{file.name} is {file.width}x{file.height} pixels, but {scene.path} is "
            f"{scene.width}x{scene.height}, and no georeference tells how they lie"
        )

"""Label rasters of scenes, on whatever grid."""

from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.geo.raster import Scene, Window, opened
from samtune.errors import UserError, require
from samtune.types import LabelArray


def read_label_window(path: Path, scene: Scene, window: Window) -> LabelArray:
    """(H, W) int32 of the first band of a label raster, brought to the scene's grid (nearest).

    Raises:
        UserError: the raster cannot be read, or its values are no labels.
    """
    vrt, transform = require("rasterio.vrt", "geo"), require("affine", "geo").Affine
    with opened(path) as file:
        grid: dict[str, Any] = {"height": scene.height, "width": scene.width}
        if file.crs and scene.crs:
            grid |= {"crs": scene.crs, "transform": transform(*scene.transform)}
        is_same_size = (file.height, file.width) == (scene.height, scene.width)
        is_same_grid = is_same_size and tuple(file.transform)[:6] == scene.transform
        if is_same_grid or "crs" not in grid:
            _require_same_size(file, scene)
            values = file.read(1, window=window.ranges)
        else:
            with vrt.WarpedVRT(file, **grid) as warped:
                values = warped.read(1, window=window.ranges)
        values = np.where(values == file.nodata, 0, values) if file.nodata is not None else values
    values = np.nan_to_num(values)
    labels = np.rint(values) if values.dtype.kind == "f" else values
    if not np.array_equal(labels, values) or float(abs(labels).max(initial=0)) >= 2**31:
        raise UserError(f"{path} holds values that are no labels (fractions, or beyond 32 bits)")
    return np.asarray(labels, np.int32)


def _require_same_size(file: Any, scene: Scene) -> None:
    if (file.height, file.width) != (scene.height, scene.width):
        raise UserError(
            f"{file.name} is {file.width}x{file.height} pixels, but {scene.path} is "
            f"{scene.width}x{scene.height}, and no georeference tells how they lie"
        )

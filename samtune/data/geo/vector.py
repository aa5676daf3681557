"""Polygons of GeoJSON, GeoPackage, Shapefile and whatever else GDAL reads.

Only the bounds are looked at when a file is opened; a polygon is decoded, repaired, reprojected and
drawn when a window needs it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.attributes import QUPATH_COLUMN, class_names, is_named_object
from samtune.data.geo.features import column_names, find_layer_of, read_stored
from samtune.data.geo.layers import CHUNK, COLLECTION, only_areas
from samtune.errors import UserError, require
from samtune.ranges import MOST
from samtune.wording import counted


@dataclass
class Polygons:
    """The features of one layer.

    Attributes:
        path: the file.
        crs: of the coordinates, as WKT or authority code; empty where the file names none.
        shapes: (N,) WKB.
        bounds: (N, 4) xmin, ymin, xmax, ymax in that CRS.
        points: (N, 2) a place within each, in that CRS.
        classes: (N,) class names, or empty for none.
        fids: (N,) numbers of the features in the file.
        notes: what a user should know, such as features that are no polygons.
    """

    path: Path
    crs: str
    shapes: NDArray[Any]
    bounds: NDArray[np.float64]
    points: NDArray[np.float64]
    classes: NDArray[Any]
    fids: NDArray[np.int64]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.shapes)


def read_polygons(
    path: Path,
    class_column: str = "",
    encoding: str = "",
    layer: str = "",
    with_points: bool = False,
) -> Polygons:
    """Read one layer of a vector file.

    Args:
        path: the file.
        class_column: attribute that names the class of a polygon; empty for that of QuPath, where it
            is there, and else for none.
        encoding: of its text, such as `latin-1`; empty as the file says.
        layer: its name; empty for the only one that holds polygons.
        with_points: points count too, and several that are one feature.

    Raises:
        UserError: the file cannot be read, has no such layer or column, or holds no polygons.
    """
    number = find_layer_of(path, layer, with_points)
    columns = column_names(path, number)
    if class_column and class_column not in columns:
        raise UserError(
            f"{path} has no column '{class_column}': found {', '.join(columns) or 'none'}"
        )
    column = class_column or (QUPATH_COLUMN if QUPATH_COLUMN in columns else "")
    stored = read_stored(path, column, encoding, number)
    if stored.column is None or not (class_column or any(map(is_named_object, stored.column))):
        column = ""  # whatever it is called, it is not QuPath's
    shapes = stored.shapes
    places = np.zeros((len(shapes), 6))
    for start in range(0, len(shapes), CHUNK):
        part = slice(start, start + CHUNK)
        shapes[part], places[part] = _bounds_and_points(shapes[part], with_points)
    is_good = np.isfinite(places).all(1)
    if len(shapes) and not is_good.any():
        raise UserError(f"{path} holds no polygons ({counted(len(shapes), 'feature')})")
    notes = (
        []
        if is_good.all()
        else [f"{counted(int((~is_good).sum()), 'feature')} of {path} with no polygon"]
    )
    names = np.full(is_good.sum(), "", object)
    if column and stored.column is not None:
        names = class_names(stored.column[is_good], stored.dtype)
        if unnamed := int((names == "").sum()):
            notes.append(
                f"{counted(int(unnamed), 'polygon')} of {path} without '{column}', and so "
                "without a class"
            )
    places = places[is_good]
    return Polygons(
        path, stored.crs, shapes[is_good], places[:, :4], places[:, 4:], names,
        stored.fids[is_good], notes,
    )  # fmt: skip


def _bounds_and_points(
    shapes: NDArray[Any], with_points: bool
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(N,) WKB, of collections that of their polygons; (N, 6) bounds, and a place within.

    These are not finite for what is no polygon, or has a corner that is nowhere.
    """
    shapely = require("shapely", "geo")
    whole = shapely.from_wkb(shapes, on_invalid="ignore")
    geometries = only_areas(whole, with_points)
    is_changed = shapely.get_type_id(whole) == COLLECTION
    shapes = shapes.copy()
    shapes[is_changed] = shapely.to_wkb(geometries[is_changed])
    inside = shapely.point_on_surface(geometries)
    points = np.stack([shapely.get_x(inside), shapely.get_y(inside)], axis=1)
    places = np.concatenate([shapely.bounds(geometries), points], axis=1)
    # bounds pass over a corner that is NaN, and what is larger overflows in the next transform
    corners, owners = shapely.get_coordinates(geometries, return_index=True)
    places[owners[~(np.abs(corners) < MOST).all(1)]] = np.nan
    return shapes, places

"""Polygons of GeoJSON, GeoPackage, Shapefile and whatever else GDAL reads.

Only the bounds are looked at when a file is opened; a polygon is decoded, repaired, reprojected and
drawn when a window needs it.
"""

import codecs
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.layers import CHUNK, COLLECTION, find_layer, only_areas, reading_vectors
from samtune.errors import UserError, require
from samtune.ranges import MOST

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".kml", ".gml")


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
        class_column: attribute that names the class of a polygon; empty for none.
        encoding: of its text, such as `latin-1`; empty as the file says.
        layer: its name; empty for the only one that holds polygons.
        with_points: points count too, and several that are one feature.

    Raises:
        UserError: the file cannot be read, has no such layer or column, or holds no polygons.
    """
    number = find_layer(path, layer, with_points)
    if class_column:
        _require_column(path, number, class_column)
    with reading_vectors(path, encoding):
        meta, fids, shapes, columns = require("pyogrio.raw", "geo").read(
            path, layer=number, return_fids=True, force_2d=True,
            columns=[class_column] if class_column else [],
            encoding=_gdal_name(encoding) if encoding else None,
        )  # fmt: skip
    places = np.zeros((len(shapes), 6))
    for start in range(0, len(shapes), CHUNK):
        part = slice(start, start + CHUNK)
        shapes[part], places[part] = _bounds_and_points(shapes[part], with_points)
    is_good = np.isfinite(places).all(1)
    if len(shapes) and not is_good.any():
        raise UserError(f"{path} holds no polygons ({len(shapes)} features)")
    notes = [] if is_good.all() else [f"{(~is_good).sum()} features of {path} are no polygons"]
    names = np.full(is_good.sum(), "", object)
    if class_column:
        names = _class_names(columns[0][is_good], meta["dtypes"][0])
        if unnamed := int((names == "").sum()):
            notes.append(f"{unnamed} polygons of {path} have no '{class_column}', and so no class")
    places = places[is_good]
    return Polygons(
        path, meta["crs"] or "", shapes[is_good], places[:, :4], places[:, 4:], names,
        fids[is_good], notes,
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


def _gdal_name(encoding: str) -> str:
    """`ISO-8859-1` and `CP1252`, as GDAL spells them, of any name that Python knows."""
    return codecs.lookup(encoding).name.upper().replace("ISO8859", "ISO-8859")


def _class_names(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Texts of a column; empty for NULL, beside which whole numbers and booleans come as floats."""
    if dtype == "bool":
        names = ["" if np.isnan(value) else str(bool(value)) for value in values]
    else:
        names = ["" if _is_null(value) else str(_whole(value)) for value in values]
    return np.array(names, object)


def _is_null(value: Any) -> bool:
    return value is None or bool(value != value)  # NaN, and dates that are none


def _whole(value: Any) -> Any:
    is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return int(value) if is_whole else value


def _require_column(path: Path, layer: int, name: str) -> None:
    with reading_vectors(path):
        found = list(require("pyogrio", "geo").read_info(path, layer=layer)["fields"])
    if name not in found:
        raise UserError(f"{path} has no column '{name}': found {', '.join(found) or 'none'}")

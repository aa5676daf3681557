"""Polygons of GeoJSON, GeoPackage, Shapefile and whatever else GDAL reads, laid on a scene's pixels.

Only the bounds are looked at when a file is opened; a polygon is decoded, repaired, reprojected and
drawn when a window needs it.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.frames import crs_to_pixel, pixel_to_crs, to_crs
from samtune.data.geo.raster import Scene, Window
from samtune.errors import UserError, require

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".kml", ".gml")
# Points along each side of a window that is carried into another CRS, where its sides are bent.
_POINTS_PER_SIDE = 9


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
    path: Path, class_column: str = "", encoding: str = "", with_points: bool = False
) -> Polygons:
    """Read the first layer of a vector file.

    Args:
        path: the file.
        class_column: attribute that names the class of a polygon; empty for none.
        encoding: of its text, such as `latin-1`; empty as the file says.
        with_points: points count too, and several that are one feature.

    Raises:
        UserError: the file cannot be read, has no such column, or holds no polygons.
    """
    raw, shapely = require("pyogrio.raw", "geo"), require("shapely", "geo")
    if class_column:
        _require_column(path, class_column)
    try:
        meta, fids, shapes, columns = raw.read(
            path, layer=0, return_fids=True, force_2d=True,
            columns=[class_column] if class_column else [],
            encoding=_gdal_name(encoding) if encoding else None,
        )  # fmt: skip
    except Exception as error:  # pyogrio and the codecs raise several kinds
        raise UserError(f"{path} cannot be read as vectors: {_reason(error, encoding)}") from error
    found = [_bounds_and_points(shapely, part, with_points) for part in _parts(shapes)]
    places = np.concatenate([np.zeros((0, 6)), *found])
    is_good = np.isfinite(places).all(1)
    if len(shapes) and not is_good.any():
        raise UserError(f"{path} holds no polygons ({len(shapes)} features)")
    notes = [] if is_good.all() else [f"{(~is_good).sum()} features of {path} are no polygons"]
    names = columns[0] if class_column else np.full(len(shapes), "", object)
    names = np.array(["" if _is_null(name) else str(name) for name in names[is_good]], object)
    layers = require("pyogrio", "geo").list_layers(path)
    if len(layers) > 1:
        others = ", ".join(str(name) for name in layers[1:4, 0])
        notes.append(f"of {path} the first layer is read, and not {others}")
    places = places[is_good]
    return Polygons(
        path,
        meta["crs"] or "",
        shapes[is_good],
        places[:, :4],
        places[:, 4:],
        names,
        fids[is_good],
        notes,
    )


_CHUNK = 100_000
# Geometry types of GEOS: points, and polygons, alone and together.
POINTS, _AREAS = (0, 4), (3, 6)


def _parts(shapes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """So few at a time that decoded polygons never fill the memory."""
    for start in range(0, len(shapes), _CHUNK):
        yield shapes[start : start + _CHUNK]


def _bounds_and_points(
    shapely: Any, shapes: NDArray[Any], with_points: bool
) -> NDArray[np.float64]:
    """(N, 6): bounds, and a place within; not finite for what is no polygon."""
    geometries = shapely.from_wkb(shapes, on_invalid="ignore")
    is_area = np.isin(shapely.get_type_id(geometries), (*_AREAS, *(POINTS if with_points else ())))
    geometries[~is_area | shapely.is_empty(geometries)] = None
    inside = shapely.point_on_surface(geometries)
    points = np.stack([shapely.get_x(inside), shapely.get_y(inside)], axis=1)
    return np.concatenate([shapely.bounds(geometries), points], axis=1)


def _gdal_name(encoding: str) -> str:
    """`ISO-8859-1` and `CP1252`, as GDAL spells them, of any name that Python knows."""
    return codecs.lookup(encoding).name.upper().replace("ISO8859", "ISO-8859")


def _is_null(name: Any) -> bool:
    return name is None or (isinstance(name, float) and np.isnan(name))


def _require_column(path: Path, name: str) -> None:
    try:
        found = list(require("pyogrio", "geo").read_info(path, layer=0)["fields"])
    except UserError:
        raise
    except Exception as error:  # pyogrio raises several kinds
        raise UserError(f"{path} cannot be read as vectors: {_reason(error, '')}") from error
    if name not in found:
        raise UserError(f"{path} has no column '{name}': found {', '.join(found) or 'none'}")


def _reason(error: Exception, encoding: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"its text is not {error.encoding}: set data.encoding (latin-1, say)"
    if isinstance(error, LookupError) and encoding:
        return f"there is no encoding '{encoding}'"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@dataclass(frozen=True)
class Meetings:
    """Pairs of windows and polygons whose bounds meet.

    Attributes:
        windows, polygons: (P,) numbers.
    """

    windows: NDArray[np.intp]
    polygons: NDArray[np.intp]


def find_on_scene(polygons: Polygons, scene: Scene, windows: list[Window]) -> Meetings:
    """Which windows the polygons meet; none where they lie elsewhere.

    A file that names the wrong CRS, or none where its coordinates are the scene's own, is seen by
    none of its polygons lying on the scene: then the scene's CRS is tried, and noted.

    Raises:
        UserError: the scene has no CRS, and the polygons' coordinates cannot be its pixels; or no
            way leads from one CRS to the other.
    """
    _require_pixels(polygons, scene)
    try:
        return _find_or_correct(polygons, scene, windows)
    except UserError as error:
        raise UserError(f"{polygons.path} on {scene.path}: {error}") from error


def _find_or_correct(polygons: Polygons, scene: Scene, windows: list[Window]) -> Meetings:
    found = _meeting(polygons.bounds, polygons.crs, scene, windows)
    if not len(found.windows) and scene.crs and not _is_same(polygons.crs, scene.crs):
        found = _meeting(polygons.bounds, scene.crs, scene, windows)
        if len(found.windows):
            polygons.notes.append(
                f"{polygons.path} says {_short(polygons.crs)}, but its coordinates are those of "
                f"{scene.path} ({_short(scene.crs)}) and were taken as such: set its CRS right"
            )
            polygons.crs = scene.crs
    return found


def _require_pixels(polygons: Polygons, scene: Scene) -> None:
    """Without a CRS, coordinates are pixels: degrees would all fall into a few of them."""
    sides = polygons.bounds[:, 2:] - polygons.bounds[:, :2]
    if not scene.crs and len(sides) and polygons.crs and float(np.median(sides)) < 1:
        raise UserError(
            f"{scene.path} has no georeference, and the polygons of {polygons.path} "
            f"({_short(polygons.crs)}) are less than a pixel wide: georeference the scene"
        )


def points_on_scene(polygons: Polygons, scene: Scene) -> NDArray[np.float64]:
    """(N, 2) xy pixels of a place within each polygon."""
    points = polygons.points
    if polygons.crs and scene.crs and not _is_same(polygons.crs, scene.crs):
        points = to_crs(points, polygons.crs, scene.crs)
    return crs_to_pixel(scene, points)


def _meeting(
    bounds: NDArray[np.float64], crs: str, scene: Scene, windows: list[Window]
) -> Meetings:
    """In the polygons' CRS, so that only the outlines of windows have to be reprojected."""
    shapely = require("shapely", "geo")
    points = pixel_to_crs(scene, np.concatenate([_outline(window) for window in windows]))
    if crs and scene.crs:
        points = to_crs(points, scene.crs, crs)
    outlines = np.where(np.isfinite(points), points, np.nan).reshape(len(windows), -1, 2)
    tree = shapely.STRtree(
        shapely.box(*np.fmin.reduce(outlines, 1).T, *np.fmax.reduce(outlines, 1).T)
    )
    found = [
        np.add(tree.query(shapely.box(*bounds[start : start + _CHUNK].T)), [[start], [0]])
        for start in range(0, len(bounds), _CHUNK)
    ]
    polygons, met = np.concatenate([np.zeros((2, 0), np.intp), *found], axis=1)
    return Meetings(met, polygons)


def _outline(window: Window) -> NDArray[np.float64]:
    """(4 n, 2) xy along the sides of a window."""
    share = np.linspace(0, 1, _POINTS_PER_SIDE)
    sides = [(share, 0 * share), (share, 0 * share + 1), (0 * share, share), (0 * share + 1, share)]
    unit = np.concatenate([np.stack(side, axis=1) for side in sides])
    return np.asarray(unit * (window.width, window.height) + (window.x, window.y))


def lie_apart(polygons: Polygons, scene: Scene) -> str:
    """What to say of polygons that meet no part of a scene."""
    if not len(polygons):
        return f"{polygons.path} holds nothing to go by: no polygon, and no point"
    corners = pixel_to_crs(scene, np.array([[0, 0], [scene.width, scene.height]]))
    low, high = corners.min(0), corners.max(0)
    theirs = (*polygons.bounds[:, :2].min(0), *polygons.bounds[:, 2:].max(0))
    return (
        f"none of the {len(polygons)} polygons of {polygons.path} lies on {scene.path}: they lie at "
        f"{_extent(theirs)} ({_short(polygons.crs)}), the scene at {_extent((*low, *high))} "
        f"({_short(scene.crs)}); set the right CRS in the files, or data.objects to the right one"
    )


def _extent(bounds: tuple[float, ...]) -> str:
    x0, y0, x1, y1 = (f"{value:.6g}" for value in bounds)
    return f"x {x0} to {x1}, y {y0} to {y1}"


def _short(crs: str) -> str:
    """`EPSG:32632` of a CRS, or its name."""
    if not crs:
        return "no CRS"
    known = require("rasterio.crs", "geo").CRS.from_user_input(crs)
    return f"EPSG:{known.to_epsg()}" if known.to_epsg() else str(crs)[:40]


def _is_same(one: str, other: str) -> bool:
    crs = require("rasterio.crs", "geo").CRS.from_user_input
    return bool(one) and bool(other) and bool(crs(one) == crs(other))


def _transformed(shapes: NDArray[np.object_], source: str, target: str) -> NDArray[np.object_]:
    """Geometries in another CRS; those with a corner that it has no place for become empty."""
    shapely = require("shapely", "geo")
    corners, owners = shapely.get_coordinates(shapes, return_index=True)
    moved = to_crs(corners, source, target)
    shapes = shapes.copy()
    shapes[owners[~np.isfinite(moved).all(1)]] = shapely.Polygon()
    moved = moved[np.isin(owners, np.flatnonzero(~shapely.is_empty(shapes)))]
    return np.asarray(shapely.set_coordinates(shapes, moved), object)


def to_pixels(polygons: Polygons, numbers: NDArray[Any], scene: Scene) -> NDArray[np.object_]:
    """Geometries of some features in pixels of the scene."""
    shapely = require("shapely", "geo")
    shapes = shapely.from_wkb(polygons.shapes[numbers], on_invalid="fix")
    if polygons.crs and scene.crs and not _is_same(polygons.crs, scene.crs):
        shapes = _transformed(shapes, polygons.crs, scene.crs)
    return np.asarray(shapely.transform(shapes, lambda xy: crs_to_pixel(scene, xy)), object)

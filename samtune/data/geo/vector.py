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

from samtune.data.geo.raster import Scene, Window, crs_to_pixel, pixel_to_crs, to_crs
from samtune.data.objects import stack_layers
from samtune.errors import UserError, require
from samtune.types import LabelArray, MaskArray

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
        classes: (N,) class names, or empty for none.
        notes: what a user should know, such as features that are no polygons.
    """

    path: Path
    crs: str
    shapes: NDArray[Any]
    bounds: NDArray[np.float64]
    classes: NDArray[Any]
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
        with_points: points count too.

    Raises:
        UserError: the file cannot be read, has no such column, or holds no polygons.
    """
    raw, shapely = require("pyogrio.raw", "geo"), require("shapely", "geo")
    if class_column:
        _require_column(path, class_column)
    try:
        meta, _, shapes, columns = raw.read(
            path, layer=0, columns=[class_column] if class_column else [], force_2d=True,
            encoding=_gdal_name(encoding) if encoding else None,
        )  # fmt: skip
    except Exception as error:  # pyogrio and the codecs raise several kinds
        raise UserError(f"{path} cannot be read as vectors: {_reason(error, encoding)}") from error
    found = (_bounds(shapely, part, with_points) for part in _parts(shapes))
    bounds = np.concatenate([_NOTHING, *found])
    is_good = np.isfinite(bounds).all(1)
    if not is_good.any():
        raise UserError(f"{path} holds no polygons ({len(shapes)} features)")
    notes = [] if is_good.all() else [f"{(~is_good).sum()} features of {path} are no polygons"]
    names = columns[0] if class_column else np.full(len(shapes), "", object)
    names = np.array(["" if _is_null(name) else str(name) for name in names[is_good]], object)
    return Polygons(path, meta["crs"] or "", shapes[is_good], bounds[is_good], names, notes)


_NOTHING = np.zeros((0, 4))
_CHUNK = 100_000


def _parts(shapes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """So few at a time that decoded polygons never fill the memory."""
    for start in range(0, len(shapes), _CHUNK):
        yield shapes[start : start + _CHUNK]


def _bounds(shapely: Any, shapes: NDArray[Any], with_points: bool) -> NDArray[np.float64]:
    """(N, 4), not finite for what is no polygon."""
    geometries = shapely.from_wkb(shapes, on_invalid="ignore")
    is_area = np.isin(shapely.get_type_id(geometries), (3, 6, 0) if with_points else (3, 6))
    return np.where(is_area[:, None], shapely.bounds(geometries), np.nan)


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
        distances: (P,) from the window's centre to the polygon's, in sides of the window: below 1/2
            where the polygon's centre lies in the window.
    """

    windows: NDArray[np.intp]
    polygons: NDArray[np.intp]
    distances: NDArray[np.float64]


def find_on_scene(polygons: Polygons, scene: Scene, windows: list[Window]) -> Meetings:
    """Which windows the polygons meet.

    A file that names the wrong CRS, or none where its coordinates are the scene's own, is seen by
    none of its polygons lying on the scene: then the scene's CRS is tried, and noted.

    Raises:
        UserError: none of the polygons lies on the scene.
    """
    found = _meeting(polygons.bounds, polygons.crs, scene, windows)
    if not len(found.windows) and scene.crs and not _is_same(polygons.crs, scene.crs):
        found = _meeting(polygons.bounds, scene.crs, scene, windows)
        if len(found.windows):
            polygons.notes.append(
                f"{polygons.path} says {_short(polygons.crs)}, but its coordinates are those of "
                f"{scene.path} ({_short(scene.crs)}) and were taken as such: set its CRS right"
            )
            polygons.crs = scene.crs
    if not len(found.windows):
        raise UserError(_apart(polygons, scene))
    return found


def _meeting(
    bounds: NDArray[np.float64], crs: str, scene: Scene, windows: list[Window]
) -> Meetings:
    """In the polygons' CRS, so that only the outlines of windows have to be reprojected."""
    shapely = require("shapely", "geo")
    points = pixel_to_crs(scene, np.concatenate([_outline(window) for window in windows]))
    if crs and scene.crs:
        points = to_crs(points, scene.crs, crs)
    outlines = points.reshape(len(windows), -1, 2)
    low, high = outlines.min(1), outlines.max(1)
    tree = shapely.STRtree(shapely.box(*low.T, *high.T))
    found = [
        np.add(tree.query(shapely.box(*bounds[start : start + _CHUNK].T)), [[start], [0]])
        for start in range(0, len(bounds), _CHUNK)
    ]
    polygons, met = np.concatenate(found, axis=1)
    apart = (bounds[polygons, :2] + bounds[polygons, 2:] - low[met] - high[met]) / 2
    distances = np.abs(apart / np.maximum(high[met] - low[met], 1e-12)).max(1)
    return Meetings(met, polygons, distances)


def _outline(window: Window) -> NDArray[np.float64]:
    """(4 n, 2) xy along the sides of a window."""
    share = np.linspace(0, 1, _POINTS_PER_SIDE)
    sides = [(share, 0 * share), (share, 0 * share + 1), (0 * share, share), (0 * share + 1, share)]
    unit = np.concatenate([np.stack(side, axis=1) for side in sides])
    return np.asarray(unit * (window.width, window.height) + (window.x, window.y))


def _apart(polygons: Polygons, scene: Scene) -> str:
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


def to_pixels(polygons: Polygons, numbers: NDArray[Any], scene: Scene) -> NDArray[np.object_]:
    """Geometries of some features in pixels of the scene."""
    shapely = require("shapely", "geo")
    shapes = shapely.from_wkb(polygons.shapes[numbers], on_invalid="fix")
    if polygons.crs and scene.crs and not _is_same(polygons.crs, scene.crs):
        shapes = shapely.transform(shapes, lambda xy: to_crs(xy, polygons.crs, scene.crs))
    return np.asarray(shapely.transform(shapes, lambda xy: crs_to_pixel(scene, xy)), object)


def draw(
    polygons: Polygons, numbers: NDArray[Any], scene: Scene, window: Window
) -> tuple[LabelArray, dict[int, str]]:
    """Lay polygons on the pixels of a window; a pixel belongs to one that holds its centre.

    Returns:
        (L, H, W) labels, whose ids are feature numbers from 1, and their classes.
    """
    shapely = require("shapely", "geo")
    shapes = shapely.make_valid(to_pixels(polygons, numbers, scene))
    shapes = shapely.transform(shapes, lambda xy: np.subtract(xy, (window.x, window.y)))
    found: list[tuple[int, MaskArray]] = []
    for number, shape in zip(numbers.tolist(), shapes, strict=True):
        mask = _drawn(shape, (window.height, window.width))
        if mask is not None:
            found.append((number + 1, mask))
    classes = {number: str(polygons.classes[number - 1]) for number, _ in found}
    return stack_layers(found, (window.height, window.width)), classes


def _drawn(shape: Any, hw: tuple[int, int]) -> MaskArray | None:
    """The mask of a polygon in pixels of the window; `None` if it holds no pixel's centre."""
    features, shapely = require("rasterio.features", "geo"), require("shapely", "geo")
    bounds = shapely.bounds(shape)
    if not np.isfinite(bounds).all():
        return None
    x0, y0 = (max(0, int(np.floor(value))) for value in bounds[:2])
    x1, y1 = (min(side, int(np.ceil(v))) for side, v in zip(hw[::-1], bounds[2:], strict=True))
    if x0 >= x1 or y0 >= y1:
        return None
    moved = shapely.transform(shape, lambda xy: xy - (x0, y0))
    areas = [part for part in shapely.get_parts(moved) if part.geom_type.endswith("Polygon")]
    if not areas:
        return None
    part = features.rasterize(areas, out_shape=(y1 - y0, x1 - x0), dtype="uint8")
    if not part.any():
        return None
    mask = np.zeros(hw, np.bool_)
    mask[y0:y1, x0:x1] = part > 0
    return mask

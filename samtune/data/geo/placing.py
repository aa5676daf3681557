"""Where the polygons of a file lie on a scene: which windows they meet, and on which pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.frames import crs_to_pixel, outlines, pixel_to_crs, to_crs
from samtune.data.geo.layers import CHUNK
from samtune.data.geo.raster import Scene
from samtune.data.geo.vector import Polygons
from samtune.errors import UserError, require
from samtune.types import Window


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
    points = pixel_to_crs(scene, outlines(windows).reshape(-1, 2))
    if crs and scene.crs:
        points = to_crs(points, scene.crs, crs)
    rings = np.where(np.isfinite(points), points, np.nan).reshape(len(windows), -1, 2)
    tree = shapely.STRtree(shapely.box(*np.fmin.reduce(rings, 1).T, *np.fmax.reduce(rings, 1).T))
    found = [
        np.add(tree.query(shapely.box(*bounds[start : start + CHUNK].T)), [[start], [0]])
        for start in range(0, len(bounds), CHUNK)
    ]
    polygons, met = np.concatenate([np.zeros((2, 0), np.intp), *found], axis=1)
    return Meetings(met, polygons)


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

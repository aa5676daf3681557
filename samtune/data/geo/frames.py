"""Pixels of a scene, coordinates of a map, metres on the ground."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.raster import Scene
from samtune.errors import UserError, require
from samtune.types import Window

WGS84 = "EPSG:4326"
# Along a side of a window that is carried into another CRS.
_STEPS_PER_SIDE = 8
# Its semi-major axis in metres, and first eccentricity squared.
_AXIS, _ECCENTRICITY2 = 6_378_137.0, 6.694_379_990_14e-3


def metres_per_pixel(scene: Scene) -> tuple[float, float] | None:
    """Ground distance between rows and between columns at the scene's centre; `None` without CRS."""
    steps = ground_steps(scene, np.array([[scene.width / 2, scene.height / 2]]))
    if steps is None or not np.isfinite(steps).all():
        return None
    across, down = np.hypot(*steps[0])
    return float(down), float(across)


def ground_steps(scene: Scene, points: NDArray[Any]) -> NDArray[np.float64] | None:
    """(N, 2, 2) metres to the east and north (rows) of a pixel in x and in y (columns), at (N, 2) xy.

    `None` without a CRS. One that lies nowhere on the earth, such as that of a building site, has
    metres (or feet) of its own. Of others it is measured on the ellipsoid, for the metres of
    Mercator's projection, say, are not those on the ground: differences of longitude and latitude
    times the radii of curvature (Snyder, "Map Projections: A Working Manual", 1987, equations 4-18
    and 4-20). pyproj's `Geod.inv` gives the same to a millionth of a metre, but takes twenty times as
    long, and each corner of each polygon comes by.
    """
    if not scene.crs:
        return None
    moved = np.concatenate([np.add(points, step) for step in ((0, 0), (1, 0), (0, 1))])
    try:
        places = to_crs(pixel_to_crs(scene, moved), scene.crs, WGS84)
    except UserError:
        return _steps_of_site(scene, len(points))
    here, *beside = np.split(np.radians(places), 3)
    bent = 1 - _ECCENTRICITY2 * np.sin(here[:, 1]) ** 2
    east = np.cos(here[:, 1]) * _AXIS / bent**0.5
    north = _AXIS * (1 - _ECCENTRICITY2) / bent**1.5
    radii = np.stack([east, north], axis=1)
    # the step over the 180th meridian is as short as any other
    return np.stack([_wrapped(to - here) * radii for to in beside], axis=2)


def _steps_of_site(scene: Scene, count: int) -> NDArray[np.float64] | None:
    """The same, everywhere alike, of a CRS that lies nowhere on the earth; `None` if it has no unit."""
    axes = require("pyproj", "geo").CRS.from_user_input(scene.crs).axis_info
    unit = axes[0].unit_conversion_factor if axes else 0.0
    a, b, _, d, e, _ = scene.transform
    return np.broadcast_to(np.array([[a, b], [d, e]]) * unit, (count, 2, 2)) if unit else None


def _wrapped(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((angles + np.pi) % (2 * np.pi) - np.pi)


def pixel_to_crs(scene: Scene, points: NDArray[Any]) -> NDArray[np.float64]:
    """(N, 2) xy pixels -> coordinates of the scene's CRS."""
    a, b, c, d, e, f = scene.transform
    return np.stack([points @ (a, b) + c, points @ (d, e) + f], axis=1)


def crs_to_pixel(scene: Scene, points: NDArray[Any]) -> NDArray[np.float64]:
    """The inverse of `pixel_to_crs`."""
    a, b, c, d, e, f = scene.transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    with np.errstate(invalid="ignore"):  # places at infinity
        return np.asarray((points - (c, f)) @ inverse.T)


def outlines(windows: list[Window]) -> NDArray[np.float64]:
    """(N, M, 2) xy pixels around each window, so close that its sides may be bent."""
    share = np.arange(_STEPS_PER_SIDE) / _STEPS_PER_SIDE
    none, all_ = np.zeros_like(share), np.ones_like(share)
    xs, ys = np.concatenate([(share, none), (all_, share), (1 - share, all_), (none, 1 - share)], 1)
    places = np.array([(w.x, w.y, w.width, w.height) for w in windows], np.float64).reshape(-1, 4)
    x, y, width, height = (column[:, None] for column in places.T)
    return np.stack([x + width * xs, y + height * ys], axis=2)


def to_crs(points: NDArray[Any], source: str, target: str) -> NDArray[np.float64]:
    """(N, 2) xy from one CRS to another; infinite where the target has no such place.

    Raises:
        UserError: a CRS is not known, or no way leads from one to the other.
    """
    if source == target or not len(points):
        return np.asarray(points, np.float64)
    errors = require("pyproj.exceptions", "geo")
    try:
        xs, ys = _transformer(source, target).transform(points[:, 0], points[:, 1])
    except errors.ProjError as error:
        raise UserError(
            f"coordinates cannot be brought from {source} to {target}: {error}"
        ) from error
    return np.stack([xs, ys], axis=1).astype(np.float64)


@functools.lru_cache
def _transformer(source: str, target: str) -> Any:
    return require("pyproj", "geo").Transformer.from_crs(source, target, always_xy=True)

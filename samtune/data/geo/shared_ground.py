"""Which parts of scenes show the same ground."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from samtune.data.geo.frames import WGS84, outlines, pixel_to_crs, to_crs
from samtune.data.geo.raster import Scene
from samtune.errors import UserError, require
from samtune.types import Window

# An overlap that is narrower than this share of a window's side is a sliver, and none.
SLIVER = 1 / 16


def lay_on_ground(parts: Sequence[tuple[Scene, list[Window]]], side: int) -> NDArray[np.object_]:
    """(N,) polygons of all windows of all scenes, in one CRS; `None` where a scene lies nowhere.

    A scene with a transform and no CRS is taken to lie in the only CRS of the others, or all together
    in one that nobody named: scenes that show the same ground must never seem to be apart. Polygons
    are drawn in by half a sliver, so that those meet which overlap by more than one.

    Args:
        parts: scenes with some windows of each.
        side: of usual windows, pixels, by which slivers are measured.
    """
    systems = {scene.crs for scene, _ in parts if scene.crs}
    target = WGS84 if len(systems) > 1 else (systems or {""}).pop()
    rings = np.concatenate([_rings(scene, windows, target) for scene, windows in parts])
    is_laid = np.isfinite(rings).all((1, 2))
    shapely, rings = require("shapely", "geo"), rings[is_laid]
    shapes = shapely.polygons(_without_jumps(rings) if target == WGS84 else rings)
    areas = np.array([w.height * w.width for _, windows in parts for w in windows])[is_laid]
    slivers = SLIVER * side * np.sqrt(shapely.area(shapes) / areas)
    polygons = np.full(len(is_laid), None, object)
    polygons[is_laid] = shapely.buffer(shapes, -slivers / 2, join_style="mitre")
    return polygons


def _rings(scene: Scene, windows: list[Window], target: str) -> NDArray[np.float64]:
    """(N, M, 2) xy; not finite where the scene lies nowhere."""
    rings = outlines(windows)
    is_lost = not scene.crs and (target == WGS84 or not scene.is_placed)
    if is_lost:
        return np.full_like(rings, np.nan)
    try:
        points = to_crs(pixel_to_crs(scene, rings.reshape(-1, 2)), scene.crs or target, target)
    except UserError:  # a local system, from which no way leads elsewhere
        return np.full_like(rings, np.nan)
    return points.reshape(rings.shape)


def _without_jumps(rings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes that go on over the 180th meridian, all within half the earth of the first."""
    rings = rings.copy()
    starts = rings[:1, :1, 0] + _wrapped(rings[:, :1, 0] - rings[:1, :1, 0])
    rings[..., 0] = starts + _wrapped(rings[..., 0] - starts)
    return rings


def _wrapped(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((degrees + 180) % 360 - 180)


def find_meeting(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.intp]:
    """(P, 2) numbers of polygons of the first and of the second that show the same ground."""
    found: NDArray[Any] = (
        require("shapely", "geo").STRtree(other).query(one, predicate="intersects")
    )
    return found.T


def number_places(polygons: NDArray[np.object_]) -> NDArray[np.int32]:
    """(N,) one number for all polygons that are tied together by ground they share."""
    one, other = find_meeting(polygons, polygons).T
    ties = coo_array((np.ones(len(one), np.bool_), (one, other)), (len(polygons), len(polygons)))
    return np.asarray(connected_components(ties, directed=False)[1], np.int32)

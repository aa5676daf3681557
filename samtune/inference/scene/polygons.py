"""Labels of a scene as polygons: along pixel edges, then simplified so that neighbours still fit."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.frames import ground_sizes, pixel_to_crs
from samtune.data.geo.raster import Scene, Window
from samtune.errors import require


def outline_objects(
    parts: Iterable[tuple[Window, NDArray[np.int32]]], count: int
) -> NDArray[np.object_]:
    """Outlines along pixel edges, in pixels of the scene.

    Args:
        parts: windows that do not overlap, with their labels 0 to `count`.
        count: of objects.

    Returns:
        (count,) polygons or multipolygons.
    """
    shapely, features = require("shapely", "geo"), require("rasterio.features", "geo")
    found: dict[int, list[object]] = defaultdict(list)
    for window, labels in parts:
        for shape, value in features.shapes(labels, mask=labels > 0):
            offset = (window.x, window.y)
            rings = [np.add(ring, offset) for ring in shape["coordinates"]]
            found[int(value)].append(shapely.Polygon(rings[0], rings[1:]))
    outlines = np.empty(count, object)
    for number in range(count):
        outlines[number] = shapely.union_all(found.pop(number + 1, []))
    return outlines


def simplify_together(outlines: NDArray[np.object_], tolerance: float) -> NDArray[np.object_]:
    """Simplify outlines that share borders so that they neither overlap nor gape afterwards.

    Visvalingam's and Whyatt's algorithm on a coverage (GEOS): triangles of less than
    `tolerance` squared are left out.

    Args:
        outlines: along pixel edges, without overlaps.
        tolerance: pixels; 0 leaves them as they are.
    """
    shapely = require("shapely", "geo")
    if not tolerance or not len(outlines):
        return outlines
    # every corner of a pixel is a vertex, so that neighbours meet in vertices only
    dense = shapely.transform(shapely.segmentize(outlines, 1.0), np.rint)
    simple = shapely.coverage_simplify(dense, tolerance)
    is_lost = shapely.is_empty(simple) | ~shapely.is_valid(simple)
    return np.where(is_lost, outlines, simple)


def measure_on_ground(
    scene: Scene, outlines: NDArray[np.object_], simple: NDArray[np.object_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas in square metres and perimeters in metres; in pixels without a CRS.

    Args:
        scene: says how large a pixel is, at each object's own place.
        outlines: along pixel edges, in pixels: areas are those of the pixels.
        simple: the same simplified: stairs of pixels would make perimeters too long.
    """
    shapely = require("shapely", "geo")
    areas, lengths = shapely.area(outlines), shapely.length(simple)
    sizes = ground_sizes(scene, shapely.get_coordinates(shapely.centroid(outlines)))
    if sizes is None:
        return areas, lengths
    pixel = sizes[:, 0] * sizes[:, 1]
    return areas * pixel, lengths * np.sqrt(pixel)


def on_the_map(scene: Scene, outlines: NDArray[np.object_]) -> NDArray[np.object_]:
    """Outlines in the scene's CRS."""
    shapely = require("shapely", "geo")
    return np.asarray(shapely.transform(outlines, lambda xy: pixel_to_crs(scene, xy)), object)

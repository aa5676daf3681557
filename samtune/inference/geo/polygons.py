"""Labels of a scene as polygons: along pixel edges, simplified so that neighbours fit, in metres."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.frames import ground_steps, pixel_to_crs
from samtune.data.geo.raster import Scene
from samtune.errors import require
from samtune.types import Window


def outline_parts(window: Window, labels: NDArray[np.int32]) -> Iterator[tuple[int, object]]:
    """Numbers above 0 and polygons of all connected parts (4-neighbourhood), in pixels of the scene.

    Args:
        window: where the labels lie.
        labels: (H, W); 0 is nothing.
    """
    shapely, features = require("shapely", "geo"), require("rasterio.features", "geo")
    for shape, value in features.shapes(labels, mask=labels > 0):
        rings = [np.add(ring, (window.x, window.y)) for ring in shape["coordinates"]]
        yield int(value), shapely.Polygon(rings[0], rings[1:])


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
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Areas and perimeters, and their unit: `m`, or `px` where the scene has none of the ground.

    Args:
        scene: says how large a pixel is, at each object's own place.
        outlines: along pixel edges, in pixels: areas are those of the pixels.
        simple: the same simplified: stairs of pixels would make perimeters too long.
    """
    shapely = require("shapely", "geo")
    areas = shapely.area(outlines)
    steps = ground_steps(scene, shapely.get_coordinates(shapely.centroid(outlines)))
    if steps is None:
        return areas, shapely.length(simple), "px"
    corners, owners = shapely.get_coordinates(simple, return_index=True)
    metres = np.einsum("nij,nj->ni", steps[owners], corners)
    lengths = shapely.length(shapely.set_coordinates(simple.copy(), metres))
    return areas * abs(np.linalg.det(steps)), lengths, "m"


def on_the_map(scene: Scene, outlines: NDArray[np.object_]) -> NDArray[np.object_]:
    """Outlines in the scene's CRS."""
    shapely = require("shapely", "geo")
    return np.asarray(shapely.transform(outlines, lambda xy: pixel_to_crs(scene, xy)), object)

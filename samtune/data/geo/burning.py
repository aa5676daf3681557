"""Polygons laid on the pixels of a window."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.placing import to_pixels
from samtune.data.geo.raster import Scene
from samtune.data.geo.vector import Polygons
from samtune.errors import require
from samtune.types import LabelArray, Window


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
    ids = (numbers + 1).astype(np.int32)
    layers: list[LabelArray] = []
    for group in _apart_groups(shapes):
        _add_to_layers(layers, _burnt(shapes[group], ids[group], window), window)
    labels = np.stack(layers) if layers else np.zeros((1, window.height, window.width), np.int32)
    drawn = [int(number) for number in np.unique(labels) if number]
    return labels, {number: str(polygons.classes[number - 1]) for number in drawn}


def _apart_groups(shapes: NDArray[np.object_]) -> list[NDArray[np.intp]]:
    """Groups of polygons whose bounds do not meet, so that each can be drawn at once."""
    shapely = require("shapely", "geo")
    boxes = shapely.box(*shapely.bounds(shapes).T)
    one, other = shapely.STRtree(boxes).query(boxes)
    near: dict[int, list[int]] = {}
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        near.setdefault(a, []).append(b)
    groups = np.full(len(shapes), -1)
    for number in range(len(shapes)):
        taken = {int(groups[neighbour]) for neighbour in near.get(number, ())}
        groups[number] = next(group for group in range(len(shapes) + 1) if group not in taken)
    return [np.flatnonzero(groups == group) for group in range(int(groups.max(initial=-1)) + 1)]


def _burnt(shapes: NDArray[np.object_], ids: NDArray[np.int32], window: Window) -> LabelArray:
    """(H, W) of polygons that do not overlap; a pixel belongs to one that holds its centre."""
    shapely, features = require("shapely", "geo"), require("rasterio.features", "geo")
    hw = (window.height, window.width)
    # repairing can leave lines beside areas
    parts = [
        (part, int(number))
        for shape, number in zip(shapes, ids, strict=True)
        for part in shapely.get_parts(shape)
        if part.geom_type.endswith("Polygon") and np.isfinite(shapely.bounds(part)).all()
    ]
    if not parts:
        return np.zeros(hw, np.int32)
    return np.asarray(features.rasterize(parts, out_shape=hw, dtype="int32"))


def _add_to_layers(layers: list[LabelArray], found: LabelArray, window: Window) -> None:
    """Lay objects on the first layer where they cover nothing of another."""
    number = 0
    while found.any():
        if number == len(layers):
            layers.append(np.zeros((window.height, window.width), np.int32))
        layer = layers[number]
        covering = np.unique(found[(layer > 0) & (found > 0)])
        is_free = (found > 0) & ~np.isin(found, covering)
        layer[is_free] = found[is_free]
        found = np.where(is_free, np.int32(0), found)
        number += 1

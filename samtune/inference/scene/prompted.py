"""Objects of a scene that boxes and points of a vector file show."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.raster import Scene, Window, read_window
from samtune.data.geo.vector import Polygons, find_on_scene, lie_apart, to_pixels
from samtune.errors import UserError, require
from samtune.inference.predictor import SamPredictor
from samtune.inference.scene.grid import Cell
from samtune.inference.scene.polygons import outline_objects
from samtune.inference.scene.store import Arrays, WindowStore
from samtune.types import LabelArray

# Around a box that is larger than a window, this share of its sides is seen too.
_MARGIN = 0.25


class ScenePrompts:
    """Prompts of a vector file, each with the window that it is answered in.

    Args:
        scene: what the prompts lie on.
        features: polygons, whose bounds are the boxes, and points.
        cells: of the scene's grid.
        side: of windows, pixels.

    Attributes:
        cells: those with prompts.

    Raises:
        UserError: none of them lies on the scene.
    """

    def __init__(self, scene: Scene, features: Polygons, cells: list[Cell], side: int) -> None:
        self._scene, self._side = scene, side
        if not len(
            find_on_scene(features, scene, [Window(0, 0, scene.height, scene.width)]).windows
        ):
            raise UserError(lie_apart(features, scene))
        shapely = require("shapely", "geo")
        geometries = to_pixels(features, np.arange(len(features)), scene)
        self._is_point = shapely.get_type_id(geometries) == 0
        self._boxes = np.clip(shapely.bounds(geometries), 0, [scene.width, scene.height] * 2)
        self._numbers: dict[Cell, list[int]] = defaultdict(list)
        by_place = {(cell.row, cell.column): cell for cell in cells}
        rows = np.array(sorted({cell.core.y for cell in cells}))
        columns = np.array(sorted({cell.core.x for cell in cells}))
        centres = (self._boxes[:, :2] + self._boxes[:, 2:]) / 2
        is_on_scene = self._is_point | (self._boxes[:, 2:] > self._boxes[:, :2]).all(1)
        for number in np.flatnonzero(is_on_scene).tolist():
            x, y = centres[number]
            row, column = (np.searchsorted(e, v, "right") - 1 for e, v in ((rows, y), (columns, x)))
            self._numbers[by_place[int(row), int(column)]].append(number)
        self.cells = sorted(self._numbers, key=lambda cell: (cell.row, cell.column))

    def answer(self, cell: Cell, predictor: SamPredictor) -> Arrays:
        """Masks of the prompts of one window, as outlines in pixels of the scene."""
        near: list[int] = []
        outlines, scores = [], []
        for number in self._numbers[cell]:
            x0, y0, x1, y1 = self._boxes[number]
            window = cell.window
            is_inside = (
                x0 >= window.x and y0 >= window.y
                and x1 <= window.x + window.width and y1 <= window.y + window.height
            )  # fmt: skip
            if is_inside:
                near.append(number)
                continue
            found = self._masks(self._around(number), [number], predictor)
            outlines += found[0]
            scores += found[1]
        found = self._masks(cell.window, near, predictor) if near else ([], [])
        far = [number for number in self._numbers[cell] if number not in set(near)]
        return _packed([*outlines, *found[0]], [*scores, *found[1]], [*far, *near])

    def _around(self, number: int) -> Window:
        """A window that holds a box that reaches out of its own."""
        x0, y0, x1, y1 = self._boxes[number]
        half = max(self._side, (1 + 2 * _MARGIN) * max(x1 - x0, y1 - y0)) / 2
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        left, top = max(0, int(x - half)), max(0, int(y - half))
        right = min(self._scene.width, int(np.ceil(x + half)))
        bottom = min(self._scene.height, int(np.ceil(y + half)))
        return Window(top, left, bottom - top, right - left)

    def _masks(
        self, window: Window, numbers: list[int], predictor: SamPredictor
    ) -> tuple[list[Any], list[float]]:
        """Outlines and predicted IoUs; an empty mask has an empty outline."""
        image, is_valid = read_window(self._scene, window)
        predictor.set_image(image)
        outlines, scores = [], []
        for number in numbers:
            box = self._boxes[number] - [window.x, window.y] * 2
            prompt: dict[str, Any] = {"box": box.astype(np.float32)}
            if self._is_point[number]:
                prompt = {"point_coords": box[None, :2].astype(np.float32) - 0.5,
                          "point_labels": np.ones(1, np.int64)}  # fmt: skip
            masks, ious, _ = predictor.predict(**prompt, multimask_output=True)
            best = int(np.argmax(ious))
            mask = (masks[best] & is_valid).astype(np.int32)
            outlines += list(outline_objects([(window, mask)], 1))
            scores.append(float(ious[best]))
        return outlines, scores


def _packed(outlines: list[Any], scores: list[float], features: list[int]) -> Arrays:
    """Geometries as one row of bytes, for a file holds numbers only."""
    texts = [require("shapely", "geo").to_wkb(outline) for outline in outlines]
    return {
        "bytes": np.frombuffer(b"".join(texts), np.uint8),
        "lengths": np.array([len(text) for text in texts], np.int64),
        "scores": np.array(scores, np.float32),
        "features": np.array(features, np.int64),
    }


class PromptedObjects:
    """Answers of all windows, in the order of their features, without overlaps.

    Attributes:
        features: (N,) numbers of their features, from 0.
        scores: (N,) predicted IoU.
        outlines: (N,) in pixels of the scene.
    """

    def __init__(self, cells: list[Cell], store: WindowStore, min_area: int) -> None:
        shapely = require("shapely", "geo")
        kept = [store.read(cell) for cell in cells]
        parts = [part for arrays in kept for part in _unpacked(arrays)]
        features = np.concatenate([arrays["features"] for arrays in kept])
        scores = np.concatenate([arrays["scores"] for arrays in kept])
        order = np.argsort(features)
        outlines = np.empty(len(parts), object)
        outlines[:] = parts
        outlines = without_overlaps(outlines[order], scores[order])
        is_object = shapely.area(outlines) >= max(1, min_area)
        self.features, self.scores = features[order][is_object], scores[order][is_object]
        self.outlines = outlines[is_object]

    def labels(self, window: Window) -> LabelArray:
        """(H, W) int32 of a window: numbers of the objects from 1."""
        shapely, features = require("shapely", "geo"), require("rasterio.features", "geo")
        moved = shapely.transform(self.outlines, lambda xy: np.subtract(xy, (window.x, window.y)))
        frame = shapely.box(0, 0, window.width, window.height)
        shapes = [
            (shape, n) for n, shape in enumerate(moved, 1) if shapely.intersects(shape, frame)
        ]
        if not shapes:
            return np.zeros((window.height, window.width), np.int32)
        size = (window.height, window.width)
        return np.asarray(features.rasterize(shapes, out_shape=size, dtype="int32"))


def _unpacked(arrays: Arrays) -> list[Any]:
    content, ends = arrays["bytes"].tobytes(), np.cumsum(arrays["lengths"])
    starts = ends - arrays["lengths"]
    texts = [content[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    return list(require("shapely", "geo").from_wkb(texts))


def without_overlaps(
    outlines: NDArray[np.object_], scores: NDArray[np.float32]
) -> NDArray[np.object_]:
    """Take from each outline what one of a higher score covers; of equals, the first keeps it."""
    shapely = require("shapely", "geo")
    rank = np.empty(len(scores), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    above: dict[int, list[int]] = defaultdict(list)
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        if rank[b] < rank[a]:
            above[a].append(b)
    found = outlines.copy()
    for number, covering in above.items():
        # corners of pixels have whole numbers, which intersections keep
        left = shapely.difference(outlines[number], shapely.union_all(outlines[covering]))
        areas = [p for p in shapely.get_parts(left) if p.geom_type == "Polygon"]
        found[number] = shapely.union_all(areas)
    return found

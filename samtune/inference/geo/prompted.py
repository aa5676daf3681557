"""Objects of a scene that boxes and points of a vector file show."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.layers import POINTS
from samtune.data.geo.placing import find_on_scene, lie_apart, to_pixels
from samtune.data.geo.raster import Scene, read_window
from samtune.data.geo.vector import Polygons
from samtune.errors import UserError, require
from samtune.inference.geo.grid import Cell
from samtune.inference.geo.polygons import outline_parts
from samtune.inference.geo.specks import without_specks
from samtune.inference.geo.store import WindowStore
from samtune.inference.views import ImageViews, ask_in_views
from samtune.models.backend import Sam
from samtune.progress import Arrays
from samtune.types import LabelArray, Prompt, Window

# Around a box that is larger than a window, this share of its sides is seen too.
_MARGIN = 0.25
# What is larger than a window by more than this is read coarser.
_FINE = 2
# A point's object that reaches the edge of its window is looked at in windows larger by these.
_WIDER = (2, 4)


@dataclass(frozen=True)
class _Answer:
    outline: Any
    score: float
    is_cut: bool


class ScenePrompts:
    """Prompts of a vector file, each with the window that it is answered in.

    Args:
        scene: what the prompts lie on.
        features: polygons, whose bounds are the boxes, and points; those of one feature are of one
            object. Notes on those that lie elsewhere are added.
        cells: of the scene's grid.
        side: of windows, pixels.
        min_area: smaller parts of masks are left out, pixels.
        with_focus: small objects are looked at in a window around them.

    Attributes:
        cells: those with prompts.
        sha256: of the prompts.

    Raises:
        UserError: none of them lies on the scene.
    """

    def __init__(
        self,
        scene: Scene,
        features: Polygons,
        cells: list[Cell],
        side: int,
        min_area: int,
        with_focus: bool = True,
    ) -> None:
        self._scene, self._side, self._min_area = scene, side, min_area
        self._with_focus = with_focus
        whole = Window(0, 0, scene.height, scene.width)
        found = find_on_scene(features, scene, [whole]).polygons
        shapely = require("shapely", "geo")
        self._shapes = to_pixels(features, np.arange(len(features)), scene)
        self._is_point = np.isin(shapely.get_type_id(self._shapes), POINTS)
        bounds = shapely.bounds(self._shapes)
        is_near = np.isin(np.arange(len(features)), found) & np.isfinite(bounds).all(1)
        is_near &= shapely.intersects(self._shapes, shapely.box(0, 0, scene.width, scene.height))
        self._boxes = np.clip(bounds, 0, [scene.width, scene.height] * 2)
        is_near &= self._is_point | (self._boxes[:, 2:] > self._boxes[:, :2]).all(1)
        if not is_near.any():
            raise UserError(lie_apart(features, scene))
        if not is_near.all():
            count = f"{(~is_near).sum()} of {len(features)} prompts"
            features.notes.append(f"{count} lie beyond {scene.path} and were left out")
        self._numbers = _by_cell(cells, self._boxes, np.flatnonzero(is_near))
        self.cells = sorted(self._numbers, key=lambda cell: (cell.row, cell.column))
        self.sha256 = hashlib.sha256(b"".join(shapely.to_wkb(self._shapes))).hexdigest()

    def answer(self, cell: Cell, sam: Sam) -> Arrays:
        """Masks of the prompts of one window, as outlines in pixels of the scene."""
        numbers = self._numbers[cell]
        near = [number for number in numbers if _holds(cell.window, self._boxes[number])]
        found = dict(zip(near, self._masks(cell.window, near, sam), strict=True))
        for number in numbers:
            if number not in found:
                (found[number],) = self._masks(self._around(number, 1), [number], sam)
            for times in _WIDER if self._is_point[number] else ():
                if found[number].is_cut:
                    wider = self._around(number, times)
                    (found[number],) = self._masks(wider, [number], sam)
        return _packed([found[number] for number in numbers], numbers)

    def _around(self, number: int, times: int) -> Window:
        """A window around a prompt, larger than others by a factor or as its box needs."""
        x0, y0, x1, y1 = self._boxes[number]
        half = max(times * self._side, (1 + 2 * _MARGIN) * max(x1 - x0, y1 - y0)) / 2
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        left, top = max(0, int(x - half)), max(0, int(y - half))
        right = min(self._scene.width, int(np.ceil(x + half)))
        bottom = min(self._scene.height, int(np.ceil(y + half)))
        return Window(top, left, bottom - top, right - left)

    def _masks(self, window: Window, numbers: list[int], sam: Sam) -> list[_Answer]:
        """The best mask of each prompt; an empty one has an empty outline."""
        if not numbers:
            return []
        coarse = max(1.0, max(window.height, window.width) / (_FINE * self._side))
        hw = (int(np.ceil(window.height / coarse)), int(np.ceil(window.width / coarse)))
        image, is_valid = read_window(self._scene, window, hw if coarse > 1 else None)
        steps = np.array([window.width / hw[1], window.height / hw[0]])
        corner = (window.x, window.y)
        prompts = [self._prompt(number, corner, steps) for number in numbers]
        answers: dict[int, _Answer] = {}
        views = ImageViews(image, sam, with_focus=self._with_focus)
        for viewed in ask_in_views(sam, views, prompts):
            answer, masks = viewed.answer, viewed.masks(sam)
            for place, mask, score in zip(answer.indices, masks, answer.scores, strict=True):
                labels = without_specks((mask & is_valid).astype(np.int32), self._min_area)
                is_cut, outline = self._is_cut(labels, window), _outline(labels, window, steps)
                answers[place] = _Answer(outline, float(score), is_cut)
        return [answers[place] for place in range(len(numbers))]

    def _prompt(self, number: int, corner: tuple[int, int], steps: NDArray[np.float64]) -> Prompt:
        """In the frame of SAM, where whole numbers are the centres of pixels, boxes inclusive."""
        if self._is_point[number]:
            points = require("shapely", "geo").get_coordinates(self._shapes[number])
            places = ((points - corner) / steps - 0.5).astype(np.float32)
            return Prompt(places, np.ones(len(places), np.int64))
        box = (self._boxes[number].reshape(2, 2) - corner) / steps
        box[1] = np.maximum(box[0], box[1] - 1)
        return Prompt(box_xyxy=box.ravel().astype(np.float32))

    def _is_cut(self, labels: LabelArray, window: Window) -> bool:
        """Whether it reaches an edge of its window that is none of the scene."""
        scene = self._scene
        edges = (
            (labels[0], window.y > 0), (labels[-1], window.y + window.height < scene.height),
            (labels[:, 0], window.x > 0), (labels[:, -1], window.x + window.width < scene.width),
        )  # fmt: skip
        return any(bool(edge.any()) and is_inner for edge, is_inner in edges)


def _by_cell(
    cells: list[Cell], boxes: NDArray[np.float64], numbers: NDArray[np.intp]
) -> dict[Cell, list[int]]:
    """Each prompt with the cell in whose core its centre lies."""
    found: dict[Cell, list[int]] = defaultdict(list)
    by_place = {(cell.row, cell.column): cell for cell in cells}
    rows = np.array(sorted({cell.core.y for cell in cells}))
    columns = np.array(sorted({cell.core.x for cell in cells}))
    for number in numbers.tolist():
        x, y = (boxes[number, :2] + boxes[number, 2:]) / 2
        row, column = (np.searchsorted(e, v, "right") - 1 for e, v in ((rows, y), (columns, x)))
        found[by_place[int(row), int(column)]].append(number)
    return found


def _holds(window: Window, box: NDArray[np.float64]) -> bool:
    x0, y0, x1, y1 = box
    return bool(
        x0 >= window.x and y0 >= window.y
        and x1 <= window.x + window.width and y1 <= window.y + window.height
    )  # fmt: skip


def _outline(labels: LabelArray, window: Window, steps: NDArray[np.float64]) -> Any:
    """Along edges of the scene's pixels, also where the mask is coarser."""
    shapely = require("shapely", "geo")
    hw = labels.shape
    parts = [part for _, part in outline_parts(Window(0, 0, *hw), labels)]
    return shapely.transform(
        shapely.union_all(parts), lambda xy: np.add(np.rint(xy * steps), (window.x, window.y))
    )


def _packed(answers: list[_Answer], features: list[int]) -> Arrays:
    """Geometries as one row of bytes, for a file holds numbers only."""
    texts = [require("shapely", "geo").to_wkb(answer.outline) for answer in answers]
    return {
        "bytes": np.frombuffer(b"".join(texts), np.uint8),
        "lengths": np.array([len(text) for text in texts], np.int64),
        "scores": np.array([answer.score for answer in answers], np.float32),
        "is_cut": np.array([answer.is_cut for answer in answers], np.bool_),
        "features": np.array(features, np.int64),
    }


class PromptedObjects:
    """Answers of all windows, in the order of their features, without overlaps.

    Attributes:
        features: (N,) numbers of their features, from 0.
        scores: (N,) predicted IoU.
        outlines: (N,) in pixels of the scene.
        last: (N,) the lowest row of pixels of each.
        num_cut: how many reach the edge of what was looked at.
    """

    def __init__(self, cells: list[Cell], store: WindowStore, min_area: int) -> None:
        shapely = require("shapely", "geo")
        kept = [store.read(cell) for cell in cells]
        parts = [part for arrays in kept for part in _unpacked(arrays)]
        features, scores, is_cut = (
            np.concatenate([arrays[name] for arrays in kept])
            for name in ("features", "scores", "is_cut")
        )
        self.num_cut = int(is_cut.sum())
        order = np.argsort(features)
        outlines = np.empty(len(parts), object)
        outlines[:] = parts
        outlines = without_overlaps(outlines[order], scores[order])
        is_object = shapely.area(outlines) >= max(1, min_area)
        self.features, self.scores = features[order][is_object], scores[order][is_object]
        self.outlines = outlines[is_object]

        self.last = shapely.bounds(self.outlines)[:, 3].astype(np.int64) - 1
        self._tree = shapely.STRtree(self.outlines)

    def labels(self, window: Window) -> LabelArray:
        """(H, W) int32 of a window: numbers of the objects from 1."""
        shapely, features = require("shapely", "geo"), require("rasterio.features", "geo")
        size, corner = (window.height, window.width), (window.x, window.y)
        frame = shapely.box(*corner, window.x + window.width, window.y + window.height)
        found = np.sort(self._tree.query(frame, predicate="intersects"))
        if not len(found):
            return np.zeros(size, np.int32)
        moved = shapely.transform(self.outlines[found], lambda xy: np.subtract(xy, corner))
        shapes = list(zip(moved, (found + 1).tolist(), strict=True))
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

"""Outlines of a scene's objects, given out as soon as all around them is known."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import require
from samtune.inference.geo.polygons import outline_parts, simplify_together
from samtune.types import Window

# How far around an object others change the way in which it is simplified, in tolerances.
_REACH = 4


@dataclass(frozen=True)
class Traced:
    """Objects of a scene, one entry each.

    Attributes:
        numbers: (N,) their labels.
        outlines: (N,) along pixel edges, in pixels of the scene.
        simple: (N,) the same simplified.
    """

    numbers: NDArray[np.int64]
    outlines: NDArray[np.object_]
    simple: NDArray[np.object_]


def trace_objects(
    parts: Iterable[tuple[Window, NDArray[np.int32]]], last: NDArray[np.int64], tolerance: float
) -> Iterator[Traced]:
    """Trace and simplify objects row of windows by row of windows.

    What is held is what reaches into the next row and what lies beside that, so memory grows with
    the width of a scene and not with its height.

    Args:
        parts: windows that do not overlap, row by row from the top, with their labels; 0 is nothing.
        last: (N,) of labels 1 to N, a row of pixels in the last window that holds a part of it.
        tolerance: of the simplified outlines, pixels; see `simplify_together`.
    """
    held = _Held(last, tolerance)
    for _, row in groupby(parts, key=lambda part: part[0].y):
        end = 0
        for window, labels in row:
            held.add(window, labels)
            end = window.y + window.height
        yield held.release(end)
    yield held.release(None)


class _Held:
    """Objects that are not complete, and complete ones beside them.

    How an outline is simplified depends on what lies near it: each is simplified together with that,
    once all of it is known, in the way in which its neighbours are in other rows.
    """

    def __init__(self, last: NDArray[np.int64], tolerance: float) -> None:
        self._last, self._tolerance = last, tolerance
        self._reach = _REACH * (tolerance + 1)
        self._open: dict[int, list[Any]] = {}
        self._beside: dict[int, Any] = {}
        self._given_out: dict[int, Any] = {}

    def add(self, window: Window, labels: NDArray[np.int32]) -> None:
        for number, polygon in outline_parts(window, labels):
            self._open.setdefault(number, []).append(polygon)

    def release(self, end: int | None) -> Traced:
        """Those that are complete, with all near them, above a row of pixels; `None` for all."""
        shapely = require("shapely", "geo")
        for number, pieces in self._open.items():
            self._open[number] = pieces if len(pieces) == 1 else [shapely.union_all(pieces)]
        # in one order whenever, for the first of two says where their border begins
        known = dict(sorted([*((n, o) for n, (o,) in self._open.items()), *self._beside.items()]))
        numbers, outlines = np.array(list(known), np.int64), _array(list(known.values()))
        is_open = np.isin(numbers, list(self._open))
        is_done = is_open.copy()
        if end is not None and len(outlines):
            is_done &= shapely.bounds(outlines)[:, 3] < end - self._reach
            is_done &= self._last[numbers - 1] < end
        near = self._near(outlines, outlines[is_done])
        simple = outlines.copy()
        simple[near] = simplify_together(outlines[near], self._tolerance)
        is_open &= ~is_done
        beside = np.setdiff1d(self._near(outlines, outlines[is_open]), np.flatnonzero(is_open))
        self._open = {int(numbers[n]): [outlines[n]] for n in np.flatnonzero(is_open)}
        self._beside = {int(numbers[n]): outlines[n] for n in beside}
        final = _less(simple[is_done], _array(list(self._given_out.values())))
        self._given_out |= dict(zip(numbers[is_done].tolist(), final, strict=True))
        self._given_out = {number: self._given_out[number] for number in self._beside}
        return Traced(numbers[is_done], outlines[is_done], final)

    def _near(self, known: NDArray[np.object_], some: NDArray[np.object_]) -> NDArray[np.intp]:
        """Which of the known lie near some, in order."""
        tree = require("shapely", "geo").STRtree(known)
        return np.unique(tree.query(some, predicate="dwithin", distance=self._reach)[1])


def _less(shapes: NDArray[np.object_], others: NDArray[np.object_]) -> NDArray[np.object_]:
    """What others do not cover: in rare cases simplifying together once more came out otherwise."""
    shapely = require("shapely", "geo")
    one, other = shapely.STRtree(others).query(shapes, predicate="intersects")
    is_shared = shapely.area(shapely.intersection(shapes[one], others[other])) > 0
    shapes = shapes.copy()
    for number, taken in zip(one[is_shared].tolist(), others[other[is_shared]], strict=True):
        left = shapely.get_parts(shapely.difference(shapes[number], taken))
        shapes[number] = shapely.union_all(left[shapely.area(left) > 0])
    return shapes


def _array(items: list[Any]) -> NDArray[np.object_]:
    found = np.empty(len(items), object)
    found[:] = items
    return found

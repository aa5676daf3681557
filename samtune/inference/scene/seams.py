"""Objects of neighbouring windows that are one: they agree where both windows see them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from samtune.inference.scene.grid import Cell, common, inside
from samtune.inference.scene.store import WindowStore

# IoU of two masks within the overlap from which they are the same object.
_SAME = 0.5
# An object that no neighbour knows must lie in its window's core by this share.
_MOSTLY = 0.5


class Seams:
    """Which objects of all windows are one object of the scene.

    Args:
        cells: of the grid.
        store: with `labels` (H, W), 0 or the number of an object from 1, and `scores` (N,) of each.
        min_area: objects of the scene with fewer pixels are left out.

    Attributes:
        areas: (N,) pixels of the objects of the scene.
        scores: (N,) predicted IoU, the mean over their parts by pixels.
    """

    def __init__(self, cells: list[Cell], store: WindowStore, min_area: int = 1) -> None:
        self._store = store
        self._cells = {(cell.row, cell.column): cell for cell in cells}
        counts = [len(store.read(cell)["scores"]) for cell in cells]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._start = {cell: int(start) for cell, start in zip(cells, starts[:-1], strict=True)}
        self._parent = np.arange(int(starts[-1]))
        self._is_linked = np.zeros(int(starts[-1]), np.bool_)
        for cell in cells:
            for neighbour in self._later_neighbours(cell):
                self._link(cell, neighbour)
        self._number(cells, min_area)

    def _labels(self, cell: Cell) -> NDArray[np.int32]:
        return self._store.read(cell)["labels"]

    def _scores(self, cell: Cell) -> NDArray[np.float32]:
        return self._store.read(cell)["scores"]

    def _later_neighbours(self, cell: Cell) -> Iterator[Cell]:
        """To the right and in the next row: each pair of neighbours comes once."""
        for row, column in ((0, 1), (1, -1), (1, 0), (1, 1)):
            if found := self._cells.get((cell.row + row, cell.column + column)):
                yield found

    def _link(self, one: Cell, other: Cell) -> None:
        shared = common(one.window, other.window)
        if shared is None:
            return
        a, b = (self._labels(c)[inside(shared, c.window)].ravel() for c in (one, other))
        sizes_a, sizes_b = np.bincount(a), np.bincount(b)
        is_both = (a > 0) & (b > 0)
        pairs, overlaps = np.unique(np.stack([a[is_both], b[is_both]]), axis=1, return_counts=True)
        ious = overlaps / (sizes_a[pairs[0]] + sizes_b[pairs[1]] - overlaps)
        for x, y in pairs[:, ious >= _SAME].T.tolist():
            self._unite(self._start[one] + x - 1, self._start[other] + y - 1)

    def _unite(self, one: int, other: int) -> None:
        self._is_linked[[one, other]] = True
        one, other = self._root(one), self._root(other)
        self._parent[max(one, other)] = min(one, other)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = int(self._parent[number])
        return number

    def _number(self, cells: list[Cell], min_area: int) -> None:
        """Give objects of the scene numbers from 1, in the order in which they begin; 0 is none."""
        roots = np.array([self._root(n) for n in range(len(self._parent))], np.int64)
        areas, weights = np.zeros(len(roots), np.int64), np.zeros(len(roots))
        for cell in cells:
            own, inner = self._own(cell), self._core_areas(cell)
            np.add.at(areas, roots[own], inner)
            np.add.at(weights, roots[own], inner * self._scores(cell))
        kept = np.flatnonzero(areas >= max(1, min_area))
        numbers = np.zeros(len(roots), np.int64)
        numbers[kept] = np.arange(1, len(kept) + 1)
        self._numbers = numbers[roots]
        self.areas = areas[kept]
        self.scores = weights[kept] / areas[kept]

    def _own(self, cell: Cell) -> slice:
        """Where the objects of a window are among those of all windows."""
        start = self._start[cell]
        return slice(start, start + len(self._scores(cell)))

    def _core_areas(self, cell: Cell) -> NDArray[np.int64]:
        """Pixels of each object in the core of its window; 0 for what belongs to a neighbour."""
        labels, count = self._labels(cell), len(self._scores(cell)) + 1
        core = labels[inside(cell.core, cell.window)]
        inner, whole = (np.bincount(v.ravel(), minlength=count)[1:] for v in (core, labels))
        is_kept = self._is_linked[self._own(cell)] | (inner >= _MOSTLY * whole)
        return np.where(is_kept, inner, 0)

    def core_labels(self, cell: Cell) -> NDArray[np.int32]:
        """(H, W) of the core: numbers of the scene's objects."""
        numbers = np.where(self._core_areas(cell) > 0, self._numbers[self._own(cell)], 0)
        core = self._labels(cell)[inside(cell.core, cell.window)]
        return np.concatenate([[0], numbers])[core].astype(np.int32)

"""Objects of neighbouring windows that are one: they agree where both windows see them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from samtune.inference.geo.grid import Cell, common, inside
from samtune.inference.geo.store import WindowStore

# IoU of two masks within the overlap from which they are the same object.
_SAME = 0.5
# An object that no neighbour knows must lie in its window's core by this share.
_MOSTLY = 0.5
# Steps in rows and columns to the neighbours that come after a window.
_LATER = ((0, 1), (1, -1), (1, 0), (1, 1))


def are_one(
    overlaps: NDArray[np.int64], sizes: NDArray[np.int64], other_sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether objects of two windows are the same, by their pixels where both windows see them.

    Args:
        overlaps: (N,) pixels that both have, at least one.
        sizes, other_sizes: (N,) pixels of each.
    """
    return np.asarray(overlaps >= _SAME * (sizes + other_sizes - overlaps))


class Seams:
    """Which objects of all windows are one object of the scene.

    Args:
        cells: of the grid.
        store: with `labels` (H, W), 0 or the number of an object from 1, and `scores` (N,) of each;
            where they have classes, `classes` (N,) names and `class_scores` (N,).
        min_area: objects of the scene with fewer pixels are left out.

    Attributes:
        areas: (N,) pixels of the objects of the scene.
        scores: (N,) predicted IoU, the mean over their parts by pixels.
        last: (N,) a row of pixels in the last core that holds a part of each.
        classes: (N,) names: of several parts the one with most pixels, weighed by how likely it is;
            `None` where nobody told any.
        class_scores: (N,) how likely they are: its share of the object's pixels, so weighed.
    """

    classes: NDArray[np.object_] | None = None
    class_scores: NDArray[np.float64]

    def __init__(self, cells: list[Cell], store: WindowStore, min_area: int = 1) -> None:
        self._store = store
        self._cells = {(cell.row, cell.column): cell for cell in cells}
        counts = [len(store.read(cell)["scores"]) for cell in cells]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._start = {cell: int(start) for cell, start in zip(cells, starts[:-1], strict=True)}
        self._parent = np.arange(int(starts[-1]))
        self._is_linked = np.zeros(int(starts[-1]), np.bool_)
        for cell in cells:
            for neighbour in self._neighbours(cell):
                if (neighbour.row, neighbour.column) > (cell.row, cell.column):
                    self._link(cell, neighbour)
        self._number(cells, min_area)

    def _labels(self, cell: Cell) -> NDArray[np.int32]:
        return self._store.read(cell)["labels"]

    def _scores(self, cell: Cell) -> NDArray[np.float32]:
        return self._store.read(cell)["scores"]

    def _neighbours(self, cell: Cell) -> Iterator[Cell]:
        for row, column in (*_LATER, *((-row, -column) for row, column in _LATER)):
            if found := self._cells.get((cell.row + row, cell.column + column)):
                yield found

    def _link(self, one: Cell, other: Cell) -> None:
        shared = common(one.window, other.window)
        if shared is None:
            return
        a, b = (self._labels(c)[inside(shared, c.window)].ravel() for c in (one, other))
        sizes_a, sizes_b = np.bincount(a), np.bincount(b)
        is_both = (a > 0) & (b > 0)
        pairs = a[is_both].astype(np.int64) * len(sizes_b) + b[is_both]
        pairs, overlaps = np.unique(pairs, return_counts=True)
        in_a, in_b = np.divmod(pairs, len(sizes_b))
        is_same = are_one(overlaps, sizes_a[in_a], sizes_b[in_b])
        for x, y in zip(in_a[is_same].tolist(), in_b[is_same].tolist(), strict=True):
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
        count = len(self._parent)
        self._roots = np.array([self._root(n) for n in range(count)], np.int64)
        self._is_kept = np.concatenate([np.zeros(0, np.bool_), *map(self._kept_of, cells)])
        scores = np.concatenate([np.zeros(0), *map(self._scores, cells)])
        names, kinds, sure = self._told(cells)
        areas, weights, last = np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.int64)
        votes = np.zeros((count, len(names)), np.float32)
        for cell in cells:
            found, sizes = np.unique(self._painted(cell), return_counts=True)
            found, sizes = found[found > 0] - 1, sizes[found > 0]
            np.add.at(areas, self._roots[found], sizes)
            np.add.at(weights, self._roots[found], sizes * scores[found])
            last[self._roots[found]] = cell.core.y
            if len(names):
                np.add.at(votes, (self._roots[found], kinds[found]), sizes * sure[found])
        kept = np.flatnonzero(areas >= max(1, min_area))
        numbers = np.zeros(count, np.int32)
        numbers[kept] = np.arange(1, len(kept) + 1)
        self._numbers = np.concatenate([np.zeros(1, np.int32), numbers[self._roots]])
        self.areas, self.last = areas[kept], last[kept]
        self.scores = weights[kept] / areas[kept]
        if len(names):
            self.classes = names[votes[kept].argmax(1)].astype(object)
            self.class_scores = votes[kept].max(1) / areas[kept]

    def _told(
        self, cells: list[Cell]
    ) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.float64]]:
        """Names of classes, and of the objects of all windows the number of its name and how likely."""
        told, sure = [np.zeros(0, np.str_)], [np.zeros(0, np.float32)]
        for cell in cells:  # one in memory at a time: their labels are large
            found = self._store.read(cell)
            if "classes" in found:
                told.append(found["classes"])
                sure.append(found["class_scores"])
        names, kinds = np.unique(np.concatenate(told), return_inverse=True)
        return names, kinds, np.concatenate(sure).astype(np.float64)

    def _own(self, cell: Cell) -> slice:
        """Where the objects of a window are among those of all windows."""
        start = self._start[cell]
        return slice(start, start + len(self._scores(cell)))

    def _kept_of(self, cell: Cell) -> NDArray[np.bool_]:
        """Which objects of a window are its own, and not a neighbour's."""
        labels, count = self._labels(cell), len(self._scores(cell)) + 1
        core = labels[inside(cell.core, cell.window)]
        inner, whole = (np.bincount(v.ravel(), minlength=count)[1:] for v in (core, labels))
        return self._is_linked[self._own(cell)] | ((whole > 0) & (inner >= _MOSTLY * whole))

    def _painted(self, cell: Cell) -> NDArray[np.int64]:
        """(H, W) of the core: objects of all windows from 1.

        Where the window itself saw nothing there may be an object of a neighbour that it does not
        know any part of: that one is not cut off at the seam.
        """
        own = self._own(cell)
        core = self._members(own, self._is_kept[own])[self._labels(cell)]
        core = core[inside(cell.core, cell.window)]
        at_home = self._roots[own][self._is_kept[own]]
        for neighbour in self._neighbours(cell):
            if shared := common(cell.core, neighbour.window):
                theirs = self._own(neighbour)
                is_guest = self._is_kept[theirs] & ~np.isin(self._roots[theirs], at_home)
                labels = self._labels(neighbour)[inside(shared, neighbour.window)]
                seen = core[inside(shared, cell.core)]
                np.copyto(seen, self._members(theirs, is_guest)[labels], where=seen == 0)
        return core

    def _members(self, own: slice, is_shown: NDArray[np.bool_]) -> NDArray[np.int64]:
        """What the labels of a window become: numbers among the objects of all windows."""
        return np.concatenate([[0], np.where(is_shown, np.arange(own.start, own.stop) + 1, 0)])

    def core_labels(self, cell: Cell) -> NDArray[np.int32]:
        """(H, W) of the core: numbers of the scene's objects."""
        return np.asarray(self._numbers[self._painted(cell)])

"""Connected areas of one class over all windows of a scene, so that a map of classes has outlines."""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from samtune.inference.geo.grid import Cell, inside
from samtune.inference.geo.store import WindowStore

# How likely a class is, as it is kept: in one byte a pixel
_STEPS = 255


class Patches:
    """Areas of neighbouring pixels (4-neighbourhood) of one class, without a seam between windows.

    Args:
        cells: of the grid, whose cores cover every pixel once.
        store: with `labels` (H, W) numbers of classes, 0 is background, and `sure` (H, W) from
            `as_bytes`.
        min_area: smaller areas are left out, pixels.

    Attributes:
        areas: (N,) pixels.
        classes: (N,) numbers of classes.
        scores: (N,) how likely their pixels are of their class, on average.
        last: (N,) a row of pixels in the last core that holds a part of each.
    """

    def __init__(self, cells: list[Cell], store: WindowStore, min_area: int = 1) -> None:
        self._store = store
        self._start: dict[Cell, int] = {}
        self._parent = np.zeros(0, np.int64)
        rows: list[NDArray[np.float64]] = [np.zeros((4, 0))]
        edges: dict[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for cell in cells:  # a core in memory at a time, and the lower and right edges of all
            parts, classes, sure = self._parts(cell)
            count = int(parts.max(initial=0))
            self._start[cell] = start = len(self._parent)
            self._parent = np.concatenate([self._parent, start + np.arange(count)])
            rows.append(_of_parts(parts, classes, sure, count, cell.core.y))
            numbers = np.where(parts > 0, parts + start, 0)
            self._join(edges.get((cell.row - 1, cell.column)), numbers[0], classes[0], 0)
            self._join(edges.get((cell.row, cell.column - 1)), numbers[:, 0], classes[:, 0], 1)
            edges[cell.row, cell.column] = (
                np.stack([numbers[-1], classes[-1]]), np.stack([numbers[:, -1], classes[:, -1]])
            )  # fmt: skip
        self._number(np.concatenate(rows, axis=1), min_area)

    def _parts(
        self, cell: Cell
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Numbers of the core's own areas from 1, classes and how likely they are, (H, W) each."""
        found, core = self._store.read(cell), inside(cell.core, cell.window)
        classes = found["labels"][core].astype(np.int64)
        parts = np.asarray(label(classes, background=0, connectivity=1), np.int64)
        return parts, classes, found["sure"][core] / _STEPS

    def _join(
        self, edges: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
        numbers: NDArray[np.int64], classes: NDArray[np.int64], side: int,
    ) -> None:  # fmt: skip
        """Unite areas of one class along a border, where there is a neighbour."""
        if edges is None:
            return
        theirs, their_classes = edges[side]
        is_same = (classes > 0) & (classes == their_classes)
        for one, other in np.unique(np.stack([theirs, numbers])[:, is_same], axis=1).T.tolist():
            roots = sorted((self._root(one - 1), self._root(other - 1)))
            self._parent[roots[1]] = roots[0]

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = int(self._parent[number])
        return number

    def _number(self, of_parts: NDArray[np.float64], min_area: int) -> None:
        """Give the areas of the scene numbers from 1, in the order in which they begin."""
        sizes, kinds, sums, last = of_parts
        count = len(self._parent)
        roots = np.array([self._root(number) for number in range(count)], np.int64)
        areas, sure = (np.bincount(roots, values, minlength=count) for values in (sizes, sums))
        ends = np.zeros(count)
        np.maximum.at(ends, roots, last)
        kept = np.flatnonzero(areas >= max(1, min_area))
        numbers = np.zeros(count, np.int32)
        numbers[kept] = np.arange(1, len(kept) + 1)
        self._numbers = np.concatenate([np.zeros(1, np.int32), numbers[roots]])
        self.areas, self.last = areas[kept].astype(np.int64), ends[kept].astype(np.int64)
        self.classes, self.scores = kinds[kept].astype(np.int64), sure[kept] / areas[kept]

    def core_labels(self, cell: Cell) -> NDArray[np.int32]:
        """(H, W) of the core: numbers of the scene's areas; 0 is background, or too small."""
        parts = self._parts(cell)[0]
        return np.asarray(self._numbers[np.where(parts > 0, parts + self._start[cell], 0)])


def _of_parts(
    parts: NDArray[np.int64], classes: NDArray[np.int64], sure: NDArray[np.float64], count: int,
    row: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Of each area of a core: its pixels, its class, the sum of how likely they are, the core's row."""
    flat = parts.ravel()
    found = np.zeros((4, count + 1))
    found[0] = np.bincount(flat, minlength=count + 1)
    found[1][flat] = classes.ravel()
    found[2] = np.bincount(flat, sure.ravel(), minlength=count + 1)
    found[3] = row
    return found[:, 1:]


def as_bytes(sure: NDArray[np.float32]) -> NDArray[np.uint8]:
    """How likely pixels are of their class (0 to 1), as it is kept."""
    return np.rint(np.clip(sure, 0, 1) * _STEPS).astype(np.uint8)

"""Results of windows: on disk until the scene is done, the last ones in memory too."""

from collections import OrderedDict

from samtune.errors import UserError
from samtune.inference.geo.grid import Cell
from samtune.progress import Arrays, Progress

# Windows that neighbours ask for again: the bytes of 32 with 1024 pixels a side.
_MEMORY = 2**27


class WindowStore:
    """Arrays by the cell of the scene's grid.

    Args:
        progress: keeps them; its causes are all that results depend on.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._read_before: OrderedDict[Cell, Arrays] = OrderedDict()

    def is_done(self, cell: Cell) -> bool:
        place = self._progress.place(cell.row, cell.column, suffix=".npz")
        return place.exists() and self._progress.read_arrays(place) is not None

    def write(self, cell: Cell, arrays: Arrays) -> None:
        """Keep arrays of numbers under their names."""
        place = self._progress.place(cell.row, cell.column, suffix=".npz")
        self._progress.write_arrays(place, arrays)

    def read(self, cell: Cell) -> Arrays:
        """What was written; the last ones are kept in memory.

        Raises:
            UserError: it is gone.
        """
        if (arrays := self._read_before.pop(cell, None)) is None:
            place = self._progress.place(cell.row, cell.column, suffix=".npz")
            arrays = self._progress.read_arrays(place)
            if arrays is None:
                raise UserError(f"{place} is gone or damaged: start the same command again")
        self._read_before[cell] = arrays
        while len(self._read_before) > 1 and self._num_bytes() > _MEMORY:
            self._read_before.popitem(last=False)
        return arrays

    def _num_bytes(self) -> int:
        kept = self._read_before.values()
        return sum(array.nbytes for arrays in kept for array in arrays.values())

    def remove(self) -> None:
        """Forget everything."""
        self._progress.remove()

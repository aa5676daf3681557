"""Results of windows on disk, so that an interrupted run goes on where it stopped."""

import io
import json
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.files import read_json, write_bytes, write_json
from samtune.inference.scene.grid import Cell

_SETTINGS = "settings.json"
# Windows that neighbours ask for again: the bytes of 32 with 1024 pixels a side.
_MEMORY = 2**27

Arrays = dict[str, NDArray[Any]]


class WindowStore:
    """A folder with one file for each window that is done.

    Args:
        folder: made if it is not there.
        settings: all that results depend on; a folder of other settings is not gone on with.
        is_discarded: a folder of other settings is begun anew instead.

    Raises:
        UserError: the folder holds results of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], is_discarded: bool = False) -> None:
        self.folder = folder
        note = folder / _SETTINGS
        settings = json.loads(json.dumps(settings))  # as they come back from the file
        kept = read_json(note) if note.exists() else settings
        if kept != settings and is_discarded:
            self.remove()
        elif kept != settings:
            keys = kept.keys() | settings.keys()
            changed = sorted(key for key in keys if kept.get(key) != settings.get(key))
            raise UserError(
                f"{folder} holds windows that were made otherwise ({', '.join(changed)} differ): give "
                "the same settings to go on, or --overwrite to begin anew"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(note, settings)
        self._read_before: OrderedDict[Cell, Arrays] = OrderedDict()

    def _file(self, cell: Cell) -> Path:
        return self.folder / f"{cell.row:05d}_{cell.column:05d}.npz"

    def is_done(self, cell: Cell) -> bool:
        return self._file(cell).exists()

    def write(self, cell: Cell, arrays: Arrays) -> None:
        """Keep arrays of numbers under their names."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_bytes(self._file(cell), buffer.getvalue(), is_durable=False)

    def read(self, cell: Cell) -> Arrays:
        """What was written; the last ones are kept in memory."""
        if (arrays := self._read_before.pop(cell, None)) is None:
            arrays = self._read(cell)
        self._read_before[cell] = arrays
        while len(self._read_before) > 1 and self._num_bytes() > _MEMORY:
            self._read_before.popitem(last=False)
        return arrays

    def _num_bytes(self) -> int:
        kept = self._read_before.values()
        return sum(array.nbytes for arrays in kept for array in arrays.values())

    def _read(self, cell: Cell) -> Arrays:
        try:
            with np.load(self._file(cell), allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{self._file(cell)} is damaged ({error}): delete it and start again"
            ) from error

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

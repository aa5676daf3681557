"""Results of windows on disk, so that an interrupted run goes on where it stopped."""

import io
import shutil
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.files import read_json, write_bytes, write_json
from samtune.inference.scene.grid import Cell

_SETTINGS = "settings.json"


Arrays = dict[str, NDArray[Any]]


def partial_folder(out: Path) -> Path:
    """Where windows lie until the file is written."""
    return out.with_name(f"{out.name}.partial")


class WindowStore:
    """A folder with one file for each window that is done.

    Args:
        folder: made if it is not there.
        settings: all that results depend on; a folder of other settings is not gone on with.

    Raises:
        UserError: the folder holds results of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        note = folder / _SETTINGS
        if note.exists() and (kept := read_json(note)) != settings:
            changed = [key for key in settings if kept.get(key) != settings[key]]
            raise UserError(
                f"{folder} holds windows that were made otherwise ({', '.join(changed)} differ): give "
                "the same settings to go on, or --overwrite to begin anew"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(note, settings)
        self.read = lru_cache(maxsize=64)(self._read)

    def _file(self, cell: Cell) -> Path:
        return self.folder / f"{cell.row:05d}_{cell.column:05d}.npz"

    def is_done(self, cell: Cell) -> bool:
        return self._file(cell).exists()

    def write(self, cell: Cell, arrays: Arrays) -> None:
        """Keep arrays of numbers under their names."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_bytes(self._file(cell), buffer.getvalue(), is_durable=False)

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

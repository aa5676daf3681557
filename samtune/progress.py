"""What is done of a long work, kept in a folder until all is, so that the same call goes on.

A file is named by all that its content comes from, the versions of what computes among it. What has
changed since is made again, the rest is not; nothing else has to be compared.
"""

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.files import drop_folder, sweep, write_bytes
from samtune.parsing import read_json

# What numpy, zipfile and zlib raise on half-written or flipped bytes.
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
Arrays = dict[str, NDArray[Any]]
# Another version of these may answer otherwise, and what two have made would stand side by side
_COMPUTING = ("samtune", "torch", "transformers")


class Progress:
    """Results by their causes.

    Args:
        folder: made with the first result, or by `begin`; `files.partial_folder` names it.
        causes: what all results come from, such as model and settings, as JSON can hold it.
    """

    def __init__(self, folder: Path, *causes: Any) -> None:
        self.folder = folder
        self._causes = ({name: version(name) for name in _COMPUTING}, *causes)

    @property
    def is_begun(self) -> bool:
        """Whether a work of the same causes was begun here."""
        return self.place("begun").exists()

    def begin(self) -> None:
        """Make the folder: from now on the same call goes on, and is not refused."""
        self.write(self.place("begun"), True)

    def place(self, *causes: Any, suffix: str = ".json") -> Path:
        """Where the result that also comes from these is, or will be."""
        text = json.dumps([*self._causes, *causes], sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}{suffix}"

    def write(self, place: Path, content: Any) -> None:
        """Keep what JSON can hold."""
        write_bytes(place, json.dumps(content).encode(), is_durable=False)

    def read(self, place: Path) -> Any | None:
        """What was written; `None` without it, or where a power cut has left half of it."""
        try:
            return read_json(place)
        except UserError:
            return None

    def kept(self, place: Path, make: Callable[[], Any]) -> Any:
        """What is there, or else what is made now, which is kept from then on."""
        found = self.read(place)
        if found is None:
            self.write(place, found := make())
        return found

    def write_arrays(self, place: Path, arrays: Arrays) -> None:
        """Keep arrays of numbers under their names."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_bytes(place, buffer.getvalue(), is_durable=False)

    def read_arrays(self, place: Path) -> Arrays | None:
        """Arrays that were written; `None` without them, or where they are damaged."""
        try:
            with np.load(place, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except _DAMAGED:
            return None

    def remove(self) -> None:
        """Forget everything, half-written files too; what others have put into the folder stays."""
        sweep(self.folder)
        for file in self.folder.glob("*"):
            if re.fullmatch(r"[0-9a-f]{64}\.(json|npz)", file.name):
                file.unlink(missing_ok=True)
        drop_folder(self.folder)


def stamp(path: Path) -> list[Any]:
    """What says of a file that it is the same as before: its place, size and time of change.

    Raises:
        UserError: there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]

"""Files of Arrow, looked through before they are used.

They are mapped into memory as they are, and whoever follows a wrong offset ends the whole process.
So a process of its own walks through all offsets first, and may die of it.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from samtune.errors import UserError, first_line, require
from samtune.files import plain_parts
from samtune.parsing import read_json

_SOUND = "sound"


def require_sound(folder: Path) -> None:
    """Refuse what `save_to_disk` of Hugging Face's datasets wrote, if it is damaged.

    Args:
        folder: of a data set, or of several in folders by split.

    Raises:
        UserError: a file is missing, damaged, or lies elsewhere.
    """
    states = [state for state in sorted(folder.glob("**/state.json")) if state.is_file()]
    files = [file for state in states for file in _named_in(state)]
    if not files:
        return
    command = [sys.executable, "-P", "-m", "samtune.data.arrow", *map(str, files)]
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}  # the child finds what this process finds
    look = subprocess.run(  # noqa: S603
        command,
        env=os.environ | paths,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    told = look.stdout.splitlines()
    sound = told.count(_SOUND)
    if sound < len(files):
        reason = told[sound] if len(told) > sound else "offsets in it lead out of it"
        raise UserError(f"{files[sound]} is damaged: {reason}")


def _named_in(state: Path) -> list[Path]:
    """The files that a data set's state.json names; they lie beside it."""
    content = read_json(state)
    entries = content.get("_data_files") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{state} names no files ('_data_files'): save the data set again")
    files = []
    for entry in entries:
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or plain_parts(name) != (name,):
            raise UserError(f"{state} names the file {name!r}: expected one beside it")
        files.append(state.parent / name)
    return files


def _look_through(files: Iterable[str]) -> None:
    """Walk through all offsets of files until one is wrong; tells a line for each."""
    pyarrow = require("pyarrow", "hub")
    for file in files:
        try:
            with pyarrow.memory_map(file) as source, pyarrow.ipc.open_stream(source) as batches:
                for batch in batches:
                    batch.validate(full=True)
        except Exception as error:  # whatever the bytes make the library do
            print(first_line(error), flush=True)  # noqa: T201
            return
        print(_SOUND, flush=True)  # noqa: T201


if __name__ == "__main__":
    _look_through(sys.argv[1:])

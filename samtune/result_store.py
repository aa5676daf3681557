"""Results of the parts of a long work, kept in a folder until all are done, so that it goes on.

A file is named by all that its content comes from. What has changed since is made again, the rest is
not; nothing else has to be compared.
"""

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.files import read_json, write_bytes


class ResultStore:
    """Results by their causes.

    Args:
        folder: made with the first result.
        causes: what all results come from, such as model and settings, as JSON can hold it.
    """

    def __init__(self, folder: Path, *causes: Any) -> None:
        self.folder, self._causes = folder, causes

    def place(self, *causes: Any) -> Path:
        """Where the result that also comes from these is, or will be."""
        text = json.dumps([*self._causes, *causes], sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def write(self, place: Path, content: Any) -> None:
        write_bytes(place, json.dumps(content).encode(), is_durable=False)

    def read(self, place: Path) -> Any | None:
        """What was written; `None` without it, or where a power cut has left half of it."""
        try:
            return read_json(place)
        except UserError:
            return None

    def remove(self) -> None:
        """Forget everything; what others have put into the folder stays."""
        for file in self.folder.glob("*.json"):
            if re.fullmatch(r"[0-9a-f]{64}", file.stem):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

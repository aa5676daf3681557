"""Masks of slices on disk, so that a search through a volume goes on where it was interrupted."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.files import read_json, write_bytes, write_json
from samtune.inference.volume_linking import SliceMask

_SETTINGS = "settings.json"


class SliceStore:
    """A folder with one file for each slice that is done.

    Args:
        folder: made if it is not there.
        settings: all that the masks depend on, volume included, as it comes back from a JSON file.
        is_overwriting: masks of other settings are forgotten.

    Raises:
        UserError: the folder holds masks of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], is_overwriting: bool) -> None:
        self.folder = folder
        note = folder / _SETTINGS
        if note.exists() and (kept := read_json(note)) != settings:
            if not is_overwriting:
                kept = kept if isinstance(kept, dict) else {}
                changed = [key for key in settings if kept.get(key) != settings[key]]
                raise UserError(
                    f"{folder} holds slices that were searched otherwise ({', '.join(changed)} "
                    "differ): give the same settings to go on, or --overwrite to begin anew"
                )
            self.remove()
        write_json(note, settings)

    def masks(self, number: int, find: Callable[[], Sequence[SliceMask]]) -> Sequence[SliceMask]:
        """The masks of a slice: those kept, or what `find` finds, which is kept from then on."""
        place = self.folder / f"{number:05d}.json"
        if (kept := _read(place)) is not None:
            return kept
        found = find()
        write_bytes(place, json.dumps(found).encode(), is_durable=False)
        return found

    def remove(self) -> None:
        """Forget everything; what others have put into the folder stays."""
        for file in (*self.folder.glob("[0-9]" * 5 + ".json"), self.folder / _SETTINGS):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def _read(place: Path) -> list[SliceMask] | None:
    """What was kept; `None` without it, or where a power cut has left half of it."""
    try:
        return [
            SliceMask({"size": rle["size"], "counts": str(rle["counts"])}, float(score))
            for rle, score in read_json(place)
        ]
    except (UserError, KeyError, TypeError, ValueError):
        return None

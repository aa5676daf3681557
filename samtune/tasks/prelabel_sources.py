"""Where pre-labels come from: a detector's boxes, or what the model finds by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError
from samtune.inference.settings import SearchSettings
from samtune.tasks.searching import make_finder, whole_search

if TYPE_CHECKING:
    from samtune.inference.prelabel.store import PrelabelStore
    from samtune.models.backend import Sam
    from samtune.models.calibration import Calibration


def require_source(
    boxes: str | Path | None, images_json: str | Path | None, min_score: float
) -> None:
    """What is of a detector means nothing without one.

    Raises:
        UserError: it is given.
    """
    if boxes is not None:
        return
    if images_json is not None:
        raise UserError("images_json is of a detector's results: give boxes, or leave it out")
    if min_score:
        raise UserError(
            "min_score is of a detector's boxes, and none are given: for what the model's head finds "
            "set search.min_quality"
        )


def open_source(
    folder: Path, sam: Sam, with_focus: bool, search: SearchSettings | None
) -> tuple[PrelabelStore, Calibration | None, str]:
    """What makes the masks, what calibrates their scores, and how they would be calibrated.

    Args:
        folder: where what is done is kept.
        sam: with its reading.
        with_focus: small objects are looked at in a window around them.
        search: how the model finds the objects; `None` where a detector has.
    """
    from samtune.inference.automatic.candidates import calibrated
    from samtune.inference.instances import InstanceFinder
    from samtune.inference.prelabel.finding import FoundStore
    from samtune.inference.prelabel.store import PrelabelStore
    from samtune.inference.prelabel.summary import HINT, HINT_OF_HEAD

    if search is None:
        return PrelabelStore(folder, sam, sam.reading, with_focus), sam.calibration, HINT
    finder = make_finder(sam, search)
    look, own = whole_search(finder), None if finder.is_head else sam.calibration
    store = FoundStore(
        folder, sam, sam.reading, with_focus, lambda image: calibrated(look(image), own),
        finder.causes, _known_classes(sam, search),
    )  # fmt: skip
    if finder.is_head:
        return store, InstanceFinder(sam).calibration, HINT_OF_HEAD
    return store, own, HINT


def _known_classes(sam: Sam, search: SearchSettings) -> list[str]:
    """That a head may tell; a classifier of one's own says them with its answers."""
    from samtune.inference.naming import MaskNamer

    is_head = not search.classifier and "classes" in sam.heads
    return list(MaskNamer(sam).classes) if is_head else []

"""The one progress bar: in terminals and notebooks, and nowhere else."""

import sys
from collections.abc import Iterable
from typing import Any


def bar(
    items: Iterable[Any], what: str, unit: str, total: int | None = None, delay: float = 0
) -> Any:
    """Wrap what is gone through.

    Args:
        items: to go through.
        what: stands before the bar.
        unit: of the items, in the singular.
        total: how many there are, where they do not tell.
        delay: seconds before it is shown.
    """
    return _tqdm(iterable=items, desc=what, unit=unit, total=total, delay=delay)


def byte_bar(what: str, total: int | None, initial: int, is_shown: bool = True) -> Any:
    """A bar of bytes that is moved on by `update`.

    Args:
        what: stands before the bar.
        total: bytes; `None` if nobody says.
        initial: bytes that are there already.
        is_shown: draw it at all.
    """
    more = {} if is_shown else {"disable": True}
    return _tqdm(desc=what, unit="B", unit_scale=True, total=total, initial=initial, **more)


def _tqdm(**options: Any) -> Any:
    from tqdm.auto import tqdm

    # in a log file a bar would be noise; notebooks show it, though nothing there is a terminal
    is_notebook = "ipykernel" in sys.modules
    return tqdm(**{"disable": False if is_notebook else None, **options})

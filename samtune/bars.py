"""The one progress bar: in terminals and notebooks, and nowhere else."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Words before a bar are cut to so many letters, so that the bar has room in 80 columns.
_LETTERS = 28
_NUMBERS = "| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}"


def bar(
    items: Iterable[Any], what: str, unit: str, total: int | None = None, delay: float = 0
) -> Any:
    """Wrap what is gone through.

    Args:
        items: to go through.
        what: stands before the bar; without it none is drawn.
        unit: of the items, in the singular.
        total: how many there are, where they do not tell.
        delay: seconds before it is shown.
    """
    return _tqdm(iterable=items, desc=what, unit=unit, total=total, delay=delay)


def limited_bar(items: Sequence[Any], what: str, unit: str, seconds: float) -> Iterator[Any]:
    """The same until the time is over; what was not reached then does not count as missing.

    Args:
        items: to go through.
        what: stands before the bar.
        unit: of the items, in the singular.
        seconds: after which no other item follows; 0 for no limit.
    """
    shown, started = _tqdm(desc=what, unit=unit, total=len(items)), time.monotonic()
    for item in items:
        yield item
        shown.update()
        if seconds and time.monotonic() - started > seconds:
            shown.total = shown.n
            break
    shown.close()


def share_bar(what: str, initial: float = 0.0) -> Any:
    """A bar of what is over of a whole, in percent; it is moved on by setting `n`.

    Args:
        what: stands before the bar.
        initial: percent that are over already.
    """
    pattern = "{l_bar}{bar}| [{elapsed}<{remaining}]{postfix}"
    # what is left follows from the whole way, not from the last moments
    return _tqdm(desc=what, total=100.0, initial=initial, bar_format=pattern, smoothing=0)


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


def write_beside_bars(text: str, stream: Any) -> None:
    """Write a line; a bar that stands there is drawn anew below it."""
    if "tqdm" not in sys.modules:
        print(text, file=stream, flush=True)
        return
    from tqdm import tqdm

    tqdm.write(text, file=stream)
    stream.flush()


def _tqdm(desc: str, **options: Any) -> Any:
    from tqdm.auto import tqdm

    # in a log file a bar would be noise; notebooks show it, though nothing there is a terminal
    is_notebook = "ipykernel" in sys.modules
    what = desc if len(desc) <= _LETTERS else f"{desc[: _LETTERS - 3]}..."
    usual: dict[str, Any] = {
        "disable": not what or (False if is_notebook else None),
        "dynamic_ncols": True,
    }
    if options.get("total") is not None or hasattr(options.get("iterable"), "__len__"):
        usual["bar_format"] = "{l_bar}{bar}" + _NUMBERS
    return tqdm(desc=what, **{**usual, **options})

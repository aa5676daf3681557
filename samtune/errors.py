"""The error that a user can cause, what the machine lacks, and a missing optional package."""

import errno
import importlib
import re
from types import ModuleType


class UserError(ValueError):
    """Something the user can put right: a path, a file, a setting.

    The message says what was found, what was expected and what to do. The command line prints it
    as one line and exits with code 2; any other exception is a defect and keeps its traceback.
    What names, damaged files and libraries put into it may be long, of several lines, or no text to
    print: lines are joined, the middle of more than a thousand characters is left out, and what
    cannot be seen (control characters, halves of characters) is written as in Python.
    """

    def __init__(self, message: object = "") -> None:
        text = " ".join(line.strip() for line in str(message).splitlines() if line.strip())
        text = "".join(map(_seen, text))
        super().__init__(text if len(text) <= 1000 else f"{text[:600]} ... {text[-300:]}")


class UnwritableError(UserError):
    """A file or folder cannot be written: no fault of the one image that is at hand."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What errors of many libraries say where the machine is at its end, and what to do
_FAULTS = (
    (
        r"DataLoader worker \(.*\) (is killed|exited)|shared memory|Bus error|ancdata|/dev/shm",
        "the processes that read images have no memory left to share (/dev/shm) or were killed: "
        "--data.num_workers 0 does without them",
    ),
    (
        r"No space left on device|Disk quota exceeded|File too large|os error (27|28|122)\b|"
        r"PytorchStreamWriter failed|No usable temporary directory",
        "nothing more can be written, the disk is full: make room, or give a folder on another disk",
    ),
    (
        r"out of memory|can't allocate memory|Cannot allocate memory|Unable to allocate|bad_alloc"
        r"|can't start new thread|^MemoryError",
        "memory ran out: take smaller images or windows (data.tile, image_size), fewer at a time "
        "(data.batch_size), fewer processes (data.num_workers), or a smaller model",
    ),
)


def as_fault(error: BaseException) -> UserError | None:
    """What a full disk, a folder that is gone or too little memory raised, in a line.

    Returns:
        What to tell; `None` where the error is another one, a defect.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.filename is None and _is_of_processes(error):
        text = "shared memory"  # locks and memory that processes share have no name
    for sign, advice in _FAULTS:
        if re.search(sign, text, re.MULTILINE):
            return UserError(f"{advice} ({_shortened(error)})")
    is_of_network = isinstance(error, ConnectionError | TimeoutError)
    if not isinstance(error, OSError) or error.errno is None or is_of_network:
        return None
    name = error.filename2 or error.filename
    place = "" if name is None else f"{name}: "
    return UserError(f"{place}{error.strerror} (a file or folder is gone, or may not be used so)")


def require_room(error: BaseException) -> None:
    """Raise what a full disk is told by, where that is what an error says; nothing else is its cause.

    Raises:
        UserError: the disk is full.
    """
    is_full = isinstance(error, OSError) and error.errno in _FULL
    if is_full and (fault := as_fault(error)) is not None:
        raise fault from error


def _is_of_processes(error: BaseException) -> bool:
    """Whether an error arose where Python makes what processes share."""
    place = error.__traceback__
    while place is not None:
        if "multiprocessing" in place.tb_frame.f_code.co_filename:
            return True
        place = place.tb_next
    return False


def _shortened(error: BaseException) -> str:
    """The line of an error that says what happened; of a process that reads images the last."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[-1 if "Traceback" in str(error) else 0][:200]


def _seen(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        module: name to import, for example `"rasterio"`.
        extra: the extra of samtune that installs it, for example `"geo"`.

    Raises:
        UserError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this needs the package '{module}', which is not installed ({error}): "
            f"pip install 'samtune[{extra}]'"
        ) from error


def first_line(error: object) -> str:
    """What an error of a library says in its first line, or the error's name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:500]

"""One process at a time writes a run, a cache or a result; the second is refused.

A lock is the system's own on a file `.NAME.lock` beside what is written: it ends with its process,
however that ends. The file is removed afterwards; one that a killed process has left locks nothing.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from samtune.errors import UserError

with suppress(ImportError):  # Windows has other locks; there two processes are not kept apart
    import fcntl

_HAS_LOCKS = "fcntl" in globals()

# Folders and files that this process has locked: its tasks may be parts of each other
_HELD: set[Path] = set()
# Of the tasks at work, the outermost first: what each has claimed until it ends
_CLAIMS: list[ExitStack] = []


@contextmanager
def claiming() -> Iterator[None]:
    """What is claimed in this block is free again at its end."""
    with ExitStack() as claims:
        _CLAIMS.append(claims)
        try:
            yield
        finally:
            _CLAIMS.remove(claims)


def claim(path: Path) -> None:
    """Lock what a task will write until the task ends; outside of one nothing is locked.

    Raises:
        UserError: another process has locked it.
    """
    if _CLAIMS:
        _CLAIMS[-1].enter_context(locked(path))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out while a file or folder is written.

    Args:
        path: need not be there yet.

    Raises:
        UserError: another process has locked it.
    """
    place = path.resolve()
    if place in _HELD:
        yield
        return
    file = place.with_name(f".{place.name}.lock")
    made = [folder for folder in file.parents if not folder.exists()]  # the deepest first
    handle = _take(file)
    _HELD.add(place)
    try:
        yield
    finally:
        _HELD.discard(place)
        if handle is not None:
            with suppress(OSError):
                file.unlink()  # while it is locked, so that nobody waits at a name that is gone
            os.close(handle)
        for folder in made:  # for the lock alone: a task that wrote nothing leaves nothing
            with suppress(OSError):
                folder.rmdir()


def _take(file: Path) -> int | None:
    """Open and lock a file; `None` where it cannot be made, or the system knows no locks."""
    if not _HAS_LOCKS:
        return None
    with suppress(OSError):  # whoever writes there tells it
        file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # a folder that only what is in it may be written to
            return None
        try:
            # of the process alone: readers that it has started do not hold it when it is killed
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # systems have two words for it
            os.close(handle)
            raise _is_taken(file) from error
        except OSError:
            os.close(handle)
            return None
        with suppress(OSError):
            if os.path.samestat(file.stat(), os.fstat(handle)):
                return handle
        os.close(handle)  # its holder has just removed it: the next one is made anew


def _is_taken(file: Path) -> UserError:
    path = file.with_name(file.name.removeprefix(".").removesuffix(".lock"))
    return UserError(
        f"another process is writing {path} at this moment: wait until it has ended, or give another "
        "name"
    )

"""Writing so that a crash leaves the old file or the new one, never half of either.

What is not whole yet lies beside its place under a name such as `.report.html.k3j5h2ab.tmp`, which
`sweep` knows again.
"""

import ctypes
import glob
import json
import os
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from samtune.errors import UnwritableError, UserError
from samtune.locks import claim

_SUFFIX = ".tmp"
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
# Linux: renameat2's flag that lets two names change places, and "relative to the working folder"
_EXCHANGE, _HERE = 2, -100


def write_bytes(path: Path, content: bytes, is_durable: bool = True) -> None:
    """Write atomically: to a temporary file beside `path`, then rename.

    Without `is_durable` a power cut may lose what was written; that is for what can be made again.
    """
    with replacing_file(path) as temporary:
        with temporary.open("wb") as file:
            file.write(content)
        if is_durable:
            flush_to_disk(temporary)


def flush_to_disk(path: Path) -> None:
    """Wait until the bytes of a file are where a power cut does not reach them."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises:
        UserError: a file is in its place, it may not be made there, or somebody has removed it
            since the task at hand began to write into it.
    """
    place = path.absolute()
    for folder in (place, *place.parents):
        if _watched is not None and folder in _watched and not folder.exists():
            raise UnwritableError(
                f"{folder} was removed while it was written into: what was there is lost, do it again"
            )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(path, error) from error
    if _watched is not None:
        _watched.add(place)


# Folders that the task at hand writes into; `None` outside of one
_watched: set[Path] | None = None


@contextmanager
def watching_folders() -> Iterator[None]:
    """In this block a folder that was written into is not silently made anew when it is gone."""
    global _watched
    before, _watched = _watched, set() if _watched is None else _watched
    try:
        yield
    finally:
        _watched = before


def drop_folder(path: Path) -> None:
    """Remove a folder that has served its time, if it is empty."""
    with suppress(OSError):
        path.rmdir()
        if _watched is not None:
            _watched.discard(path.absolute())


def _no_folder(path: Path, error: OSError) -> UserError:
    return UnwritableError(
        f"nothing can be written into a folder {path} ({error.strerror}): give another name"
    )


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a temporary file that takes the place of `path` when the block ends without error.

    Raises:
        UserError: its folder cannot be made, or not be written to.
    """
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(_SUFFIX, f".{path.name}.", path.parent)
    except OSError as error:
        raise _no_folder(path.parent, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def partial_folder(out: Path) -> Path:
    """Where the parts of a result that are done lie, until all are and it is written."""
    place = out.resolve() if out.name in ("", "..") else out
    return place.with_name(f"{place.name}.partial")


def require_new(path: Path, is_replaced: bool) -> None:
    """Refuse to replace what lies where a result is to go, unless that is wanted.

    An empty folder is nothing. What lies there while parts of an interrupted run lie beside it is
    that run's business. Until the task at hand ends, other processes are refused; what a killed one
    has left half written is removed.

    Raises:
        UserError: something is there, or another process is writing it.
    """
    claim(path)
    sweep(path)
    try:
        is_there = path.exists() and not (path.is_dir() and not any(path.iterdir()))
        if is_there and not is_replaced and not partial_folder(path).exists():
            raise UserError(f"{path} is there already: give another --out, or --overwrite")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def unfinished(out: Path) -> Iterator[None]:
    """While files are written, `partial_folder` lies beside their folder: a call may begin anew."""
    mark = partial_folder(out)
    make_folder(mark)
    try:
        yield
    except BaseException:
        if not out.exists():
            drop_folder(mark)
        raise
    drop_folder(mark)


def try_writing(path: Path) -> None:
    """See before long work whether a file could be written; its folder is made.

    Raises:
        UserError: it could not.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def plain_parts(name: str) -> tuple[str, ...]:
    """Parts of a path that a file names, without those that would lead out of a folder."""
    return tuple(p for p in name.replace("\\", "/").split("/") if p not in ("", ".", ".."))


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; a name that none can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def name_key(name: str) -> str:
    """What names are compared by where they are not the same to the letter.

    Windows and macOS do not tell capitals apart, and an accent may be a sign of its own or not: a file
    that was moved is often called otherwise than the labels say.
    """
    return unicodedata.normalize("NFC", name).casefold()


def find_called(path: Path) -> Path | None:
    """The file at a path, or the only one there whose name is the same but for capitals and accents."""
    if is_file(path):
        return path
    try:
        folder = path.parent
        names = _names_in(folder, folder.stat().st_mtime_ns).get(name_key(path.name), [])
    except (OSError, ValueError):  # no folder
        return None
    return (
        path.with_name(names[0]) if len(names) == 1 and is_file(path.with_name(names[0])) else None
    )


@lru_cache(maxsize=16)
def _names_in(folder: Path, version: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in folder.iterdir():
        found.setdefault(name_key(entry.name), []).append(entry.name)
    return found


def is_hidden(path: Path) -> bool:
    """Whether its owner does not see it: macOS lays ._NAME beside each NAME, and .DS_Store."""
    return path.name.startswith(".")


def files_ending(folder: Path, suffix: str | tuple[str, ...]) -> list[Path]:
    """What of a folder is called so at its end, in small letters or capitals, and is not hidden.

    Args:
        folder: none has nothing in it.
        suffix: in small letters; several for any of them.
    """
    if not is_folder(folder):
        return []
    found = (file for file in folder.iterdir() if file.name.lower().endswith(suffix))
    return sorted(file for file in found if not is_hidden(file))


def ends_of(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The ends of a path, the longest first: those of another machine agree with ours in one."""
    return [parts[first:] for first in range(len(parts))]


def find_file(folder: Path, places: Iterable[tuple[str, ...]]) -> Path | None:
    """The first of some places in a folder where there is a file, as `find_called` finds it."""
    paths = [folder.joinpath(*parts) for parts in places]
    exact = next((path for path in paths if is_file(path)), None)
    return exact or next((found for path in paths if (found := find_called(path))), None)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of `path` when the block ends without error.

    Raises:
        UserError: the folder that it is in cannot be made, or not be written to.
    """
    make_folder(path.parent)
    try:
        temporary = Path(tempfile.mkdtemp(_SUFFIX, f".{path.name}.", path.parent))
    except OSError as error:
        raise _no_folder(path.parent, error) from error
    temporary.chmod(0o777 & ~_umask())
    try:
        yield temporary
        for file in temporary.rglob("*"):  # some libraries write for the owner alone
            file.chmod((0o777 if file.is_dir() else 0o666) & ~_umask())
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, path: Path) -> None:
    """Let a folder take the place of another, which is never absent where the system can do that."""
    if not path.exists():
        new.rename(path)
    elif not _exchange(new, path):
        old = Path(tempfile.mkdtemp(_SUFFIX, f".{path.name}.", path.parent))
        path.rename(old / path.name)
        new.rename(path)
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; `False` where the system or its disk cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or one of before 2018
        return False
    return not call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)


def sweep(place: Path, seconds: float = 0.0) -> None:
    """Remove what killed processes left half written beside a file or folder, and in the folder.

    Args:
        place: which nobody else writes now.
        seconds: what is younger stays, where others may write.
    """
    beside = place.resolve().parent.glob(f".{glob.escape(place.name)}.*{_SUFFIX}")
    for path in [*beside, *place.rglob(f".*{_SUFFIX}")]:
        with suppress(OSError):
            if not _TEMPORARY.fullmatch(path.name) or time.time() - path.stat().st_mtime < seconds:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

"""Unpacking archives of others: plain files only, inside the target only, up to a size.

Links, devices and names that lead out are refused. Python's own filter for tar files would let
links inside the target pass, which has been a way out of it more than once; data need none.
"""

import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from samtune.bars import bar
from samtune.errors import UserError, require_room

# An archive of images grows little; one that grows more than this is made to fill the disk.
_GROWTH = 100
_ALWAYS_ALLOWED = 4 * 10**9
_MOST_MEMBERS = 2_000_000
_CHUNK = 1 << 20
# What zipfile, tarfile and their decompressors raise on a damaged or encrypted file.
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError,
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip
_FOREIGN = {b"Rar!": "RAR", b"7z\xbc\xaf": "7-Zip"}
_ARCHIVE_NAME = re.compile(r".*\.(zip|tar|tgz|tar\.gz|tar\.bz2|tar\.xz)", re.IGNORECASE)

Member = tuple[str, int, Callable[[], IO[bytes] | None]]


def extract(
    archive: Path,
    folder: Path,
    is_wanted: Callable[[str], bool] = lambda name: True,
    most_bytes: int = 0,
) -> None:
    """Unpack a zip or tar file (of any compression) into a folder.

    Args:
        archive: the file.
        folder: where to; it is made.
        is_wanted: by a member's name; others are looked at for what they are, but not unpacked.
        most_bytes: what may be written; 0 for 100 times the archive's size, at least 4 GB.

    Raises:
        UserError: it is no such archive, damaged or encrypted, grows beyond the limit, or holds
            links, devices or names that lead out of the folder.
    """
    left = most_bytes or max(_GROWTH * archive.stat().st_size, _ALWAYS_ALLOWED)
    limit = left
    try:
        with _members(archive) as members:
            told = bar(members, f"unpack {archive.name}", "file")
            for number, (name, size, opened) in enumerate(told):
                target = _place(name, folder, archive)
                if target is None or not is_wanted(target.relative_to(folder).as_posix()):
                    continue
                if size > left or number >= _MOST_MEMBERS:
                    raise _TooLargeError
                left -= _write(opened(), target, left)
    except _TooLargeError:
        raise UserError(
            f"{archive} unpacks to more than {limit / 1e9:.1f} GB: it is damaged or made to fill "
            "the disk; if you trust it, unpack it yourself and name the folder with --archives"
        ) from None
    except UserError:
        raise
    except _DAMAGED as error:
        require_room(error)  # the archive may be sound
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{archive} cannot be unpacked ({reason}): delete it and fetch it again"
        ) from error


def extract_nested(folder: Path) -> None:
    """Unpack the archives in a folder where they lie, one level deep, and delete them."""
    for inner in sorted(f for f in folder.rglob("*") if _ARCHIVE_NAME.fullmatch(f.name)):
        extract(inner, inner.parent)
        inner.unlink()


class _TooLargeError(Exception):
    """More bytes than the archive may unpack to."""


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(file, archive)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield _tar_members(tar, archive)
    else:
        raise UserError(_not_an_archive(archive))


def _not_an_archive(archive: Path) -> str:
    with archive.open("rb") as file:
        kind = _FOREIGN.get(file.read(4))
    if kind:
        return f"{archive} is a {kind} archive: unpack it and name the folder with --archives"
    return f"{archive} is no zip or tar archive: delete it and fetch it again"


def _zip_members(file: zipfile.ZipFile, archive: Path) -> Iterator[Member]:
    for info in file.infolist():
        if info.is_dir():
            continue
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UserError(f"{archive} holds {info.filename!r}, which is a link or a device")
        yield info.filename, info.file_size, lambda info=info: file.open(info)  # type: ignore[misc]


def _tar_members(file: tarfile.TarFile, archive: Path) -> Iterator[Member]:
    for info in file:
        if info.isdir():
            continue
        if not info.isreg():
            raise UserError(f"{archive} holds {info.name!r}, which is a link or a device")
        yield info.name, info.size, lambda info=info: file.extractfile(info)  # type: ignore[misc]


def _place(name: str, folder: Path, archive: Path) -> Path | None:
    """Where a member goes; `None` for what macOS adds."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\0" in name:
        raise UserError(f"{archive} holds {name!r}, which leads out of its folder: do not use it")
    if path.parts[:1] == ("__MACOSX",) or path.name.startswith("._") or path.name == ".DS_Store":
        return None
    return folder / path


def _write(source: IO[bytes] | None, target: Path, most: int) -> int:
    """Copy a member; what it really holds counts, not what its header claims."""
    assert source is not None, "links and devices are refused before"
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with source, target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > most:
                raise _TooLargeError
            file.write(chunk)
    return written


def require_space(archive: Path, folder: Path) -> None:
    """At least the archive's own size must be free."""
    needed, free = archive.stat().st_size, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB of space, but {archive} unpacks to more than "
            f"{needed / 1e9:.1f} GB: make room, or choose another --out"
        )

"""Downloads that go on where they broke off, checked before anything opens them.

By hand, for pooch (1.9), which would do the rest, begins anew after a break: one of these archives has
14 GB. What is there is gone on with only if the server says that it is still the same.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

from samtune.bars import bar, byte_bar
from samtune.data.fetch.recipe import Archive
from samtune.data.fetch.wheels import download_wheel
from samtune.errors import UserError, first_line, require_room

_CHUNK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte
_MOST_OF_A_PAGE = 1 << 24
_FILE_NAME = re.compile(r"[\w()][\w.() -]*")


def cache_folder() -> Path:
    """Where archives are kept: `$SAMTUNE_CACHE`, or `~/.cache/samtune/downloads`."""
    chosen = os.environ.get("SAMTUNE_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "samtune" / "downloads"


def fetch_archive(archive: Archive, folder: Path) -> Path:
    """Get an archive, unless the folder has it already, and check it.

    Args:
        archive: what to get.
        folder: where it is kept.

    Returns:
        The file; for an `index` the folder with all its files.

    Raises:
        UserError: it cannot be fetched, or is not the published file.
    """
    target = folder / archive.name
    if archive.index:
        return _download_index(archive, target)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if archive.wheel:
            download_wheel(archive.wheel, archive.pip, target)
        else:
            download(archive.url, target)
    _check(target, archive)
    return target


def _check(file: Path, archive: Archive) -> None:
    found = file.stat().st_size
    wrong = ""
    if archive.size and found != archive.size:
        wrong = f"has {found:,} bytes instead of {archive.size:,}"
    for kind, expected in (("sha256", archive.sha256), ("md5", archive.md5)):
        if not wrong and expected and (digest := digest_of(file, kind)) != expected:
            wrong = f"has {kind} {digest} instead of {expected}"
    if wrong:
        file.unlink()
        raise UserError(
            f"{archive.name} {wrong} and was deleted: fetch it again; if that does not help, its "
            "publisher has changed it: download it yourself and name it with --archives"
        )


def digest_of(file: Path, kind: str = "sha256") -> str:
    """Hash of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, kind).hexdigest()


def download(url: str, target: Path, is_shown: bool = True) -> None:
    """Download a file by way of `TARGET.part`, which the next call goes on with.

    A server that knows no ranges, or has another version of the file by now, starts over.

    Args:
        url: http or https.
        target: the file; its folder exists.
        is_shown: show a progress bar.

    Raises:
        UserError: the server cannot be reached, refuses, or breaks off; the disk is full.
    """
    part = target.with_name(f"{target.name}.part")
    version = target.with_name(f"{target.name}.part.version")
    start = part.stat().st_size if part.exists() else 0
    headers = _range_headers(start, version)
    try:
        with _open(url, headers) as answer:
            start = _first_byte(answer, start, part, url)
            length = answer.headers.get("Content-Length")
            total = None if length is None else start + int(length)
            _require_space(target.parent, (total or 0) - start)
            version.write_text(_version_of(answer))
            shown = byte_bar(target.name, total, start, is_shown)
            with shown, part.open("ab" if start else "wb") as file:
                _copy(answer.read, file, shown)
    except HTTPError as error:
        if error.code == 416 and start:  # nothing comes after what is there already
            _finish_or_forget(error, part, start)
            return _rename(part, version, target) if part.exists() else download(url, target)
        raise UserError(_refused(url, error)) from error
    except (URLError, HTTPException, OSError) as error:
        require_room(error)
        raise UserError(f"{url} could not be fetched ({_reason(error)}): try again later; what has "
                        "come is kept, or use --archives with your own copy") from error  # fmt: skip
    if total is not None and part.stat().st_size != total:
        raise UserError(
            f"{url} broke off after {part.stat().st_size:,} of {total:,} bytes: the same command "
            "goes on from there"
        )
    return _rename(part, version, target)


def _copy(read: Callable[[int], bytes], file: Any, shown: Any) -> None:
    while chunk := read(_CHUNK):
        file.write(chunk)
        shown.update(len(chunk))


def _rename(part: Path, version: Path, target: Path) -> None:
    version.unlink(missing_ok=True)
    part.replace(target)


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{url} is no address of the web (http or https)")
    request = Request(url, headers={"User-Agent": "samtune", **headers})  # noqa: S310 (see above)
    answer: HTTPResponse = urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    return answer


def _range_headers(start: int, version: Path) -> dict[str, str]:
    """Ask for the rest, on condition that the file is still the one that was begun."""
    if not start:
        return {}
    known = version.read_text() if version.exists() else ""
    return {"Range": f"bytes={start}-", **({"If-Range": known} if known else {})}


def _version_of(answer: HTTPResponse) -> str:
    """What tells versions of a file apart; a weak tag does not (RFC 9110, 13.1.5)."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else str(answer.headers.get("Last-Modified", ""))


def _first_byte(answer: HTTPResponse, start: int, part: Path, url: str) -> int:
    if answer.status != 206:
        return 0
    if not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.unlink()
        raise UserError(f"{url} gives other bytes than it was asked for: fetch it again")
    return start


def _finish_or_forget(error: HTTPError, part: Path, start: int) -> None:
    if error.headers.get("Content-Range", "") != f"bytes */{start}":
        part.unlink()


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB of space, but {needed / 1e9:.1f} GB are to come: make "
            "room, or set SAMTUNE_CACHE to a folder on another disk"
        )


def _refused(url: str, error: HTTPError) -> str:
    return (
        f"{url} answers {error.code} {error.reason}: the file may have moved; look at the home page "
        "and use --archives with your own copy"
    )


def _reason(error: BaseException) -> str:
    inner = error.reason if isinstance(error, URLError) else error
    return first_line(inner)


def _download_index(archive: Archive, folder: Path) -> Path:
    """All files that a page links to; those that are there are not fetched again."""
    names = _linked_names(archive)
    folder.mkdir(parents=True, exist_ok=True)
    for name in bar(names, archive.name, "file"):
        if not (folder / name).exists():
            download(urljoin(archive.index, quote(name)), folder / name, is_shown=False)
    return folder


def _linked_names(archive: Archive) -> list[str]:
    """Names of files beside the page: only the last part of a link is trusted."""
    try:
        with _open(archive.index, {}) as answer:
            page = answer.read(_MOST_OF_A_PAGE).decode("utf-8", errors="replace")
    except HTTPError as error:
        raise UserError(_refused(archive.index, error)) from error
    except (URLError, HTTPException, OSError) as error:
        raise UserError(f"{archive.index} could not be read ({_reason(error)})") from error
    links = _Links()
    with suppress(AssertionError):  # how HTMLParser answers markup that is none
        links.feed(page)
    names = {unquote(urlsplit(link).path).rpartition("/")[2] for link in links.found}
    taken = sorted(n for n in names if n.endswith(archive.suffix) and _FILE_NAME.fullmatch(n))
    if not taken:
        raise UserError(f"{archive.index} links to no file *{archive.suffix}: has it moved?")
    return taken


class _Links(HTMLParser):
    """Targets of the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]

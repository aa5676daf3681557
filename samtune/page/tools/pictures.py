"""Images that a labelling tool names: sent along, in a folder that was given, or on its own server.

Nothing else is ever read: no path outside those folders, whatever links lie in them, and no other host.
"""

import base64
import binascii
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit

from samtune.errors import UserError
from samtune.files import is_file, is_folder
from samtune.images.kinds import EncodedImage, ImageFile
from samtune.page.tools.downloads import LabelStudioHost
from samtune.reading import Reading
from samtune.types import ImageArray

# Images that are kept as arrays, so that the next click need not read them again
_KEPT = 3
_LONGEST_SHOWN = 80


class Pictures:
    """Reads what is named.

    Args:
        reading: of the pixels.
        folders: whose images may be read.
        host: Label Studio's server, whose images may be downloaded; `None` without.

    Raises:
        UserError: a folder does not exist.
    """

    def __init__(
        self, reading: Reading, folders: Sequence[Path] = (), host: LabelStudioHost | None = None
    ) -> None:
        for folder in folders:
            if not is_folder(folder):
                raise UserError(f"there is no folder {folder}")
        self._reading, self._host = reading, host
        self._folders = [folder.resolve() for folder in folders]
        self._known: OrderedDict[tuple[str, object], ImageArray] = OrderedDict()
        self._lock = Lock()

    def read(self, link: str) -> ImageArray:
        """(H, W, 3), as the model is to see it.

        Args:
            link: a data URI, a path in one of the folders, or an address of Label Studio's.

        Raises:
            UserError: it may not be read, does not exist, or is no image.
        """
        if link.startswith("data:"):
            return self._reading.read(from_base64(link))
        found = self._in_folders(link)
        key = (link, None if found is None else _stamp(found))
        with self._lock:
            if key not in self._known:
                self._known[key] = self._reading.read(found or self._downloaded(link))
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return self._known[key]

    def _in_folders(self, link: str) -> Path | None:
        """The file of a path, wherever it begins: at the root, or at one of the folders."""
        path = _path_of(link)
        for folder in self._folders if path and "\0" not in path else ():
            for way in (folder / path, folder / path.lstrip("/")):
                try:
                    place = way.resolve()
                except (OSError, RuntimeError, ValueError):  # no name that a file can have
                    continue
                if place.is_relative_to(folder) and is_file(place):
                    return place
        return None

    def _downloaded(self, link: str) -> ImageFile:
        if self._host is not None and self._host.has(link):
            return EncodedImage(shown(link), self._host.get(link))
        folders = ", ".join(map(str, self._folders)) or "none was given"
        raise UserError(
            f"{shown(link)} is in no folder that may be read ({folders}), and on no server that was "
            "named: give --images FOLDER, or --label_studio ADDRESS"
        )


def from_base64(text: str) -> EncodedImage:
    """An image that was sent along, as a data URI or without its head.

    Raises:
        UserError: it is no base64.
    """
    content = text
    if text.startswith("data:"):
        head, comma, content = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise UserError(f"the image is sent as {shown(head)}: expected data:...;base64,...")
    try:
        return EncodedImage("the image", base64.b64decode(content, validate=True))
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the image is no base64: {error}") from error


def shown(link: str) -> str:
    """A link as a message names it."""
    short = link if len(link) <= _LONGEST_SHOWN else f"{link[:_LONGEST_SHOWN]}..."
    return repr(short)


def _path_of(link: str) -> str:
    """The path in a link of Label Studio's local storage, or a link that is a path itself."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    if parts.path.rstrip("/").endswith("/data/local-files") and not parts.scheme:
        return (parse_qs(parts.query).get("d") or [""])[-1]
    if parts.scheme or parts.netloc:
        return ""
    # a name may hold a question mark, or a percent sign that means itself
    return link if "%" not in link else unquote(link)


def _stamp(file: Path) -> tuple[int, int]:
    """What changes when a file is written anew."""
    about = file.stat()
    return about.st_mtime_ns, about.st_size

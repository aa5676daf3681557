"""JSON files that are too large to be held as objects: what is asked for is decoded, the rest stays.

`json` takes NaN and Infinity, which JSON does not know but Python's tools write; so do these
functions, at the price of a copy of the file.
"""

import json
import mmap
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError

Form = TypeVar("Form")
_MARK = b"\xef\xbb\xbf"  # of byte order, which tools of Windows write
Buffer = mmap.mmap | bytes
_STRING_OR_NAN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?Infinity|NaN', re.DOTALL)


def decode_json(path: Path, form: type[Form]) -> tuple[Form, Buffer]:
    """Decode what `form` (a msgspec type) asks for.

    Returns:
        The content and the bytes it was decoded from; `msgspec.Raw` fields are windows into these.

    Raises:
        UserError: the file is missing or not JSON.
        msgspec.ValidationError: it is JSON, but not of this form.
    """
    try:
        buffer = _map(path)
        try:
            return msgspec.json.decode(_without_mark(buffer), type=form), buffer
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if buffer.find(b"NaN") < 0 and buffer.find(b"Infinity") < 0:
                raise
            blanked = _STRING_OR_NAN.sub(_blank, buffer)
            return msgspec.json.decode(_without_mark(blanked), type=form), blanked
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except msgspec.ValidationError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error


def _map(path: Path) -> Buffer:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return b""  # which cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _without_mark(buffer: Buffer) -> Buffer | memoryview:
    return memoryview(buffer)[len(_MARK) :] if buffer[: len(_MARK)] == _MARK else buffer


def _blank(match: re.Match[bytes]) -> bytes:
    """An empty string in place of NaN or Infinity, as long, so that places stay what they are."""
    word = match[0]
    return word if word.startswith(b'"') else b'""'.ljust(len(word))


def find_spans(parts: list[msgspec.Raw], buffer: Buffer) -> NDArray[np.int64]:
    """(N, 2) first byte and length of parts that were decoded from a buffer."""
    base = _address(buffer)
    spans = np.empty((len(parts), 2), np.int64)
    for number, part in enumerate(parts):
        spans[number] = _address(part) - base, len(memoryview(part))
    return spans


def _address(buffer: Any) -> int:
    return int(np.frombuffer(buffer, np.uint8).__array_interface__["data"][0])


def read_spans(path: Path, spans: Iterable[tuple[int, int]]) -> list[Any]:
    """Decode parts of a file.

    Raises:
        UserError: the file has changed since its places were found.
    """
    try:
        with path.open("rb") as file:
            return [
                json.loads(file.read(length)) for start, length in spans if file.seek(start) >= 0
            ]
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read any more: {error}") from error


def first_character(path: Path) -> str:
    """The first character of a file that is not white (`{` or `[` in JSON); empty without one."""
    try:
        with path.open("rb") as file:
            return file.read(1024).removeprefix(_MARK).lstrip()[:1].decode("latin-1")
    except OSError:
        return ""

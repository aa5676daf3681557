"""Brush strokes and bitmasks of Label Studio: the run-length code of their pixels' bytes.

The code is that of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack, a string of bits:
32 for the number of values, 5 for the bits of a value less 1, four times 4 for the bits of a length
less 1. Then runs: a bit that says whether one value is repeated, 2 that choose among the four, the
length less 1, and the value or values. Values are red, green, blue and alpha in turn. Bitmasks are PNG
pictures in base64.
"""

import base64

import cv2
import numpy as np

from samtune.types import MaskArray

# Bits of the lengths that are written; a longer run is written as several
_LENGTHS = (3, 4, 8, 16)
_VALUE_BITS = 8
_PNG = b"\x89PNG\r\n\x1a\n"


def encode_brush(mask: MaskArray) -> list[int]:
    """The code of an (H, W) mask as a stroke: 255 in all four channels, 0 elsewhere; bytes."""
    flat = np.asarray(mask, np.bool_).ravel()
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [len(flat)]])
    head = f"{4 * len(flat):032b}{_VALUE_BITS - 1:05b}" + "".join(f"{n - 1:04b}" for n in _LENGTHS)
    parts = [head]
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        parts += _run(4 * (stop - start), 255 * int(flat[start]))
    bits = np.frombuffer("".join(parts).encode(), np.uint8) - ord("0")
    code: list[int] = np.packbits(bits).tolist()
    return code


def _run(length: int, value: int) -> list[str]:
    """Bits of one value that is repeated."""
    parts = []
    while length:
        part = min(length, 2 ** _LENGTHS[-1])
        place = next(n for n, bits in enumerate(_LENGTHS) if part <= 2**bits)
        parts.append(f"1{place:02b}{part - 1:0{_LENGTHS[place]}b}{value:0{_VALUE_BITS}b}")
        length -= part
    return parts


def decode_brush(code: list[int], hw: tuple[int, int]) -> MaskArray:
    """Where a brush stroke is not transparent, (H, W).

    Raises:
        ValueError: it is damaged, or not of this size.
    """
    bits = np.unpackbits(np.array(code, np.uint8))
    place = 0

    def take(number: int) -> int:
        nonlocal place
        place += number
        if place > len(bits):
            raise ValueError("its run-length code is cut off")
        return int("".join(map(str, bits[place - number : place].tolist())), 2)

    total, width = take(32), take(5) + 1
    if total != 4 * hw[0] * hw[1]:
        raise ValueError(f"its run-length code is of {total} values, not {hw[1]}x{hw[0]}x4")
    lengths = [take(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, np.bool_), 0
    while done < total:
        is_run = take(1)
        end = done + take(lengths[take(2)]) + 1
        if end > total:
            raise ValueError("its run-length code is longer than it says")
        if is_run:
            values[done:end] = take(width) > 0
        else:
            number = width * (end - done)
            place += number
            if place > len(bits):
                raise ValueError("its run-length code is cut off")
            values[done:end] = bits[place - number : place].reshape(-1, width).any(axis=1)
        done = end
    return values.reshape(*hw, 4)[..., 3].copy()


def decode_bitmask(url: str, hw: tuple[int, int]) -> MaskArray:
    """Where the picture of a `data:image/png;base64` address is not transparent, (H, W).

    Raises:
        ValueError: it is damaged, no such picture, or not of this size.
    """
    head, _, code = url.partition(",")
    content = base64.b64decode(code, validate=True)
    if not head.startswith("data:image/png") or not content.startswith(_PNG):
        raise ValueError(f"its picture is no PNG, but {head[:40]!r}")
    # the sides stand behind the mark, and the length and name of the first part
    width, height = (int.from_bytes(content[n : n + 4], "big") for n in (16, 20))
    if (height, width) != hw:
        raise ValueError(f"its picture is {width}x{height} pixels, not {hw[1]}x{hw[0]}")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError("its picture is cut off, or nothing of it is transparent")
    return np.asarray(pixels[..., 3] > 0)

"""How large an upright picture is, without decoding it: PNG says so before or behind its pixels."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from samtune.images.pixels import image_hw

# one entry: orientation (0x0112) 6, to be turned by a quarter
TURNED = b"Exif\0\0MM" + struct.pack(">HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)


def write(path, **options):
    Image.fromarray(np.zeros((30, 50, 3), np.uint8)).save(path, **options)
    return path


def with_chunk(path, name, content):
    """The chunk stands last, behind the pixels."""
    data = path.read_bytes()
    check = struct.pack(">I", zlib.crc32(name + content))
    chunk = struct.pack(">I", len(content)) + name + content + check
    path.write_bytes(data[:-12] + chunk + data[-12:])
    return path


@pytest.fixture
def decoded(monkeypatch):
    """How often the pixels of a PNG were decoded."""
    calls, load = [], PngImagePlugin.PngImageFile.load
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load", lambda self: calls.append(1) or load(self)
    )
    return calls


def test_a_plain_png_is_not_decoded(tmp_path, decoded):
    assert image_hw(write(tmp_path / "a.png")) == (30, 50)
    assert not decoded


def test_exif_before_the_pixels_is_heeded(tmp_path):
    assert image_hw(write(tmp_path / "a.png", exif=TURNED)) == (50, 30)


def test_exif_behind_the_pixels_is_heeded(tmp_path, decoded):
    path = with_chunk(write(tmp_path / "a.png"), b"eXIf", TURNED[6:])
    assert image_hw(path) == (50, 30)
    assert decoded


def test_text_behind_the_pixels_turns_nothing(tmp_path):
    path = with_chunk(write(tmp_path / "a.png"), b"tEXt", b"Comment\x00a note")
    assert image_hw(path) == (30, 50)


def test_other_kinds_say_it_in_their_header(tmp_path):
    assert image_hw(write(tmp_path / "a.jpg", exif=TURNED)) == (50, 30)
    assert image_hw(write(tmp_path / "b.webp", exif=TURNED)) == (50, 30)

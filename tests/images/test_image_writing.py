"""Images are written as they are stored, whatever they lie in."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from samtune.images.kinds import EncodedImage
from samtune.images.pixels import read_pixels
from samtune.images.writing import write_image

SEEN = np.full((6, 8, 3), 7, np.uint8)


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (6, 8, *shape)).astype(dtype)


def saved(values, kind):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def tiff(values):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="minisblack", planarconfig="contig")
    return buffer.getvalue()


# Kind: its content, its suffix, and the suffix that it gets.
KINDS = {
    "8-bit": (saved(noise(3), "PNG"), ".png", ".png"),
    "16-bit": (saved(noise(dtype=np.uint16), "PNG"), ".png", ".png"),
    "16-bit RGB": (cv2.imencode(".png", noise(3, dtype=np.uint16))[1].tobytes(), ".png", ".png"),
    "five channels": (tiff(noise(5, dtype=np.uint16)), ".tif", ".tif"),
    "JPEG": (saved(noise(3), "JPEG"), ".jpeg", ".jpg"),
    "GIF": (saved(noise(), "GIF"), ".gif", ".tif"),
    "JPEG 2000": (saved(noise(3), "JPEG2000"), ".jp2", ".tif"),
    "JPEG 2000 of 16 bits": (saved(noise(dtype=np.uint16), "JPEG2000"), ".jp2", ".tif"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_lost(tmp_path, kind):
    content, given, expected = KINDS[kind]
    file, inside = tmp_path / f"a{given}", EncodedImage("image of row 3", content)
    file.write_bytes(content)
    values = read_pixels(inside)
    for each, suffix in ((inside, expected), (file, given if given == ".jpeg" else expected)):
        found = write_image(each, SEEN, tmp_path / "out" / "scan.v1")
        assert found == tmp_path / "out" / f"scan.v1{suffix}"
        assert read_pixels(found).dtype == values.dtype
        np.testing.assert_array_equal(read_pixels(found), values)


def test_without_a_file_what_is_seen_is_written(tmp_path):
    for file in (None, tmp_path / "nowhere.png"):
        found = write_image(file, SEEN, tmp_path / "a")
        assert found == tmp_path / "a.png"
        np.testing.assert_array_equal(read_pixels(found), SEEN)

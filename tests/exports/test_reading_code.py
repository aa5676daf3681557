"""The code that a card shows for reading images, against samtune's own reading."""

import numpy as np
import pytest
from PIL import Image

from samtune.exports.reading_code import reading_code, reading_imports, reading_note
from samtune.images.pixels import read_image
from samtune.reading import Reading
from tests.models.families.tiny import build_member

RNG = np.random.default_rng(0)
PICTURES = {
    "grey 8 bit": RNG.integers(0, 256, (20, 31)).astype(np.uint8),
    "dark 8 bit": RNG.integers(3, 40, (20, 31, 3)).astype(np.uint8),
    "bright 8 bit": RNG.integers(0, 256, (20, 31, 3)).astype(np.uint8),
    "with alpha": RNG.integers(0, 256, (20, 31, 4)).astype(np.uint8),
    "16 bit": RNG.integers(300, 5000, (20, 31)).astype(np.uint16),
    "32 bit": RNG.integers(0, 70_000, (20, 31)).astype(np.int32),
    "small float": RNG.random((20, 31)).astype(np.float32),
    "large float": np.where(RNG.random((20, 31)) < 0.1, np.nan, 900.0).astype(np.float32),
}


@pytest.fixture(scope="module")
def sam():
    return build_member("sam")


def read_as_told(sam, file):
    code = "\n".join((*reading_imports(sam), reading_code(sam)))
    found = {}
    exec(code.replace("image.png", str(file)).replace("image.tif", str(file)), found)  # noqa: S102
    return found["image"]


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("stretch", ["none", "percentile", "auto", "range"])
def test_the_code_reads_as_samtune_does(sam, tmp_path, monkeypatch, name, stretch):
    file = tmp_path / "picture.tif"
    Image.fromarray(PICTURES[name]).save(file)
    reading = Reading(value_range=(10.0, 800.0)) if stretch == "range" else Reading(stretch=stretch)
    monkeypatch.setattr(sam, "reading", reading)
    found = read_as_told(sam, file)
    assert found.dtype == np.uint8
    assert np.array_equal(found, sam.reading.read(file))


def test_palettes_and_turned_pictures_are_read_as_they_look(sam, tmp_path):
    picture = Image.fromarray(PICTURES["bright 8 bit"])
    picture.convert("P").save(tmp_path / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(RNG.integers(0, 2, (20, 31)).astype(bool)).save(tmp_path / "bilevel.png")
    for name in ("palette.png", "turned.png", "bilevel.png"):
        file = tmp_path / name
        assert np.array_equal(read_as_told(sam, file), read_image(file)), name


def test_channels_are_chosen_by_samtune_itself(sam, tmp_path, monkeypatch):
    file = tmp_path / "picture.tif"
    Image.fromarray(PICTURES["bright 8 bit"]).save(file)
    monkeypatch.setattr(sam, "reading", Reading((2, 0), "percentile"))
    assert np.array_equal(read_as_told(sam, file), read_image(file, (2, 0), "percentile"))
    monkeypatch.setattr(sam, "reading", Reading(("red", "nir")))
    assert "numbers from 0 instead of names" in reading_code(sam)


def test_a_note_is_for_models_whose_images_are_not_read_as_they_are(sam, monkeypatch):
    assert reading_note(sam) == ()
    for other in (
        {"stretch": "auto"},
        {"bands": (1,)},
        {"value_range": (0.0, 9.0)},
        {"window": "bone"},
    ):
        monkeypatch.setattr(sam, "reading", Reading(**other))
        assert "get other masks" in reading_note(sam)[0]

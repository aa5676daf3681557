"""Files are read in use as they were in training."""

import json

import numpy as np
import pytest
from PIL import Image

from samtune.data.settings import DataSettings, SourceSettings
from samtune.errors import UserError
from samtune.models.loading import load_model
from samtune.reading import Reading


@pytest.fixture(scope="module")
def sam():
    return load_model("nano", image_size=64)


@pytest.fixture
def picture(write_slices):
    """A DICOM picture that brings a window of its own."""
    values = np.linspace(-1000, 3000, 64).reshape(1, 8, 8).astype(np.int16)
    folder = write_slices("ct", values, WindowCenter=1500, WindowWidth=3000)
    return next(folder.iterdir())


@pytest.fixture
def path(tmp_path):
    """A picture of values 0 to 47."""
    Image.fromarray(values()).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def values():
    return np.arange(3 * 16, dtype=np.uint8).reshape(4, 4, 3)


@pytest.mark.parametrize("window", ["", "lung", "100,300"])
def test_dicom_is_shown_by_the_window_of_the_training(sam, picture, window, monkeypatch):
    settings = DataSettings(window=window)
    monkeypatch.setattr(sam, "reading", settings.reading)
    found = sam.reading.read(picture)
    np.testing.assert_array_equal(found, settings.of_source.reading.read(picture))
    np.testing.assert_array_equal(
        found, SourceSettings(Reading(window=window)).reading.read(picture)
    )
    other = SourceSettings(Reading(window="bone")).reading.read(picture)
    assert (found > 0).sum() != (other > 0).sum()


def test_bands_and_range_are_those_of_the_training_unless_others_are_named(sam, path, monkeypatch):
    monkeypatch.setattr(sam, "reading", Reading((2, 1, 0), value_range=(0.0, 51.0)))
    np.testing.assert_array_equal(sam.reading.read(path), values()[..., ::-1] * 5)
    other = sam.reading.changed(bands=(0, 1, 2))
    np.testing.assert_array_equal(other.read(path), values() * 5)


def test_a_range_and_a_window_replace_each_other():
    ranged, seen = Reading(value_range=(0, 9)), Reading(window="100,300")
    assert ranged.intensity_range == (0.0, 9.0)
    assert seen.intensity_range == (-50.0, 250.0)
    assert ranged.changed(window="100,300").intensity_range == (-50.0, 250.0)
    assert seen.changed(value_range=(0, 9)).intensity_range == (0.0, 9.0)
    assert seen.changed(tile=7) == Reading(window="100,300", tile=7)
    assert seen.changed(stretch="percentile") == Reading(stretch="percentile")
    assert ranged.changed(value_range=None) == Reading()
    assert Reading((2, 1, 0)).changed(bands=None) == Reading()


@pytest.mark.parametrize(
    "reading",
    [Reading(), Reading((3, "nir", 0), "auto", (0, 4.5), "", "axial", True, 512),
     Reading(["a"], window="lung")],
)  # fmt: skip
def test_it_comes_back_equal_from_json(reading):
    again = Reading.from_dict(json.loads(json.dumps(reading.as_dict())))
    assert again == reading
    assert hash(again) == hash(reading)


@pytest.mark.parametrize("content", [{"unheard_of": 1}, {"tile": 5, "view": {}}])
def test_what_it_does_not_know_is_no_reading(content):
    with pytest.raises(TypeError, match="a reading has no"):
        Reading.from_dict(content)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"tile": -1}, "tile is -1"), ({"value_range": (3, 1)}, "the lower one first"),
     ({"value_range": (1,)}, "give two numbers"), ({"value_range": (1, 2, 3)}, "give two numbers"),
     ({"value_range": (float("nan"), 1)}, "both finite"),
     ({"value_range": (0, float("inf"))}, "both finite")],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused_wherever_they_are_given(settings, said):
    for kind in (Reading, DataSettings):
        with pytest.raises(UserError, match=said):
            kind(**settings)


@pytest.mark.parametrize(
    ("settings", "is_plain"),
    [({}, True), ({"tile": 64}, True), ({"with_neighbours": True}, True), ({"bands": (0,)}, False),
     ({"stretch": "auto"}, False), ({"value_range": (0, 9)}, False), ({"window": "bone"}, False)],
)  # fmt: skip
def test_plain_are_pictures_that_any_program_takes_alike(settings, is_plain):
    assert Reading(**settings).is_plain == is_plain


@pytest.mark.parametrize(
    ("reading", "top"),
    [(Reading(), 47), (Reading(stretch="percentile"), 255), (Reading(stretch="auto"), 255),
     (Reading(stretch="percentile", value_range=(0, 4000)), 47),
     (Reading(stretch="percentile", window="lung"), 47)],
)  # fmt: skip
def test_images_of_other_programs_are_stretched_unless_a_range_was_theirs(reading, top):
    assert reading.stretched(values()).max() == top

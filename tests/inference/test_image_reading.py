"""At inference images are read as they were in training."""

import numpy as np
import pytest
from PIL import Image

from samtune.data.source import ReadSettings
from samtune.inference.image_reading import read_as_trained
from samtune.models.loading import load_model
from samtune.types import View


@pytest.fixture
def picture(write_slices):
    """A DICOM picture that brings a window of its own."""
    values = np.linspace(-1000, 3000, 64).reshape(1, 8, 8).astype(np.int16)
    folder = write_slices("ct", values, WindowCenter=1500, WindowWidth=3000)
    return next(folder.iterdir())


@pytest.mark.parametrize("window", ["", "lung", "100,300"])
def test_dicom_is_shown_by_the_window_of_the_training(picture, window):
    sam = load_model("nano", image_size=64)
    sam.view = View(window=window)
    found = read_as_trained(sam, picture)
    np.testing.assert_array_equal(found, ReadSettings(window=window).read_image(picture))
    assert (found > 0).sum() != (ReadSettings(window="bone").read_image(picture) > 0).sum()


def test_bands_and_range_are_those_of_the_training_unless_others_are_named(tmp_path):
    sam = load_model("nano", image_size=64)
    values = np.arange(3 * 16, dtype=np.uint8).reshape(4, 4, 3)
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path)
    sam.bands, sam.value_range = [2, 1, 0], (0.0, 51.0)
    np.testing.assert_array_equal(read_as_trained(sam, path), values[..., ::-1] * 5)
    np.testing.assert_array_equal(read_as_trained(sam, path, [0, 1, 2]), values * 5)

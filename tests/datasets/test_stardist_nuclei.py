"""The maker of the demo's data set, on a picture made here."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samtune.errors import UserError

FILE = Path(__file__).parents[2] / "datasets" / "stardist_nuclei.py"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("stardist_nuclei", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiles(maker, tmp_path_factory):
    """Tiles of a picture in which every label value tells its own row."""
    folder = tmp_path_factory.mktemp("tiles")
    rows = np.repeat(np.arange(512, dtype=np.uint16)[:, None], 512, axis=1)
    maker.cut((rows // 2).astype(np.uint8), rows, folder)
    return folder


def rows_of(tiles, split):
    files = (tiles / split / "labels").glob("*.png")
    return {int(row) for file in files for row in np.unique(np.asarray(Image.open(file)))}


def test_a_gap_of_32_pixels_lies_between_the_splits(tiles):
    train, val, test = (rows_of(tiles, split) for split in ("train", "val", "test"))
    assert min(val) - max(train) > 32
    assert min(test) - max(val) > 32


def test_every_split_has_images_with_labels_of_their_size(tiles):
    for split in ("train", "val", "test"):
        images = sorted((tiles / split / "images").glob("*.png"))
        labels = sorted((tiles / split / "labels").glob("*.png"))
        pairs = list(zip(images, labels, strict=True))
        assert pairs
        assert all(a.name == b.name for a, b in pairs)
        assert all(Image.open(a).size == Image.open(b).size for a, b in pairs)


def test_a_file_with_another_hash_is_refused(maker):
    with pytest.raises(UserError, match="instead of"):
        maker._check(b"changed", maker.WHEEL_SHA256, "the wheel")

"""Small data sets, written to disk as a user would have them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def write():
    """Writes an array as an image file, with its folders."""
    return write_png


def scene(number: int, num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """A (48, 64) image with squares in a row, and their labels 1..n."""
    image = np.random.default_rng(number).integers(0, 90, (48, 64, 3), dtype=np.uint8)
    labels = np.zeros((48, 64), np.uint16)
    for index in range(num_objects):
        window = (slice(6 + number, 20 + number), slice(2 + 12 * index, 12 + 12 * index))
        labels[window] = index + 1
        image[window] += np.uint8(100 + 10 * index)
    return image, labels


NUM_OBJECTS = (2, 0, 5, 1, 3, 4, 2)


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory):
    """Seven images s0..s6 with 2, 0, 5, 1, 3, 4 and 2 objects."""
    folder = tmp_path_factory.mktemp("scenes")
    for number, num_objects in enumerate(NUM_OBJECTS):
        image, labels = scene(number, num_objects)
        write_png(folder / "images" / f"s{number}.png", image)
        write_png(folder / "labels" / f"s{number}.png", labels)
    return folder


@pytest.fixture
def broken_folder(tmp_path):
    """Four images of one object each, the second of which is half a file."""
    for number in range(4):
        image, labels = scene(number, 1)
        write_png(tmp_path / "images" / f"s{number}.png", image)
        write_png(tmp_path / "labels" / f"s{number}.png", labels)
    broken = tmp_path / "images" / "s1.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    return tmp_path

"""What is told of data by looking at some of them."""

import numpy as np
import pytest
from PIL import Image

from samtune.data.datamodule import SamDataModule
from samtune.data.survey import find_group_regex, survey


def save(folder, images, labels, kind="labels"):
    for number, (image, mask) in enumerate(zip(images, labels, strict=True)):
        for name, pixels in (("images", image), (kind, mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")


def looked(folder, **settings):
    return survey(SamDataModule(path=str(folder), **settings), 256)


@pytest.fixture
def squares():
    """Twelve label images of 80 x 80 with two squares of one number, and one of another."""
    labels = np.zeros((12, 80, 80), np.uint8)
    labels[:, 5:20, 5:20], labels[:, 40:60, 5:20], labels[:, 40:60, 40:60] = 1, 1, 2
    return labels


def pictures(colour, noise=20):
    rng = np.random.default_rng(0)
    return [
        np.clip(np.array(colour) + rng.integers(-noise, noise, (80, 80, 3)), 0, 255).astype(
            np.uint8
        )
        for _ in range(12)
    ]


@pytest.mark.parametrize(
    ("colour", "modality"),
    [((200, 140, 190), "he"), ((10, 10, 10), "fluorescence"), ((120, 130, 110), "")],
)
def test_colours_tell_some_modalities(tmp_path, squares, colour, modality):
    images = pictures(colour, 5)
    if modality == "fluorescence":
        images = [np.repeat(image[..., :1], 3, axis=2) for image in images]
    save(tmp_path, images, squares)
    assert looked(tmp_path).modality == modality


def test_objects_and_parts_are_counted(tmp_path, squares):
    save(tmp_path, pictures((120, 130, 110)), squares, "masks")
    found = looked(tmp_path)
    assert found.format == "mask_folder"
    assert found.values == 2
    assert found.num_components == 1.5
    assert found.sizes == {"train": 8, "val": 2, "test": 2}
    assert not found.is_split


def test_the_manifest_tells_groups_and_splits(tmp_path, squares):
    save(tmp_path, pictures((120, 130, 110)), squares)
    rows = "".join(f"{n:02d},p{n // 3},{'train' if n < 9 else 'test'}\n" for n in range(12))
    (tmp_path / "manifest.csv").write_text("id,patient,split\n" + rows)
    found = looked(tmp_path)
    assert found.is_split
    assert (found.group_column, found.columns) == ("patient", ("patient",))


@pytest.mark.parametrize(
    ("names", "ties"),
    [
        (["a_1", "a_2", "b_1", "b_2"], True),
        (["p01-slice3", "p01-slice4", "p02-slice1", "p02-slice9"], True),
        (["1", "2", "3", "4"], False),
        (["img_1", "img_2", "img_3"], False),
        (["a_1", "b_2", "c_3", "d_4"], False),
        (["a_1", "a_2", "b_1", "other"], False),
        ([], False),
    ],
)
def test_names_that_tie_images_together(names, ties):
    assert bool(find_group_regex(names)) == ties

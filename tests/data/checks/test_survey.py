"""What is told of data by looking at some of them."""

import numpy as np
import pytest
from PIL import Image

from samtune.data.checks.grouping import find_group_regex
from samtune.data.checks.survey import survey
from samtune.data.datamodule import SamDataModule
from samtune.data.settings import DataSettings


def save(folder, images, labels, kind="labels"):
    for number, (image, mask) in enumerate(zip(images, labels, strict=True)):
        for name, pixels in (("images", image), (kind, mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")


def looked(folder, **settings):
    return survey(SamDataModule(DataSettings(path=str(folder), **settings)))


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
    [((200, 140, 190), "he"), ((10, 10, 10), ""), ((120, 130, 110), "")],
)
def test_colours_tell_some_modalities(tmp_path, squares, colour, modality):
    save(tmp_path, pictures(colour, 5), squares)
    assert looked(tmp_path).modality == modality


def dots(number):
    """A label image of 80 x 80 with so many squares."""
    labels = np.zeros((80, 80), np.uint8)
    for place in range(number):
        top, left = 5 + 25 * (place // 3), 5 + 25 * (place % 3)
        labels[top : top + 15, left : left + 15] = place + 1
    return labels


@pytest.mark.parametrize(
    ("labelled", "shining", "is_grey", "modality"),
    [
        (dots(6), dots(6), True, "fluorescence"),
        (dots(6) > 0, dots(6), True, "fluorescence"),
        (dots(6), dots(6), False, ""),
        (dots(6), dots(6) == 0, True, ""),  # as in ultrasound, a lesion is dark
        (dots(1), dots(1), True, ""),  # as in MR, the brain
        (dots(1), dots(6), True, ""),
    ],
)
def test_dark_pictures_are_fluorescence_where_what_shines_is_labelled(
    tmp_path, labelled, shining, is_grey, modality
):
    light = np.random.default_rng(0).integers(3, 12, (12, 80, 80)) + 40 * (shining > 0)
    images = np.repeat(light[..., None], 3, axis=3).astype(np.uint8)
    images[..., 1:] //= 1 if is_grey else 3
    save(tmp_path, list(images), [labelled.astype(np.uint8)] * 12)
    assert looked(tmp_path).modality == modality


def test_objects_and_parts_are_counted(tmp_path, squares):
    save(tmp_path, pictures((120, 130, 110)), squares, "masks")
    found = looked(tmp_path)
    assert found.format == "mask_folder"
    assert found.values == 2
    assert found.num_components == 1.5
    assert found.sizes == {"train": 8, "val": 2, "test": 2}
    assert not found.grouping.is_split


def test_the_manifest_tells_groups_and_splits(tmp_path, squares):
    save(tmp_path, pictures((120, 130, 110)), squares)
    rows = "".join(f"{n:02d},p{n // 3},{'train' if n < 9 else 'test'}\n" for n in range(12))
    (tmp_path / "manifest.csv").write_text("id,patient,split\n" + rows)
    found = looked(tmp_path)
    assert found.grouping.is_split
    assert found.grouping.column == "patient"


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

"""A folder for each image, with a file for each object, as the Data Science Bowl 2018 has them."""

import numpy as np
import pytest

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.folder_per_image import FolderPerImage
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (8, 10)
IMAGE = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)


def mask(rows, columns):
    values = np.zeros(HW, np.uint8)
    values[rows, columns] = 255
    return values


MASKS = [
    mask(slice(0, 3), slice(0, 4)),
    mask(slice(4, 8), slice(5, 9)),
    mask(slice(2, 5), slice(3, 6)),
]


def write_image(write, root, name, masks=MASKS):
    write(root / name / "images" / f"{name}.png", IMAGE)
    (root / name / "masks").mkdir()
    for number, values in enumerate(masks):
        write(root / name / "masks" / f"m{number}.png", values)


def test_each_file_is_an_object_and_overlaps_stay(tmp_path, write):
    write_image(write, tmp_path, "0a1b")
    assert recognise(tmp_path) == "folder_per_image"
    source = FolderPerImage(tmp_path)
    sample = source.read(0)
    assert (sample.image_id, source.notes) == ("0a1b", [])
    np.testing.assert_array_equal(sample.image, IMAGE)
    for number, values in enumerate(MASKS, start=1):
        np.testing.assert_array_equal((sample.labels == number).any(0), values > 0)
    assert sample.classes == {}


def test_an_image_may_have_no_object(tmp_path, write):
    write_image(write, tmp_path, "a")
    write_image(write, tmp_path, "b", [])
    assert not FolderPerImage(tmp_path).read(1).labels.any()


def test_images_without_masks_are_counted_and_make_no_split(tmp_path, write):
    for name in "abcdefgh":
        write_image(write, tmp_path / "stage1_train", name)
    write(tmp_path / "stage1_test" / "t" / "images" / "t.png", IMAGE)
    (tmp_path / "stage1_train_labels.csv").write_text("ImageId,EncodedPixels\n")
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: len(source) for name, source in splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    notes = list(splits["train"].notes)
    assert len(notes) == 1
    assert "1 image without masks left out" in notes[0]
    write_image(write, tmp_path / "stage1_test", "u")
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert [record.image_id for record in splits["test"].records] == ["stage1_test/u"]


def test_what_lies_among_the_masks_is_counted_but_not_what_systems_leave(tmp_path, write):
    write_image(write, tmp_path, "a")
    for name in ("Thumbs.db", ".DS_Store", "._m0.png"):
        (tmp_path / "a" / "masks" / name).write_bytes(b"x")
    (tmp_path / "a" / "images" / "._a.png").write_bytes(b"x")
    source = FolderPerImage(tmp_path)
    assert len(np.unique(source.read(0).labels)) == 4
    (note,) = source.notes
    assert "1 file among the masks that is none left out" in note
    assert note.endswith("Thumbs.db")


def test_several_images_of_one_folder_are_refused(tmp_path, write):
    write_image(write, tmp_path, "a")
    write_image(write, tmp_path, "b")
    write(tmp_path / "b" / "images" / "c.png", IMAGE)
    with pytest.raises(
        UserError, match=r"b/images holds 2 images \(b\.png, c\.png\): expected one"
    ):
        FolderPerImage(tmp_path)


def test_a_mask_of_another_size_is_refused(tmp_path, write):
    write_image(write, tmp_path, "a", [MASKS[0][:-1]])
    with pytest.raises(UserError, match=r"m0\.png is 10x7 pixels, but its image is 10x8"):
        FolderPerImage(tmp_path).read(0)


def test_a_manifest_gives_groups(tmp_path, write):
    for name in "ab":
        write_image(write, tmp_path, name)
    (tmp_path / "manifest.csv").write_text("id,group\na,p1\nb,p1\n")
    assert [dict(r.columns)["group"] for r in FolderPerImage(tmp_path).records] == ["p1", "p1"]

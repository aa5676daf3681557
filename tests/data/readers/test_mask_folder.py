import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (6, 8)
IMAGE = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
VALUES = np.zeros(HW, np.uint16)
VALUES[0:2, 0:3], VALUES[4:6, 5:8], VALUES[0:2, 6:8] = 3, 700, 3


@pytest.fixture
def folder(tmp_path, write):
    """Writes image `a` with the given mask, and opens the folder."""

    def open_folder(values, under="labels", **settings):
        write(tmp_path / "images" / "a.png", IMAGE)
        write(tmp_path / under / "a.png", values)
        return MaskFolder(tmp_path, SourceSettings(**settings))

    return open_folder


def write_pair(write, root, name, under="labels"):
    write(root / "images" / f"{name}.png", IMAGE)
    write(root / under / f"{name}.png", VALUES)


def test_the_image_and_its_instances_are_read(folder):
    source = folder(VALUES)
    sample = source.read(0)
    assert (len(source), sample.image_id, source.hw(0)) == (1, "a", HW)
    np.testing.assert_array_equal(sample.image, IMAGE)
    np.testing.assert_array_equal(sample.labels, VALUES[None])
    assert sample.labels.dtype == np.int32
    assert sample.classes == {}


def test_masks_are_classes_named_by_their_numbers(folder):
    sample = folder(VALUES, "masks").read(0)
    np.testing.assert_array_equal(sample.labels, VALUES[None])
    assert sample.classes == {3: "3", 700: "700"}


def test_classes_get_the_names_of_the_settings(folder):
    sample = folder(VALUES, "masks", class_names=((3, "road"), (5, "roof"))).read(0)
    assert sample.classes == {3: "road", 700: "700"}


@pytest.mark.parametrize(("labels", "under"), [("semantic", "labels"), ("instances", "masks")])
def test_the_setting_wins_over_the_folders_name(folder, labels, under):
    classes = folder(VALUES, under, labels=labels).read(0).classes
    assert classes == ({3: "3", 700: "700"} if labels == "semantic" else {})


@pytest.mark.parametrize("top", [1, 255])
def test_a_binary_mask_is_one_object(folder, top):
    mask = (VALUES > 0).astype(np.uint8)
    sample = folder(mask * top, "masks", labels="binary", class_names=((1, "polyp"),)).read(0)
    np.testing.assert_array_equal(sample.labels, mask[None])
    assert sample.classes == {1: "polyp"}


def test_everything_above_zero_is_the_object_of_a_binary_mask(folder):
    values = np.zeros(HW, np.uint8)
    values[0], values[2], values[4] = 1, 2, 3
    labels = folder(values, "masks", labels="binary").read(0).labels
    np.testing.assert_array_equal(labels, (values > 0)[None])


def test_ignored_values_are_no_object_of_a_binary_mask(folder):
    values = np.zeros(HW, np.uint8)
    values[0], values[2] = 1, 255
    labels = folder(values, "masks", labels="binary", ignore_values=(255,)).read(0).labels
    np.testing.assert_array_equal(labels, (values == 1)[None])


def test_an_empty_mask_is_an_image_without_objects(folder):
    for labels in ("binary", "semantic", "instances"):
        sample = folder(np.zeros(HW, np.uint8), labels=labels).read(0)
        assert sample.labels.shape == (1, *HW)
        assert not sample.labels.any()


def colour_mask():
    colours = np.zeros((*HW, 3), np.uint8)
    colours[0:2, 0:3], colours[4:6, 5:8] = (255, 0, 0), (0, 16, 2)
    return colours


def test_each_colour_is_a_class_and_black_is_background(folder):
    sample = folder(colour_mask(), "masks").read(0)
    expected = np.zeros(HW, int)
    expected[0:2, 0:3], expected[4:6, 5:8] = 0xFF0000, 0x001002
    np.testing.assert_array_equal(sample.labels, expected[None])
    named = {number: name for number, name in sample.classes.items() if number}
    assert named == {0xFF0000: "#ff0000", 0x001002: "#001002"}


def test_colours_can_be_given_names(folder):
    sample = folder(colour_mask(), "masks", class_names=((0xFF0000, "road"),)).read(0)
    assert sample.classes[0xFF0000] == "road"
    assert sample.classes[0x001002] == "#001002"


def test_colours_can_be_ignored(folder):
    sample = folder(colour_mask(), "masks", ignore_values=(0xFF0000,)).read(0)
    assert np.unique(sample.labels).tolist() == [0, 0x001002]


def test_colours_can_be_instances(folder):
    sample = folder(colour_mask(), "labels").read(0)
    assert np.unique(sample.labels).tolist() == [0, 0x001002, 0xFF0000]
    assert sample.classes == {}


def test_a_palette_gives_its_numbers(tmp_path, write):
    write(tmp_path / "images" / "a.png", IMAGE)
    (tmp_path / "masks").mkdir()
    indices = (VALUES > 3).astype(np.uint8) * 2 + (VALUES == 3)
    mask = Image.fromarray(indices, "P")
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask.save(tmp_path / "masks" / "a.png")
    sample = MaskFolder(tmp_path).read(0)
    np.testing.assert_array_equal(sample.labels, indices[None])
    assert sample.classes == {1: "1", 2: "2"}


def test_each_file_of_a_folder_is_an_object(tmp_path, write):
    write(tmp_path / "images" / "a.png", IMAGE)
    first, second = np.zeros(HW, np.uint8), np.zeros(HW, np.uint8)
    first[0:4, 0:4], second[2:6, 2:6] = 255, 1
    write(tmp_path / "masks" / "a" / "one.png", first)
    write(tmp_path / "masks" / "a" / "two.png", second)
    (tmp_path / "masks" / "a" / "notes.txt").write_text("not a mask")
    labels = MaskFolder(tmp_path).read(0).labels
    np.testing.assert_array_equal(labels, np.stack([first > 0, (second > 0) * 2]))


def test_an_object_file_of_another_size_is_named(tmp_path, write):
    write(tmp_path / "images" / "a.png", IMAGE)
    write(tmp_path / "masks" / "a" / "one.png", np.zeros((6, 9), np.uint8))
    with pytest.raises(UserError, match=r"one\.png is 9x6 pixels, but its image is 8x6"):
        MaskFolder(tmp_path).read(0)


def test_ignored_values_are_background(folder):
    sample = folder(VALUES, "masks", ignore_values=(700, 4)).read(0)
    np.testing.assert_array_equal(sample.labels, np.where(VALUES == 3, 3, 0)[None])
    assert sample.classes == {3: "3"}


def test_parts_can_be_objects_of_their_own(folder):
    sample = folder(VALUES, "masks", with_components=True).read(0)
    assert sample.classes == {1: "3", 2: "3", 3: "700"}
    np.testing.assert_array_equal(np.unique(sample.labels[:, VALUES == 3]), [1, 2])
    np.testing.assert_array_equal(sample.labels[0] > 0, VALUES > 0)


def test_negative_labels_are_refused_unless_they_are_ignored(tmp_path, write):
    write(tmp_path / "images" / "a.png", IMAGE)
    (tmp_path / "labels").mkdir()
    values = VALUES.astype(np.int16)
    values[3] = -1
    tifffile.imwrite(tmp_path / "labels" / "a.tif", values)
    ignoring = MaskFolder(tmp_path, SourceSettings(ignore_values=(-1,)))
    np.testing.assert_array_equal(ignoring.read(0).labels, VALUES[None])
    with pytest.raises(UserError, match=r"a\.tif.*-1"):
        MaskFolder(tmp_path).read(0)


def test_a_mask_of_another_size_is_named(folder):
    source = folder(np.zeros((8, 6), np.uint8))
    with pytest.raises(UserError, match=r"labels/a\.png is 6x8 pixels, but its image is 8x6"):
        source.read(0)


def test_an_image_without_a_mask_is_named(tmp_path, write):
    write_pair(write, tmp_path, "a")
    write(tmp_path / "images" / "b.png", IMAGE)
    with pytest.raises(UserError, match=r"images/b\.png has no mask: expected .*labels/b\.png"):
        MaskFolder(tmp_path)


@pytest.mark.parametrize("name", ["b[1]_mask.png", "b[1].jpg", "other.png"])
def test_what_lies_there_instead_of_a_mask_is_named(tmp_path, write, name):
    write(tmp_path / "images" / "b[1].png", IMAGE)
    write(tmp_path / "masks" / name, VALUES.astype(np.uint8))
    with pytest.raises(UserError, match=rf"without loss.*masks holds {re.escape(name)}$"):
        MaskFolder(tmp_path)


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(UserError, match=r"images holds no images"):
        MaskFolder(tmp_path)


def test_a_folder_without_masks_is_named(tmp_path, write):
    write(tmp_path / "images" / "a.png", IMAGE)
    with pytest.raises(UserError, match="has no folder labels or masks beside images"):
        MaskFolder(tmp_path)


def test_images_of_any_kind_find_their_masks(tmp_path, write):
    for name in ("a.jpg", "b.tif", "c.PNG"):
        write(tmp_path / "images" / name, IMAGE)
    (tmp_path / "images" / "Thumbs.db").touch()
    write(tmp_path / "labels" / "a.png", VALUES)
    write(tmp_path / "labels" / "b.tif", VALUES)
    write(tmp_path / "labels" / "c.png", VALUES)
    source = MaskFolder(tmp_path)
    assert [record.image_id for record in source.records] == ["a", "b", "c"]
    for index in range(3):
        np.testing.assert_array_equal(source.read(index).labels, VALUES[None])


def test_two_images_of_one_name_are_refused(tmp_path, write):
    write_pair(write, tmp_path, "a")
    write(tmp_path / "images" / "a.jpg", IMAGE)
    with pytest.raises(UserError, match=r"a\.(jpg|png)"):
        MaskFolder(tmp_path)


def test_folders_can_be_splits(tmp_path, write):
    for split in ("train", "test"):
        write_pair(write, tmp_path / split, "a")
    source = MaskFolder(tmp_path)
    assert [r.image_id for r in source.records] == ["train/a", "test/a"]
    assert [r.split for r in source.records] == ["train", "test"]
    assert [r.path.parent.parent.name for r in source.records] == ["train", "test"]
    assert source.read(1).image_id == "test/a"


def test_folders_may_be_called_by_other_words_for_splits(tmp_path, write):
    for split in ("training", "Valid", "validation", "ts"):
        write_pair(write, tmp_path / split, "a")
    assert recognise(tmp_path) == "mask_folder"
    source = MaskFolder(tmp_path)
    assert [(r.image_id, r.split) for r in source.records] == [
        ("training/a", "train"), ("Valid/a", "val"), ("validation/a", "val"), ("ts/a", "test"),
    ]  # fmt: skip


def test_names_that_only_look_like_splits_are_none(tmp_path, write):
    write_pair(write, tmp_path, "test_pattern")
    for name in ("test_results", "training_data"):
        (tmp_path / name).mkdir()
    assert [(r.image_id, r.split) for r in MaskFolder(tmp_path).records] == [("test_pattern", "")]


def test_a_split_without_its_images_is_named(tmp_path, write):
    write_pair(write, tmp_path / "train", "a")
    (tmp_path / "valid" / "labels").mkdir(parents=True)
    with pytest.raises(UserError, match=r"valid/images holds no images"):
        MaskFolder(tmp_path)


def test_a_manifest_chooses_images_and_gives_them_columns(tmp_path, write):
    for name in ("a", "b", "c"):
        write_pair(write, tmp_path, name)
    (tmp_path / "manifest.csv").write_text("id,split,patient\nc,test,p1\na,train,\n")
    source = MaskFolder(tmp_path)
    assert [(r.image_id, r.split) for r in source.records] == [("a", "train"), ("c", "test")]
    assert dict(source.records[1].columns) == {"id": "c", "split": "test", "patient": "p1"}


def test_what_image_and_manifest_do_not_share_is_noted(tmp_path, write):
    for name in ("a", "b", "c", "d"):
        write_pair(write, tmp_path, name)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,split\nc.png,test\na,train\nz,train\n")
    assert MaskFolder(tmp_path).notes == [
        f"2 of 4 images have no row in {manifest} and are left out, such as "
        f"{tmp_path / 'images' / 'b.png'}",
        f"1 of 3 rows of {manifest} name no image, such as 'z'",
    ]
    manifest.unlink()
    assert MaskFolder(tmp_path).notes == []


def test_known_columns_may_be_in_capitals(tmp_path, write):
    for name in ("a", "b"):
        write_pair(write, tmp_path, name)
    (tmp_path / "manifest.csv").write_text("ID, Split,GROUP,Stain\na,Train,g1,he\nb,TEST,g2,\n")
    source = MaskFolder(tmp_path)
    assert dict(source.records[0].columns) == {
        "ID": "a", "split": "Train", "group": "g1", "Stain": "he",
    }  # fmt: skip
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: [r.group for r in part.records] for name, part in splits.items()} == {
        "train": ["g1"], "val": [], "test": ["g2"],
    }  # fmt: skip


def test_an_image_that_the_manifest_leaves_out_needs_no_mask(tmp_path, write):
    write_pair(write, tmp_path, "a")
    write(tmp_path / "images" / "b.png", IMAGE)
    (tmp_path / "manifest.csv").write_text("id,split\na,train\n")
    assert [record.image_id for record in MaskFolder(tmp_path).records] == ["a"]


def test_a_manifest_that_names_no_image_is_refused(tmp_path, write):
    write_pair(write, tmp_path, "a")
    (tmp_path / "manifest.csv").write_text("id,split\nz,train\n")
    with pytest.raises(UserError, match=r"named in .*manifest\.csv: it names z, .* called a\.png"):
        MaskFolder(tmp_path)


def test_masks_of_no_image_are_told(tmp_path, write):
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.png", np.zeros((4, 5, 3), np.uint8))
    for name in ("a", "b", "c", "d"):
        write(tmp_path / "labels" / f"{name}.png", np.ones((4, 5), np.uint8))
    (note,) = MaskFolder(tmp_path).notes
    assert note.endswith("2 masks without an image left out, such as labels/c.png")

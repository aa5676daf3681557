"""YOLO segmentation as its tools write it, and mistakes in it."""

import re

import numpy as np
import pytest

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.yolo import Yolo, label_file
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (20, 40)


@pytest.fixture
def folder(tmp_path, write):
    """Ultralytics' layout: images/SPLIT and labels/SPLIT, two images to train on, one to validate."""
    pixels = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
    for name in ("train/a", "train/b", "val/c"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "images" / f"{name}.png", pixels)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text(
        "1 0.25 0.5 0.5 0.5 0.5 1.0 0.25 1.0\n\n0 0 0 0.1 0 0.1 0.2 0 0.2\n"
    )
    (tmp_path / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames: {0: cell, 1: roof}\n"
    )
    return tmp_path


def test_polygons_are_shares_of_width_and_height(folder):
    sample = Yolo(folder).read(0)
    assert sample.image_id == "a"
    assert sample.classes == {1: "roof", 2: "cell"}
    expected = np.zeros(HW, np.int32)
    expected[10:20, 10:20], expected[0:4, 0:4] = 1, 2
    np.testing.assert_array_equal(sample.labels[0], expected)


def test_an_image_without_a_file_has_no_objects(folder):
    assert not Yolo(folder).read(1).labels.any()


def test_it_is_recognised_with_its_splits(folder):
    assert recognise(folder) == recognise(folder / "data.yaml") == "yolo"
    splits = open_splits(folder, "auto", SourceSettings(), SplitSettings(test_fraction=0))
    assert [record.image_id for record in splits["train"].records] == ["a", "b"]
    assert [record.image_id for record in splits["val"].records] == ["c"]


def test_lists_of_files_and_names_as_a_list(folder):
    (folder / "train.txt").write_text("./images/train/b.png\n\n./images/train/a.png\n")
    (folder / "data.yaml").write_text("train: train.txt\nnames: [cell, roof]\n")
    source = Yolo(folder)
    assert [record.image_id for record in source.records] == ["b", "a"]
    assert source.read(1).classes == {1: "roof", 2: "cell"}


def test_roboflow_s_paths_and_names_that_come_twice(folder, write):
    write(folder / "images" / "val" / "a.png", np.zeros((*HW, 3), np.uint8))
    (folder / "data.yaml").write_text(
        "train: ../images/train\nvalid: ../images/val\nnames: [cell, roof]\n"
    )
    ids = [record.image_id for record in Yolo(folder).records]
    assert ids == ["train/a", "train/b", "val/a", "val/c"]


def test_a_test_folder_that_roboflow_names_and_leaves_out_is_told(folder):
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(f"{text}test: ../test/images\n")
    source = Yolo(folder)
    assert len(source) == 3
    note, bare = source.notes
    assert "2 of 3 images of " in bare
    assert "have no label file, and count as images without an object, such as b" in bare
    assert "names a folder or list under test that holds no images" in note
    (folder / "data.yaml").write_text(text)
    assert Yolo(folder).notes == [bare]


@pytest.mark.parametrize("key", ["validation", "Valid", "dev"])
def test_keys_may_be_other_words_for_splits(folder, key):
    (folder / "data.yaml").write_text(
        f"val:\ntrain: images/train\n{key}: images/val\nnames: [cell, roof]\n"
    )
    assert [record.split for record in Yolo(folder).records] == ["train", "train", "val"]


def test_labels_lie_where_the_last_images_is(tmp_path):
    assert label_file(tmp_path / "images" / "x" / "images" / "a.jpg") == (
        tmp_path / "images" / "x" / "labels" / "a.txt"
    )


def test_an_outline_that_leaves_the_image_is_cut_off(folder):
    (folder / "labels" / "train" / "a.txt").write_text("0 -0.5 0.5 1.5 0.5 1.5 2 -0.5 2\n")
    labels = Yolo(folder).read(0).labels[0]
    assert labels[10:].all()
    assert not labels[:10].any()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2 0.2", "is a box"),
        ("0 0.1 0.1 0.2", "3 numbers behind"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "7 numbers behind.*no confidence"),
        ("x 0.1 0.1 0.2 0.2 0.3 0.3", "expected numbers"),
        ("0.5 0.1 0.1 0.2 0.2 0.3 0.3", "expected x and y"),
        ("0 0.1 0.1 nan 0.2 0.3 0.3", "not finite"),
    ],
)
def test_a_line_that_is_no_polygon_is_named(folder, line, reason):
    (folder / "labels" / "train" / "a.txt").write_text(f"0 0 0 1 0 1 1\n{line}\n")
    with pytest.raises(UserError, match=rf"a\.txt, line 2.*{reason}"):
        Yolo(folder).read(0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("train: nowhere\nnames: [a]\n", "names nowhere, which is not there"),
        ("train: images/train\nnames: 3\n", "'names' is neither"),
        ("names: [a]\n", "names no images"),
        ("- a\n", "no YOLO data set"),
        ("a: [\n", "cannot be read as YAML"),
    ],
)
def test_a_yaml_file_that_makes_no_sense_is_said(folder, text, reason):
    (folder / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=reason):
        Yolo(folder)


def test_without_a_yaml_file_it_asks_for_one(tmp_path):
    with pytest.raises(UserError, match=r"holds no data\.yaml of YOLO: expected one with names"):
        Yolo(tmp_path)


@pytest.mark.parametrize("start", ["data/images", "/home/someone/set/images", "./images"])
def test_a_list_may_be_of_another_place(folder, start):
    (folder / "train.txt").write_text(f"{start}/train/a.png\n{start}/train/b.png\n")
    (folder / "data.yaml").write_text("path: ./\ntrain: train.txt\nnames: {0: cell, 1: roof}\n")
    source = Yolo(folder)
    assert [record.path.name for record in source.records] == ["a.png", "b.png"]
    assert source.read(0).classes == {1: "roof", 2: "cell"}


def test_label_files_of_no_image_are_told(folder):
    (folder / "labels" / "train" / "gone.txt").write_text("0 0 0 0.1 0 0.1 0.2\n")
    (folder / "labels" / "train" / "classes.txt").write_text("cell\nroof\n")
    assert (
        Yolo(folder).notes[-1].endswith("1 label file without an image left out, such as gone.txt")
    )


def test_label_studio_s_export_has_a_list_of_classes_and_no_splits(tmp_path, write):
    for name in ("a", "b", "c", "d"):
        write(tmp_path / "images" / f"{name}.png", np.zeros((*HW, 3), np.uint8))
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.txt").write_text("1 0 0 0.5 0 0.5 0.5 0 0.5\n")
    (tmp_path / "classes.txt").write_text("cell\nroof\n")
    (tmp_path / "notes.json").write_text("{}")
    assert recognise(tmp_path) == recognise(tmp_path / "classes.txt") == "yolo"
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert sorted(len(source) for source in splits.values()) == [1, 1, 2]
    assert splits["train"].read(0).classes == {1: "roof"}
    assert splits["train"].notes == []


def test_a_class_beyond_the_names_is_refused(folder):
    for value in (2, -1):
        (folder / "labels" / "train" / "a.txt").write_text(f"{value} 0 0 0 1 1 1\n")
        with pytest.raises(UserError, match=rf"holds the class {value}, but the names .* 0 to 1"):
            Yolo(folder).read(0)


def test_numbers_of_names_may_be_texts(folder):
    text = (
        (folder / "data.yaml").read_text().replace("{0: cell, 1: roof}", "{'0': cell, '1': roof}")
    )
    (folder / "data.yaml").write_text(text)
    assert Yolo(folder).read(0).classes == {1: "roof", 2: "cell"}


def test_labels_may_begin_with_a_mark_of_byte_order(folder):
    expected = Yolo(folder).read(0).labels
    file = folder / "labels" / "train" / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    np.testing.assert_array_equal(Yolo(folder).read(0).labels, expected)


def test_two_pictures_with_one_label_file_are_refused(folder, write):
    write(folder / "images" / "train" / "a.bmp", np.zeros((*HW, 3), np.uint8))
    with pytest.raises(UserError, match=r"a\.bmp and .*a\.png share a name and so the labels"):
        Yolo(folder)


def test_labels_without_a_yaml_file_are_recognised_and_it_is_asked_for(folder):
    (folder / "data.yaml").unlink()
    assert recognise(folder) == "yolo"
    with pytest.raises(UserError, match=r"holds no data\.yaml of YOLO"):
        Yolo(folder)


def test_an_image_of_a_list_that_is_not_there_is_named_with_its_list(folder):
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(re.sub(r"(?m)^train:.*$", "train: train.txt", text))
    (folder / "train.txt").write_text("images/train/a.png\n/mages/a.png\n/else/where.png\n")
    with pytest.raises(UserError, match=r"train.txt names /mages/a.png.*2 of 3 images are miss"):
        Yolo(folder)

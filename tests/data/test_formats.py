import json
import shutil
from typing import get_args

import numpy as np
import pytest

from samtune.data.coco_layout import coco_files
from samtune.data.formats import READERS, open_splits, recognise
from samtune.data.settings import Format, SourceSettings, SplitSettings
from samtune.errors import UserError


def write_coco(file, write, images, **more):
    for name in images:
        write(file.parent / name, np.zeros((6, 8, 3), np.uint8))
    entries = [{"id": number, "file_name": name} for number, name in enumerate(images)]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"images": entries, "annotations": []} | more))
    return file


def opened(path, data_format="auto", **splits):
    sources = open_splits(path, data_format, SourceSettings(), SplitSettings(**splits))
    return {name: [r.image_id for r in source.records] for name, source in sources.items()}


def test_a_folder_of_images_and_masks_is_recognised(scenes_folder):
    assert recognise(scenes_folder) == "mask_folder"


def test_folders_of_splits_are_recognised(tmp_path, write):
    write(tmp_path / "train" / "images" / "a.png", np.zeros((6, 8, 3), np.uint8))
    assert recognise(tmp_path) == "mask_folder"


def test_a_coco_file_and_a_folder_with_one_are_recognised(tmp_path, write):
    file = write_coco(tmp_path / "coco.json", write, ["a.png"])
    assert recognise(file) == "coco"
    assert recognise(tmp_path) == "coco"


def test_images_beside_a_coco_file_are_no_mask_folder(tmp_path, write):
    write_coco(tmp_path / "coco.json", write, ["images/a.png"])
    assert recognise(tmp_path) == "coco"


def test_a_stray_json_makes_no_coco_of_a_folder_of_masks(tmp_path, scenes_folder):
    shutil.copytree(scenes_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "licence.json").write_text('{"name": "CC0"}')
    assert recognise(tmp_path) == "mask_folder"


def test_a_list_in_json_makes_no_label_studio_of_a_folder_of_masks(tmp_path, scenes_folder):
    shutil.copytree(scenes_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "licences.json").write_text("[]")
    assert recognise(tmp_path) == "mask_folder"


@pytest.mark.parametrize("name", ["", "notes.txt"])
def test_anything_else_is_not_recognised(tmp_path, name):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="is not recognised: expected images/ with labels/"):
        recognise(tmp_path / name)


def test_drawn_scenes_need_no_path_and_take_the_seed(tmp_path):
    splits = open_splits(tmp_path / "no", "drawn", SourceSettings(), SplitSettings(seed=5))
    assert set(splits) == {"train", "val", "test"}
    other = open_splits(tmp_path / "no", "drawn", SourceSettings(), SplitSettings(seed=6))
    assert not np.array_equal(splits["val"].read(0).image, other["val"].read(0).image)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no data at .*gone: set data\.path"):
        opened(tmp_path / "gone")


def test_a_mask_folder_is_divided(scenes_folder):
    splits = opened(scenes_folder)
    assert {name: len(part) for name, part in splits.items()} == {"train": 3, "val": 2, "test": 2}


def test_a_single_coco_file_is_divided(tmp_path, write):
    names = [f"i{n}.png" for n in range(10)]
    file = write_coco(tmp_path / "coco.json", write, names)
    for path in (file, tmp_path):
        splits = opened(path, val_fraction=0.2, test_fraction=0.1)
        assert {k: len(v) for k, v in splits.items()} == {"train": 7, "val": 2, "test": 1}


def test_coco_files_can_be_splits(tmp_path, write):
    for split in ("train", "val", "test"):
        write_coco(tmp_path / f"{split}.json", write, [f"{split}/a.png"])
        (tmp_path / f"{split}.json").write_text(
            json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": []})
        )
    expected = {"train": ["train/a.png"], "val": ["val/a.png"], "test": ["test/a.png"]}
    assert opened(tmp_path) == expected


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/{}_annotations.json", "images/{}"),
        ("annotations/{}_annotations.json", "{}"),
        ("{}/_annotations.coco.json", "{}"),
    ],
)
def test_coco_files_may_be_called_by_other_words_for_splits(tmp_path, write, annotations, images):
    for split in ("training", "validation", "test"):
        write(tmp_path / images.format(split) / "a.png", np.zeros((6, 8, 3), np.uint8))
        file = tmp_path / annotations.format(split)
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": []})
        )
    expected = {"train": ["train/a.png"], "val": ["val/a.png"], "test": ["test/a.png"]}
    assert opened(tmp_path) == expected


def test_validation_is_drawn_from_a_coco_train_file(tmp_path, write):
    write_coco(tmp_path / "train.json", write, [f"i{n}.png" for n in range(10)])
    write_coco(tmp_path / "test.json", write, ["t.png"])
    splits = opened(tmp_path, val_fraction=0.2)
    assert splits["test"] == ["test/t.png"]
    assert (len(splits["train"]), len(splits["val"])) == (8, 2)
    assert sorted(splits["train"] + splits["val"]) == [f"train/i{n}.png" for n in range(10)]


def test_coco_files_without_a_train_file_are_named(tmp_path, write):
    write_coco(tmp_path / "val.json", write, ["a.png"])
    write_coco(tmp_path / "test.json", write, ["b.png"])
    with pytest.raises(UserError, match=r"holds (val, test|test, val) but no train\.json"):
        opened(tmp_path)


def test_coco_files_without_a_split_are_parts_of_one_data_set(tmp_path, write):
    for part in range(3):
        names = [f"p{part}_{n}.png" for n in range(4)]
        write_coco(tmp_path / f"batch_{part}.json", write, names)
    (tmp_path / "settings.json").write_text(json.dumps({"zoom": 2}))
    splits = open_splits(
        tmp_path, "auto", SourceSettings(), SplitSettings(val_fraction=0.25, test_fraction=0.25)
    )
    found = sorted(record.image_id for source in splits.values() for record in source.records)
    assert found == [f"p{part}_{n}.png" for part in range(3) for n in range(4)]
    assert [len(source) for source in splits.values()] == [6, 3, 3]
    (note,) = splits["train"].notes
    assert "1 JSON file without images and annotations left out" in note
    assert "settings.json" in note


def test_an_image_in_two_coco_files_is_named(tmp_path, write):
    for name, images in (("a", ["1.png", "2.png"]), ("b", ["2.png", "3.png"])):
        write_coco(tmp_path / f"{name}.json", write, images)
    with pytest.raises(UserError, match=r"the image 2\.png is in .*a\.json and in .*b\.json"):
        opened(tmp_path)
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(UserError, match=r"b\.json cannot be read as JSON"):
        opened(tmp_path)


def test_a_folder_said_to_be_coco_without_a_file_is_named(scenes_folder):
    with pytest.raises(UserError, match="holds no COCO file"):
        opened(scenes_folder, "coco")


@pytest.mark.parametrize(
    "name", ["train.json", "instances_train2017.json", "my-train.json", "annotations/train.json"]
)
def test_a_split_is_found_in_the_files_name(tmp_path, name):
    (tmp_path / "annotations").mkdir()
    (tmp_path / name).touch()
    assert coco_files(tmp_path) == {"train": [tmp_path / name]}


def test_a_word_that_only_holds_a_splits_name_is_none(tmp_path):
    (tmp_path / "training_evaluation.json").touch()
    assert coco_files(tmp_path) == {"": [tmp_path / "training_evaluation.json"]}


def test_the_instances_of_coco_win_over_its_key_points_and_captions(tmp_path):
    for kind in ("captions", "instances", "person_keypoints", "stuff"):
        for split in ("train", "val"):
            (tmp_path / f"{kind}_{split}2017.json").touch()
    assert coco_files(tmp_path) == {
        "train": [tmp_path / "instances_train2017.json"],
        "val": [tmp_path / "instances_val2017.json"],
    }


def test_each_format_has_one_reader():
    assert set(get_args(Format)) == {"auto", "drawn", *READERS}


def test_images_without_masks_are_told_what_is_missing(tmp_path, write):
    write(tmp_path / "images" / "a.png", np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"has no folder labels or masks beside images"):
        opened(tmp_path)

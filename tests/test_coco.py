"""COCO files: masks come back exactly, numbers are unique, and nothing is half written."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from samtune.coco import CocoFile
from samtune.files import replacing_file
from samtune.masks import rle_to_mask

HW = (150, 200)


def mask_of(window):
    mask = np.zeros(HW, np.bool_)
    mask[window] = True
    return mask


@pytest.fixture(scope="module")
def objects():
    """Name, mask and score of a rectangle with a hole, a pixel, and an object not found."""
    holed = mask_of(np.s_[20:50, 30:60])
    holed[30:40, 40:50] = False
    return [
        ("cell", holed, 0.987654),
        ("speck", mask_of(np.s_[70, 100]), 0.5),
        ("cell", mask_of(np.s_[:0]), 0.25),
    ]


@pytest.fixture
def write(tmp_path):
    """A function that writes a file by what is done with it; returns its place."""

    def write(fill=lambda coco: None, info=None, categories=None):
        place = tmp_path / "results.json"
        with replacing_file(place) as temporary, temporary.open("wb") as file:
            coco = CocoFile(file, info)
            fill(coco)
            coco.finish(categories)
        return place

    return write


@pytest.fixture
def file(write, objects):
    def fill(coco):
        first = coco.add_image("a.png", HW)
        for name, mask, score in objects:
            coco.add_mask(first, coco.category(name), mask, score=score)
        coco.add_image("b.png", (60, 80))
        third = coco.add_image("c.png", (60, 200))
        coco.add_mask(third, coco.category("speck"), objects[1][1][:60], score=1.0)

    return write(fill)


@pytest.fixture
def content(file):
    return json.loads(file.read_text())


def test_the_run_lengths_decode_to_the_masks_again(content, objects):
    for annotation, (_, mask, _) in zip(content["annotations"], objects, strict=False):
        np.testing.assert_array_equal(rle_to_mask(annotation["segmentation"]), mask)


def test_pycocotools_reads_the_file(file, objects):
    coco = COCO(file)
    assert coco.getImgIds() == [1, 2, 3]
    for number, (_, mask, _) in enumerate(objects, start=1):
        np.testing.assert_array_equal(coco.annToMask(coco.loadAnns(number)[0]), mask)


def test_boxes_areas_and_scores(content):
    found = [(a["bbox"], a["area"], a["score"]) for a in content["annotations"]]
    assert found == [
        ([30, 20, 30, 30], 800, 0.987654),
        ([100, 70, 1, 1], 1, 0.5),
        ([0, 0, 0, 0], 0, 0.25),
        ([0, 0, 0, 0], 0, 1.0),
    ]


def test_objects_belong_to_their_images_and_numbers_are_unique(content):
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png", "c.png"]
    sizes = [(image["height"], image["width"]) for image in content["images"]]
    assert sizes == [(150, 200), (60, 80), (60, 200)]
    assert [a["image_id"] for a in content["annotations"]] == [1, 1, 1, 3]
    assert [a["id"] for a in content["annotations"]] == [1, 2, 3, 4]
    assert {a["iscrowd"] for a in content["annotations"]} == {0}


def test_a_category_for_each_name(content):
    assert content["categories"] == [{"id": 1, "name": "cell"}, {"id": 2, "name": "speck"}]
    assert [a["category_id"] for a in content["annotations"]] == [1, 2, 1, 2]


def test_nothing_added_is_still_a_file(write):
    expected = {"images": [], "annotations": [], "categories": []}
    assert json.loads(write().read_text()) == expected


def test_a_caller_may_number_everything_itself_and_say_more(write):
    def fill(coco):
        assert coco.add_image("a.png", (9, 9), 7, scene="x") == 7
        coco.add_object(7, 4, [[0, 0, 2, 0, 2, 2]], np.array([0, 0, 2, 2]), 9, 30, group="é")

    categories = [{"id": 4, "name": "cell", "supercategory": "tissue"}]
    assert json.loads(write(fill, {"year": 2}, categories).read_text()) == {
        "info": {"year": 2},
        "images": [{"id": 7, "file_name": "a.png", "height": 9, "width": 9, "scene": "x"}],
        "annotations": [{
            "id": 30, "image_id": 7, "category_id": 4, "segmentation": [[0, 0, 2, 0, 2, 2]],
            "bbox": [0, 0, 3, 3], "area": 9, "iscrowd": 0, "group": "é",
        }],
        "categories": categories,
    }  # fmt: skip


def test_a_score_that_is_no_number_leaves_no_file(write, objects, tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(lambda coco: coco.add_mask(1, 1, objects[1][1], score=float("nan")))
    assert list(tmp_path.iterdir()) == []

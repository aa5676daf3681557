"""The user's own prompts find their objects."""

import json

import numpy as np
import pytest
from PIL import Image

from samtune.errors import UserError
from samtune.evaluation.own_prompts import OwnPrompts
from samtune.inference.prompt_files import read_prompts
from samtune.types import ObjectKey


@pytest.fixture
def objects(tmp_path):
    """Three objects of one image: the first two beside one another, the third far off."""
    truths = np.zeros((3, 40, 60), np.bool_)
    truths[0, 5:15, 5:15] = truths[1, 5:15, 15:25] = truths[2, 30:38, 40:58] = True
    return tmp_path / "a.png", [ObjectKey("a", number) for number in (4, 7, 9)], list(truths)


@pytest.fixture
def own(tmp_path):
    """A function that makes prompts of entries of a file."""
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")

    def make(*entries):
        file = tmp_path / "prompts.json"
        file.write_text(json.dumps([{"image": "a.png", **entry} for entry in entries]))
        return OwnPrompts(tuple(read_prompts(file, [])))

    return make


def boxes(prompts):
    return [None if prompt is None else prompt.box_xyxy.tolist() for prompt in prompts]


def test_boxes_go_to_the_object_that_they_fit_best(own, objects):
    found = own({"box": [14, 4, 26, 16]}, {"box": [41, 29, 58, 38]}).of_objects(*objects)
    assert boxes(found) == [None, [14, 4, 26, 16], [41, 29, 58, 38]]


def test_a_box_around_nothing_prompts_nothing(own, objects):
    assert own({"box": [0, 20, 10, 28]}).of_objects(*objects) == [None, None, None]


def test_positive_points_decide_and_negative_ones_do_not(own, objects):
    found = own({"points": [[7, 7], [20, 10]], "labels": [0, 1]}).of_objects(*objects)
    assert [prompt is not None for prompt in found] == [False, True, False]


def test_a_named_object_is_taken_at_its_word(own, objects):
    found = own({"box": [14, 4, 26, 16], "object": 9}).of_objects(*objects)
    assert boxes(found) == [None, None, [14, 4, 26, 16]]
    assert own({"box": [14, 4, 26, 16], "object": 1}).of_objects(*objects) == [None] * 3


def test_of_two_prompts_the_first_counts(own, objects):
    found = own({"box": [5, 5, 14, 14]}, {"points": [[6, 6]]}).of_objects(*objects)
    assert found[0].box_xyxy is not None
    assert found[1] is found[2] is None


def test_other_images_of_the_same_name_and_images_without_objects_have_none(own, objects):
    prompts, (path, keys, truths) = own({"box": [5, 5, 14, 14]}), objects
    assert prompts.of_objects(path.parent / "other" / "a.png", keys, truths) == [None] * 3
    assert prompts.of_objects(path, [], []) == []


@pytest.mark.parametrize("value", ["4", 1.5, True, [1]])
def test_an_id_that_is_none_is_a_user_s_error(own, value):
    with pytest.raises(UserError, match=r"prompts\.json, entry 0: 'object' is"):
        own({"box": [5, 5, 14, 14], "object": value})

"""The user's own prompts find their objects."""

import json

import numpy as np
import pytest
from PIL import Image

from samtune.data.objects import find_objects
from samtune.errors import UserError
from samtune.evaluation.own_prompts import OwnPrompts
from samtune.prompts.prompt_files import read_prompts


@pytest.fixture
def objects(tmp_path):
    """Three objects of one image: the first two beside one another, the third far off."""
    labels = np.zeros((1, 40, 60), np.int32)
    labels[0, 5:15, 5:15], labels[0, 5:15, 15:25], labels[0, 30:38, 40:58] = 4, 7, 9
    return tmp_path / "a.png", labels, find_objects(labels)


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
    return {owner: prompt.box_xyxy.tolist() for owner, prompt in prompts.items()}


def test_boxes_go_to_the_object_that_they_fit_best(own, objects):
    found = own({"box": [14, 4, 26, 16]}, {"box": [41, 29, 58, 38]}).of_image(*objects)
    assert boxes(found) == {7: [14, 4, 26, 16], 9: [41, 29, 58, 38]}


def test_boxes_go_where_they_fit_best_together_whatever_their_order(own, objects):
    wide, exact = {"box": [5, 5, 24, 14]}, {"box": [5, 5, 14, 14]}
    for entries in ((wide, exact), (exact, wide)):
        assert boxes(own(*entries).of_image(*objects)) == {4: exact["box"], 7: wide["box"]}


def test_a_box_around_nothing_prompts_nothing(own, objects):
    assert own({"box": [0, 20, 10, 28]}).of_image(*objects) == {}


def test_positive_points_decide_and_negative_ones_do_not(own, objects):
    found = own({"points": [[7, 7], [20, 10]], "labels": [0, 1]}).of_image(*objects)
    assert list(found) == [7]


def test_points_beside_objects_leave_it_to_the_box(own, objects):
    found = own({"points": [[0, 0]], "box": [5, 5, 14, 14]}).of_image(*objects)
    assert list(found) == [4]


def test_a_named_object_is_taken_at_its_word(own, objects):
    found = own({"box": [14, 4, 26, 16], "id": 9}).of_image(*objects)
    assert boxes(found) == {9: [14, 4, 26, 16]}
    assert own({"box": [14, 4, 26, 16], "id": 1}).of_image(*objects) == {}


def test_of_two_prompts_for_one_object_one_counts(own, objects):
    found = own({"points": [[6, 6]]}, {"points": [[7, 7]]}).of_image(*objects)
    assert found[4].point_coords.tolist() == [[6, 6]]
    assert len(found) == 1


def test_objects_that_are_too_small_to_count_get_none(own, objects):
    path, labels, places = objects
    found = own({"points": [[6, 6]]}, {"points": [[20, 10]]}).of_image(path, labels, places[1:])
    assert list(found) == [7]


def test_other_images_of_the_same_name_and_images_without_objects_have_none(own, objects):
    prompts, (path, labels, places) = own({"box": [5, 5, 14, 14]}), objects
    assert prompts.of_image(path.parent / "other" / "a.png", labels, places) == {}
    assert prompts.of_image(path, labels, []) == {}


@pytest.mark.parametrize("value", ["4", 1.5, True, [1]])
def test_an_id_that_is_none_is_a_user_s_error(own, value):
    with pytest.raises(UserError, match=r"prompts\.json, entry 0: 'id' is"):
        own({"box": [5, 5, 14, 14], "id": value})


def test_the_former_name_of_an_id_is_not_passed_over(own):
    with pytest.raises(UserError, match=r"entry 0: 'object' is called 'id' now"):
        own({"box": [5, 5, 14, 14], "object": 9})

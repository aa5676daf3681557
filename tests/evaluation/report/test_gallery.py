"""The gallery keeps the largest gains and losses, whatever the order they come in."""

import itertools

import numpy as np
import pytest

from samtune.evaluation.asking import Answer
from samtune.evaluation.report.gallery import Gallery, difference
from samtune.types import Prompt, Sample


@pytest.fixture
def answer(make_row):
    """A function that makes an answer with given IoUs, the object's id telling which it is."""

    def make(object_id, base, tuned=None):
        row = make_row("a", base, tuned, object_id=object_id)
        image, labels = np.full((*row.hw, 3), 90, np.uint8), np.zeros((1, *row.hw), np.int32)
        prompt = Prompt(box_xyxy=np.array([0, object_id % 10, 99, object_id % 10], np.float32))
        return Answer(row, Sample("a", image, labels), lambda: prompt)

    return make


def ids(pictures):
    return [picture.row.key.object_id for picture in pictures]


CHANGES = {1: 0.1, 2: -0.3, 3: 0.4, 4: 0.0, 5: -0.1, 6: 0.2}


@pytest.mark.parametrize("order", [list(CHANGES), list(CHANGES)[::-1], [4, 2, 6, 1, 5, 3]])
def test_the_largest_changes_are_kept_largest_first(answer, order):
    gallery = Gallery(size=6, side=16)
    for number in order:
        gallery.add(answer(number, 0.5, 0.5 + CHANGES[number]))
    assert ids(gallery.gains) == [3, 6]
    assert ids(gallery.losses) == [2, 5]


def test_an_object_that_did_not_change_is_neither_a_gain_nor_a_loss(answer):
    gallery = Gallery(size=24, side=16)
    for number, change in CHANGES.items():
        gallery.add(answer(number, 0.5, 0.5 + change))
    assert ids(gallery.gains) == [3, 6, 1]
    assert ids(gallery.losses) == [2, 5]


def test_of_a_base_alone_the_best_and_the_worst_are_kept(answer):
    gallery = Gallery(size=6, side=16)
    for number, iou in enumerate((0.5, 0.9, 0.1, 0.7, 0.0), start=1):
        gallery.add(answer(number, iou))
    assert ids(gallery.gains) == [2, 4]
    assert ids(gallery.losses) == [5, 3]


def test_equal_changes_do_not_confuse_it(answer):
    gallery = Gallery(size=6, side=16)
    for number in range(1, 6):
        gallery.add(answer(number, 0.5, 0.75))
    assert len(gallery.gains) == 2
    assert gallery.losses == []


def test_no_more_than_its_size_is_ever_held(answer):
    gallery = Gallery(size=9, side=16)
    for number, change in enumerate(itertools.chain(np.linspace(-0.4, 0.4, 40)), start=1):
        gallery.add(answer(number, 0.5, 0.5 + change))
    assert ids(gallery.gains) == [40, 39, 38]
    assert ids(gallery.losses) == [1, 2, 3]


def test_an_empty_gallery_has_no_pictures():
    gallery = Gallery()
    assert gallery.gains == gallery.losses == []


@pytest.mark.parametrize(("tuned", "panels"), [(0.9, 5), (None, 3)], ids=["compared", "base alone"])
def test_a_picture_has_a_panel_for_the_prompt_the_truth_and_each_contestant(answer, tuned, panels):
    gallery = Gallery(size=3, side=32)
    gallery.add(answer(1, 0.5, tuned))
    (picture,) = gallery.gains
    # the image of 10 x 100 pixels becomes 3 x 32
    assert picture.image.shape == (3, panels * 32 + (panels - 1) * 4, 3)
    assert picture.image.dtype == np.uint8


def test_the_difference_is_tuned_minus_base_or_the_base_s_own_iou(make_row):
    assert difference(make_row("a", 0.5, 0.25)) == -0.25
    assert difference(make_row("a", 0.5)) == 0.5


def test_an_object_is_shown_once_with_its_largest_change(answer):
    gallery = Gallery(size=9, side=16)
    for change in (0.1, 0.4, 0.2):
        gallery.add(answer(1, 0.5, 0.5 + change))
    assert [picture.rank for picture in gallery.gains] == pytest.approx([0.4])

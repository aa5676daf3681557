"""Objects of a label map are sharpened each for itself, and put together again."""

import numpy as np
import pytest
import torch

from samtune.inference.sharp_objects import found_objects, sharpened_objects
from samtune.models.sharpening.network import Sharpener

HW = (60, 90)


@pytest.fixture
def labels():
    """Two objects that touch, and one apart."""
    labels = np.zeros(HW, np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50], labels[40:55, 60:80] = 1, 2, 3
    return labels


@pytest.fixture
def foreground(labels):
    return np.where(labels > 0, 3.0, -3.0).astype(np.float32)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (*HW, 3)).astype(np.uint8)


class Answering(Sharpener):
    """A sharpener whose answer is a function of SAM's logits in the crop."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.eval().requires_grad_(False)

    def forward(self, inputs):
        return self.answer(inputs[:, -1]), super().forward(inputs)[1]


def test_each_object_has_the_others_as_surely_outside(labels, foreground):
    one, two, three = found_objects(labels, foreground)
    assert [one.number, two.number, three.number] == [1, 2, 3]
    for found in (one, two, three):
        inside = labels[found.window.slices] == found.number
        assert ((found.logits > 0) == inside).all()
        assert inside.sum() == (labels == found.number).sum()
    assert one.prompt.box_xyxy.tolist() == [10, 10, 29, 29]
    assert one.logits[10 - one.window.y, 40 - one.window.x] == -3.0  # of the second one


def test_what_stays_as_it_was_gives_the_same_labels(labels, foreground, image):
    same = sharpened_objects(Answering(lambda logits: logits), image, labels, foreground)
    assert (same == labels).mean() > 0.99
    assert set(np.unique(same)) == {0, 1, 2, 3}


def test_an_object_that_grows_keeps_off_what_others_hold_more_surely(labels, foreground, image):
    grown = sharpened_objects(Answering(lambda logits: logits + 4), image, labels, foreground)
    assert (grown == 3).sum() > (labels == 3).sum()
    assert (grown[12:28, 12:28] == 1).all()
    assert (grown[12:28, 33:48] == 2).all()


def test_one_of_which_nothing_would_be_left_stays(labels, foreground, image):
    gone = sharpened_objects(Answering(lambda logits: logits - 9), image, labels, foreground)
    assert (gone == labels).all()


def test_holes_are_filled_and_the_largest_piece_stays(labels, foreground, image):
    def answer(logits):
        torn = logits.clone()
        torn[:, 30:34, 30:34] = -5.0  # a hole in the middle of each crop
        torn[:, :2, :2] = 5.0  # and a piece in its corner
        return torn

    found = sharpened_objects(Answering(answer), image, labels, foreground)
    assert (found[15:25, 15:25] == 1).all()
    assert (found == 3).sum() == pytest.approx((labels == 3).sum(), rel=0.1)


def test_crops_unlike_those_of_training_are_left(labels, foreground, image):
    strange = Answering(lambda logits: logits - 9)
    strange.whitening.copy_(torch.eye(len(strange.mean)))
    strange.mean.fill_(100.0)
    strange.limit.fill_(1.0)
    assert (sharpened_objects(strange, image, labels, foreground) == labels).all()


def test_an_image_without_objects_has_none(image):
    nothing = np.zeros(HW, np.int32)
    found = sharpened_objects(Sharpener().eval(), image, nothing, np.full(HW, -1, np.float32))
    assert not found.any()

"""Answers that need no network, beside every model."""

import numpy as np
import pytest

from samtune.evaluation.trivial import best_of, trivial_ious
from samtune.types import Prompt

HW = (60, 80)


def disc(y=30, x=40, radius=12):
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def picture(mask):
    image = np.full((*HW, 3), 40, np.uint8)
    image[mask] = 160
    return image


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_from_a_box_it_is_filled_or_holds_an_ellipse_or_what_is_brighter():
    truth = disc()
    prompt = Prompt(box_xyxy=np.float32([28, 18, 52, 42]))
    found = trivial_ious(picture(truth), prompt, truth)
    box = np.zeros(HW, bool)
    box[18:43, 28:53] = True
    assert found["box filled"] == pytest.approx(iou(box, truth))
    assert found["ellipse in the box"] > 0.88
    assert found["Otsu in the box"] == 1


def test_of_a_dark_object_otsu_takes_the_dark_side():
    truth = disc()
    image = 255 - picture(truth)
    found = trivial_ious(image, Prompt(box_xyxy=np.float32([26, 16, 54, 44])), truth)
    assert found["Otsu in the box"] == 1


def test_what_lies_outside_the_box_is_missed():
    truth = disc()
    found = trivial_ious(picture(truth), Prompt(box_xyxy=np.float32([28, 18, 40, 42])), truth)
    assert found["Otsu in the box"] == pytest.approx(truth[:, :41].sum() / truth.sum())


def test_from_a_point_like_greys_are_filled():
    truth = disc() | disc(10, 10, 5)
    prompt = Prompt(np.float32([[40, 30]]), np.int64([1]))
    found = trivial_ious(picture(truth), prompt, truth)
    assert set(found) == {"flood fill (0.05)", "flood fill (0.1)", "flood fill (0.2)"}
    assert found["flood fill (0.1)"] == pytest.approx(disc().sum() / truth.sum())


@pytest.mark.parametrize("box", [[-5, -5, 3, 3], [70, 50, 100, 90], [79, 59, 79, 59]])
def test_boxes_at_the_edge_are_answered(box):
    truth = disc(0, 0, 5) | disc(59, 79, 5)
    found = trivial_ious(picture(truth), Prompt(box_xyxy=np.float32(box)), truth)
    assert all(0 <= value <= 1 for value in found.values())


def test_a_mask_prompt_has_none():
    prompt = Prompt(mask_input=np.zeros((64, 64), np.float32))
    assert trivial_ious(picture(disc()), prompt, disc()) == {}


def test_the_best_is_taken_of_all_objects_together():
    best = best_of([{"a": 0.9, "b": 0.5}, {"a": 0.1, "b": 0.6}])
    assert best == {"name": "b", "miou": pytest.approx(0.55)}
    assert best_of([{}, {}]) is None
    assert best_of([]) is None

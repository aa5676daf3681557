"""AP, mSA and PQ against numbers worked out by hand."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from samtune.evaluation.metrics.instances import Instances, instance_scores


def rle(rows, columns):
    mask = np.zeros((20, 20), np.uint8, order="F")
    mask[rows, columns] = 1
    return coco_mask.encode(mask)


def image(truths, predictions, scores, classes=None):
    names = classes or [""] * len(truths)
    return Instances(truths, names, predictions, names[: len(predictions)], scores)


A, B = rle(slice(0, 10), slice(0, 10)), rle(slice(10, 20), slice(10, 20))
A_80 = rle(slice(0, 8), slice(0, 10))  # IoU 0.8 with A
NOTHING = rle(slice(0, 0), slice(0, 0))


def test_perfect_instances():
    scores = instance_scores([image([A, B], [A, B], [0.9, 0.8])])
    assert scores == pytest.approx(
        dict.fromkeys(("ap", "ap50", "ap75", "msa", "pq", "sq", "rq"), 1)
    )


def test_one_of_two_at_eighty_percent():
    scores = instance_scores([image([A, B], [A_80, NOTHING], [0.9, 0.8])])
    # a recall of 0.5 at full precision: 51 of COCO's 101 recall points
    assert scores["ap50"] == scores["ap75"] == pytest.approx(51 / 101)
    # AP counts 0.80 at the threshold of 0.80, and so does mSA: found at seven of ten thresholds
    assert scores["ap"] == pytest.approx(0.7 * 51 / 101)
    assert scores["msa"] == pytest.approx(0.7 * 1 / 2)
    assert scores["rq"] == pytest.approx(1 / 1.5)
    assert scores["sq"] == pytest.approx(0.8)
    assert scores["pq"] == pytest.approx(0.8 / 1.5)


def test_a_false_one_costs_accuracy():
    wrong = rle(slice(0, 5), slice(12, 20))
    scores = instance_scores([image([A, B], [A, wrong], [0.9, 0.95])])
    assert scores["msa"] == pytest.approx(1 / 3)
    assert scores["pq"] == pytest.approx(1 / 2)
    # the wrong one comes first: precision 1/2 at recall 1/2
    assert scores["ap50"] == pytest.approx(0.5 * 51 / 101)


def test_nothing_found_is_zero():
    scores = instance_scores([image([A], [NOTHING], [0.5])])
    assert set(scores.values()) == {0.0}


def test_overlapping_predictions_are_made_apart_by_score():
    both = rle(slice(0, 20), slice(0, 20))  # covers everything, and is surer
    scores = instance_scores([image([A, B], [A, both], [0.5, 0.9])])
    assert scores["pq"] == 0.0  # nothing is left of A, and the large one fits nothing


def test_classes_count_alike_and_images_are_averaged():
    first = image([A, B], [A, NOTHING], [0.9, 0.5], ["x", "y"])
    scores = instance_scores([first])
    assert scores["pq"] == pytest.approx(0.5)
    assert scores["ap"] == pytest.approx(0.5)
    second = image([A, B], [A, B], [0.9, 0.5], ["x", "y"])
    assert instance_scores([first, second])["msa"] == pytest.approx((0.5 + 1) / 2)


def test_more_than_a_hundred_an_image():
    cells = [rle(slice(y, y + 1), slice(x, x + 1)) for y in range(0, 20, 2) for x in range(0, 20)]
    scores = instance_scores([image(cells, cells, list(np.linspace(0.1, 0.9, len(cells))))])
    assert scores["ap"] == scores["msa"] == scores["pq"] == pytest.approx(1.0)


def test_a_perfect_answer_to_overlapping_truth_is_perfect():
    part = rle(slice(0, 5), slice(0, 5))
    scores = instance_scores([image([A, part], [A, part], [0.9, 0.8])])
    assert scores["msa"] == scores["pq"] == pytest.approx(1.0)

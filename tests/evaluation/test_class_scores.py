import numpy as np
import pytest

from samtune.evaluation.class_scores import calibration_error, class_scores, doubted

TOLD = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.97, 0.03, 0.0], [0.6, 0.4, 0.0]])
TRUTH = np.array([0, 1, 1, 0])


def test_scores_of_four_objects():
    scores = class_scores(TOLD, TRUTH)
    assert scores["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert scores["top1"] == 0.75
    # the third class is neither there nor named
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_class_that_is_named_and_not_there_counts():
    scores = class_scores(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 0]))
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_probabilities_that_mean_what_they_say():
    told = np.tile([0.75, 0.25], (4, 1))
    assert calibration_error(told, np.array([0, 0, 0, 1])) == pytest.approx(0)
    assert calibration_error(told, np.array([1, 1, 1, 1])) == pytest.approx(0.75)


def test_labels_are_doubted_where_another_class_is_sure():
    assert doubted(TOLD, TRUTH).tolist() == [2]
    assert doubted(TOLD, np.array([0, 1, 0, 0])).tolist() == []

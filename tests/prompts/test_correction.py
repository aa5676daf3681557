import numpy as np
import pytest

from samtune.prompts.correction import correction_click, correction_pair

PLACINGS = ["uniform", "centre"]


def block(rows, columns, hw=(40, 60)):
    mask = np.zeros(hw, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


NOTHING = np.zeros((40, 60), bool)


def clicks(truth, prediction, placing, count=40, from_truth=0.0):
    rng = np.random.default_rng(0)
    return [correction_click(truth, prediction, placing, rng, from_truth) for _ in range(count)]


def is_in(mask, xy):
    return bool(mask[int(xy[1]), int(xy[0])])


@pytest.mark.parametrize("placing", PLACINGS)
def test_a_missed_object_gets_a_positive_click_in_it(mask, placing):
    for xy, label in clicks(mask, NOTHING, placing):
        assert label == 1
        assert is_in(mask, xy)


@pytest.mark.parametrize("placing", PLACINGS)
def test_what_is_wrongly_taken_gets_a_negative_click_in_it(mask, placing):
    for xy, label in clicks(NOTHING, mask, placing):
        assert label == 0
        assert is_in(mask, xy)


@pytest.mark.parametrize("placing", PLACINGS)
def test_a_click_lies_in_the_error_and_its_label_tells_the_truth(mask, placing):
    prediction = block((5, 22), (10, 35))
    for xy, label in clicks(mask, prediction, placing):
        assert is_in(mask ^ prediction, xy)
        assert label == is_in(mask, xy)


@pytest.mark.parametrize("placing", PLACINGS)
def test_without_an_error_the_click_is_positive_and_in_the_truth(mask, placing):
    for xy, label in clicks(mask, mask, placing):
        assert label == 1
        assert is_in(mask, xy)


@pytest.mark.parametrize("placing", PLACINGS)
def test_without_truth_and_prediction_the_click_is_negative_anywhere(placing):
    answers = clicks(NOTHING, NOTHING, placing, count=300)
    columns, rows = np.array([xy for xy, _ in answers]).T
    assert {label for _, label in answers} == {0}
    assert columns.min() >= 0
    assert columns.max() <= 59
    assert rows.min() >= 0
    assert rows.max() <= 39
    assert columns.std() > 12
    assert rows.std() > 8


def test_uniform_clicks_fall_on_missed_and_wrong_by_their_area():
    truth, prediction = block((0, 10), (0, 10)), block((20, 30), (0, 30))
    labels = [label for _, label in clicks(truth, prediction, "uniform", count=2000)]
    assert np.mean(labels) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("missed", "wrong", "expected"),
    [
        (block((2, 9), (3, 10)), block((20, 25), (30, 35)), ((6, 5), 1)),
        (block((2, 7), (3, 8)), block((20, 27), (30, 37)), ((33, 23), 0)),
        (block((0, 3), (0, 60)), block((20, 25), (30, 35)), ((32, 22), 0)),
    ],
    ids=["missed is thicker", "wrong is thicker", "missed is larger but thinner"],
)
def test_a_centred_click_is_the_middle_of_the_thicker_error(missed, wrong, expected):
    assert clicks(missed, wrong, "centre", count=1) == [expected]


def test_a_centred_click_does_not_depend_on_chance(mask):
    assert len(set(clicks(mask, block((5, 22), (10, 35)), "centre"))) == 1


def test_a_click_from_the_truth_is_positive_even_where_all_error_is_wrongly_taken():
    truth, prediction = block((0, 10), (0, 10)), block((0, 30), (0, 30))
    for xy, label in clicks(truth, prediction, "centre", from_truth=1.0):
        assert label == 1
        assert is_in(truth, xy)


def test_a_tenth_of_the_clicks_is_from_the_truth():
    truth, prediction = block((0, 10), (0, 10)), block((0, 30), (0, 30))
    labels = [label for _, label in clicks(truth, prediction, "uniform", 2000, from_truth=0.1)]
    assert np.mean(labels) == pytest.approx(0.1, abs=0.025)


def test_an_empty_truth_gives_a_click_in_the_error_instead():
    wrong = block((5, 12), (10, 17))
    assert clicks(NOTHING, wrong, "centre", count=1, from_truth=1.0) == [((13, 8), 0)]


def test_a_click_leaves_the_masks_alone(mask):
    prediction = block((5, 22), (10, 35))
    clicks(mask, prediction, "centre", count=1)
    np.testing.assert_array_equal(prediction, block((5, 22), (10, 35)))


@pytest.mark.parametrize("placing", PLACINGS)
def test_the_same_generator_gives_the_same_clicks(mask, placing):
    prediction = block((5, 22), (10, 35))
    assert clicks(mask, prediction, placing) == clicks(mask, prediction, placing)


class TestPairs:
    def test_one_lies_in_what_was_missed_and_one_in_what_was_wrongly_taken(self):
        truth, prediction = block((5, 20), (10, 30)), block((12, 30), (20, 50))
        for seed in range(20):
            pair = correction_pair(truth, prediction, np.random.default_rng(seed))
            (inside, first), (outside, second) = pair
            assert (first, second) == (1, 0)
            assert is_in(truth & ~prediction, inside)
            assert is_in(prediction & ~truth, outside)

    def test_where_nothing_is_wrong_they_lie_in_the_truth_and_beside_it(self):
        truth = block((5, 20), (10, 30))
        (inside, first), (outside, second) = correction_pair(truth, truth, np.random.default_rng(0))
        assert (first, second) == (1, 0)
        assert is_in(truth, inside)
        assert not is_in(truth, outside)

    def test_a_truth_that_fills_everything_has_no_negative_one(self):
        ((_, label),) = correction_pair(~NOTHING, ~NOTHING, np.random.default_rng(0))
        assert label == 1

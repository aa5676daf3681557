"""The IoU head: how far it is off, a map that mends it, thresholds for review queues."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from samtune.errors import UserError
from samtune.evaluation.calibration import (
    check_threshold,
    expected_error,
    fit_calibration,
    held_out_errors,
    review_threshold,
)


@pytest.fixture
def overconfident(make_row):
    """Predicted IoU x where the measured one is about x squared."""

    def make(count, seed=0):
        rng = np.random.default_rng(seed)
        predicted = rng.uniform(0.3, 1.0, count)
        measured = np.clip(predicted**2 + rng.normal(0, 0.03, count), 0, 1)
        return [
            make_row(f"{n}", float(y), predicted=float(x))
            for n, (x, y) in enumerate(zip(predicted, measured, strict=True))
        ]

    return make


class TestExpectedError:
    def test_numbers_worked_out_by_hand(self, make_row):
        rows = [make_row(f"{n}", iou, predicted=p) for n, (p, iou) in enumerate(
            [(0.5, 0.4), (0.9, 1.0)]
        )]  # fmt: skip
        found = expected_error(rows, "base")
        assert found["ece"] == found["mae"] == pytest.approx(0.1)
        assert found["bias"] == pytest.approx(0.0)
        assert found["bins"] == [
            {"predicted": 0.5, "measured": 0.4, "num_masks": 1},
            {"predicted": 0.9, "measured": 1.0, "num_masks": 1},
        ]

    def test_ten_bins_of_equally_many(self, overconfident):
        bins = expected_error(overconfident(205), "base")["bins"]
        assert [each["num_masks"] for each in bins] == [21] * 5 + [20] * 5
        assert all(a["predicted"] < b["predicted"] for a, b in pairwise(bins))


class TestFit:
    @pytest.mark.parametrize(("count", "method"), [(1000, "isotonic"), (60, "temperature")])
    def test_it_mends_other_masks_too(self, overconfident, count, method):
        calibration = fit_calibration(overconfident(count), "base", "val")
        assert (calibration.method, calibration.num_masks) == (method, count)
        others = overconfident(2000, seed=1)
        before = expected_error(others, "base")["ece"]
        after = expected_error(others, "base", calibration.of_array)["ece"]
        assert before > 0.15
        assert after < 0.03

    @pytest.mark.parametrize("count", [1000, 60])
    def test_scores_keep_their_order_and_stay_between_0_and_1(self, overconfident, count):
        calibration = fit_calibration(overconfident(count), "base", "val")
        assert (np.diff(calibration.calibrated) > 0).all()
        assert len(calibration.raw) <= 53
        values = calibration.of_array(np.linspace(-0.1, 1.4, 300))
        assert (np.diff(values) > 0).all()  # beyond the scores that it was fitted on, too
        assert 0 <= values.min() < values.max() <= 1

    def test_scores_that_say_nothing_become_the_mean(self, make_row):
        rng = np.random.default_rng(0)
        rows = [make_row(f"{n}", float(rng.uniform()), predicted=0.9) for n in range(300)]
        calibration = fit_calibration(rows, "base", "val")
        mean = np.mean([row.scores["base"].iou for row in rows])
        assert calibration.of_array(np.array([0.9]))[0] == pytest.approx(mean, abs=0.02)

    def test_the_best_of_three_masks_stays_the_best(self, overconfident):
        calibration = fit_calibration(overconfident(300), "base", "val")
        scores = torch.from_numpy(
            np.random.default_rng(2).integers(800, 1100, (500, 3)) / 1000
        ).float()
        assert torch.equal(calibration(scores).argmax(1), scores.argmax(1))

    def test_too_few_masks_are_a_user_s_error(self, overconfident):
        with pytest.raises(UserError, match="19 masks are too few"):
            fit_calibration(overconfident(19), "base", "val")


class TestReview:
    def test_the_lowest_score_that_keeps_the_promise(self):
        scores = np.linspace(0, 1, 101)
        ious = np.where(scores > 0.395, 0.9, 0.1)  # 61 good ones, from 0.40 up
        found = review_threshold(scores, ious, iou=0.8, share=0.9)
        # 61 good of 67 are 91%, of 68 they are 89.7%
        assert found.coverage == pytest.approx(67 / 101)
        assert found.score == pytest.approx(scores[101 - 67])

    def test_no_score_is_high_enough(self):
        found = review_threshold(np.linspace(0, 1, 50), np.full(50, 0.5), 0.8, 0.9)
        assert (found.score, found.coverage) == (None, 0.0)

    def test_a_few_lucky_masks_do_not_decide(self):
        scores, ious = np.linspace(0, 1, 100), np.zeros(100)
        ious[-10:] = 1
        assert review_threshold(scores, ious, 0.8, 0.9).score is None

    def test_equal_scores_pass_together(self):
        scores = np.array([0.9] * 25 + [0.5] * 25)
        ious = np.array([1.0] * 25 + [1.0] * 3 + [0.0] * 22)
        found = review_threshold(scores, ious, 0.8, 0.95)
        assert (found.score, found.coverage) == (0.9, 0.5)

    def test_it_is_checked_on_other_masks(self):
        threshold = review_threshold(np.linspace(0, 1, 100), np.linspace(0, 1, 100), 0.8, 0.9)
        checked = check_threshold(threshold, np.array([0.9, 0.99, 0.1]), np.array([0.9, 0.5, 0.9]))
        assert checked["share"] == 0.5
        assert checked["coverage"] == pytest.approx(2 / 3)
        nothing = check_threshold(threshold, np.array([0.1]), np.array([0.9]))
        assert (nothing["share"], nothing["coverage"]) == (None, 0.0)


class TestHeldOut:
    def scores(self, measured_of):
        rng = np.random.default_rng(3)
        predicted = rng.uniform(0.2, 0.6, 400)
        measured = np.clip(measured_of(predicted) + rng.normal(0, 0.02, 400), 0, 1)
        return predicted, measured, np.repeat(np.arange(10), 40)

    def test_what_is_off_alike_in_all_images_is_mended(self):
        before, after = held_out_errors(*self.scores(lambda score: score + 0.3))
        assert before == pytest.approx(0.3, abs=0.01)
        assert after < 0.02

    def test_a_map_that_holds_for_half_of_the_images_is_no_help(self):
        predicted, measured, images = self.scores(lambda score: score)
        measured = np.clip(measured + np.where(images % 2, 0.3, -0.15), 0, 1)
        before, after = held_out_errors(predicted, measured, images)
        assert after > before

    def test_one_image_has_no_other(self):
        predicted, measured, images = self.scores(lambda score: score)
        with pytest.raises(UserError, match="too few"):
            held_out_errors(predicted, measured, np.zeros_like(images))

"""Is it better? Intervals, tests and verdicts, paired by object and clustered by image."""

import numpy as np
import pytest
from scipy import stats

from samtune.evaluation import statistics
from samtune.evaluation.statistics import (
    bootstrap_interval,
    fewest_clusters,
    holm,
    judge,
    paired_difference,
    signed_rank_p,
    smallest_difference,
    standard_error,
)


class TestInterval:
    def test_a_constant_difference_is_its_own_interval(self):
        values, images = np.full(7, 0.25), np.array(list("aabbccc"))
        assert bootstrap_interval(values, images, seed=0) == (0.25, 0.25)

    def test_one_image_gives_none(self):
        assert bootstrap_interval(np.array([0.1, 0.4]), np.array(["a", "a"]), seed=0) is None

    def test_two_images_of_one_object_give_both_values(self):
        # resampled: both the first (1/4), both the second (1/4), one of each (1/2)
        assert bootstrap_interval(np.array([0.0, 1.0]), np.array(["a", "b"]), seed=0) == (0.0, 1.0)

    def test_means_are_over_objects_so_that_images_with_more_of_them_weigh_more(self):
        values = np.array([0.0] * 9 * 50 + [1.0] * 50)  # 50 images of nine objects, 50 of one
        images = np.array([f"many{n // 9}" for n in range(450)] + [f"one{n}" for n in range(50)])
        low, high = bootstrap_interval(values, images, seed=0)
        assert 0.05 < low < 0.1 < high < 0.2  # the mean over images would be 0.5

    def test_it_is_about_two_standard_errors_for_independent_images(self):
        values = np.random.default_rng(0).normal(0.1, 0.2, 400)
        low, high = bootstrap_interval(values, np.arange(400).astype(str), seed=0)
        error = values.std() / 20
        assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
        assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)

    def test_objects_of_one_image_that_are_alike_make_it_wider(self):
        rng = np.random.default_rng(1)
        values = np.repeat(rng.normal(0, 0.1, 20), 30) + rng.normal(0, 0.01, 600)
        clustered = bootstrap_interval(values, np.repeat(np.arange(20), 30).astype(str), seed=0)
        independent = bootstrap_interval(values, np.arange(600).astype(str), seed=0)
        ratio = (clustered[1] - clustered[0]) / (independent[1] - independent[0])
        assert 4 < ratio < 7  # the root of 30 objects an image is 5.5

    def test_the_same_seed_gives_the_same_interval_whatever_the_order(self):
        values = np.random.default_rng(2).normal(size=50)
        images = np.repeat(np.arange(10), 5).astype(str)
        order = np.random.default_rng(3).permutation(50)
        found = bootstrap_interval(values, images, seed=4)
        assert bootstrap_interval(values[order], images[order], seed=4) == pytest.approx(found)
        assert bootstrap_interval(values, images, seed=5) != found

    def test_few_clusters_have_wider_intervals_than_plain_percentiles(self):
        values = np.random.default_rng(3).normal(0.1, 0.2, 8)
        sums, counts = values, np.ones(8)
        plain = np.percentile(statistics._resampled_means(sums, counts, 0), [2.5, 97.5])
        low, high = bootstrap_interval(values, np.arange(8).astype(str), 0)
        assert low < plain[0] < plain[1] < high
        # of a normal sample it is about Student's interval
        margin = stats.t.ppf(0.975, 7) * values.std(ddof=1) / np.sqrt(8)
        assert high - low == pytest.approx(2 * margin, rel=0.15)

    @pytest.mark.parametrize(("num_clusters", "trials"), [(15, 600), (40, 600)])
    def test_it_covers_the_truth_as_often_as_it_says(self, monkeypatch, num_clusters, trials):
        """Clusters of 1 to 39 objects that are alike; the true difference is 0.03."""
        monkeypatch.setattr(statistics, "NUM_RESAMPLES", 1000)
        rng, hits = np.random.default_rng(5), 0
        for trial in range(trials):
            sizes = rng.integers(1, 40, num_clusters)
            values = np.repeat(rng.normal(0.03, 0.05, num_clusters), sizes)
            values = values + rng.normal(0, 0.1, sizes.sum())
            clusters = np.repeat(np.arange(num_clusters), sizes).astype(str)
            low, high = bootstrap_interval(values, clusters, trial)
            hits += low <= 0.03 <= high
        assert 0.92 <= hits / trials <= 0.97


class TestSignedRank:
    def test_it_is_scipy_s_test_on_the_means_of_clusters(self):
        values = np.array([0.1, 0.3, -0.1, 0.2, 0.5, 0.05, 0.07])
        clusters = np.array(list("aabcdef"))
        means = [0.2, -0.1, 0.2, 0.5, 0.05, 0.07]
        assert signed_rank_p(values, clusters) == stats.wilcoxon(means).pvalue

    def test_six_gains_of_six_are_the_least_p_of_six(self):
        values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        assert signed_rank_p(values, np.arange(6).astype(str)) == pytest.approx(2 / 2**6)

    def test_no_difference_at_all_is_certain_to_be_chance(self):
        assert signed_rank_p(np.zeros(4), np.array(list("abcd"))) == 1.0

    def test_one_cluster_says_nothing(self):
        assert signed_rank_p(np.array([0.1, 0.2]), np.array(["a", "a"])) is None

    def test_many_objects_of_few_images_do_not_make_it_surer(self):
        values = np.repeat([0.1, 0.2, 0.3], 500)
        assert signed_rank_p(values, np.repeat(list("abc"), 500)) == pytest.approx(0.25)


class TestSmallestDifference:
    def test_it_is_the_t_formula_for_independent_objects(self):
        values = np.random.default_rng(0).normal(0, 0.1, 30)
        error = standard_error(values, np.arange(30).astype(str))
        assert error == pytest.approx(values.std(ddof=1) / np.sqrt(30))
        expected = (stats.t.ppf(0.975, 29) + stats.t.ppf(0.8, 29)) * error
        assert smallest_difference(error, 30) == pytest.approx(expected)

    def test_many_objects_of_an_image_do_not_make_it_smaller(self):
        means = np.random.default_rng(1).normal(0, 0.1, 20)
        alone = standard_error(means, np.arange(20).astype(str))
        many = standard_error(np.repeat(means, 9), np.repeat(np.arange(20), 9).astype(str))
        assert many == pytest.approx(alone)

    def test_a_difference_of_that_size_is_found_four_times_in_five(self):
        rng = np.random.default_rng(1)
        size = smallest_difference(0.1 / 5, 25)
        found = sum(
            stats.ttest_1samp(rng.normal(size, 0.1, 25), 0).pvalue < 0.05 for _ in range(1000)
        )
        assert found / 1000 == pytest.approx(0.8, abs=0.05)

    def test_more_questions_need_larger_differences(self):
        assert smallest_difference(0.02, 25, 5) > smallest_difference(0.02, 25, 1)

    def test_where_the_test_can_never_speak_there_is_none(self):
        assert standard_error(np.array([0.1]), np.array(["a"])) is None
        assert smallest_difference(None, 1) is None
        assert smallest_difference(0.02, 5) is None
        assert smallest_difference(0.02, 7, 5) is None


class TestHolm:
    def test_numbers_worked_out_by_hand(self):
        # sorted .01 .02 .03 .04: times 4, 3, 2, 1, never falling
        assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])

    def test_never_above_one_and_unknown_ones_do_not_count(self):
        assert holm([0.6, None, 0.5]) == [1.0, None, 1.0]
        assert holm([None, 0.03]) == [None, 0.03]
        assert holm([]) == []


class TestVerdict:
    def difference(self, values, clusters=None):
        names = np.arange(len(values)).astype(str) if clusters is None else np.array(clusters)
        return paired_difference(np.array(values), names, 0)

    def test_counts_and_mean(self):
        found = self.difference([0.2, 0.0009, -0.0009, 0.0011, -0.2])
        assert (found.num_gained, found.num_tied, found.num_lost) == (2, 2, 1)
        assert found.mean == pytest.approx(0.0011 / 5)
        assert not found.is_identical

    @pytest.mark.parametrize(
        ("values", "p", "verdict"),
        [
            ([0.1, 0.2] * 5, 0.01, "better"),
            ([-0.1, -0.2] * 5, 0.01, "worse"),
            ([0.1, 0.2] * 5, 0.06, "unclear"),
            ([0.1, -0.1] * 5, 0.01, "unclear"),
            ([0.0] * 10, 1.0, "identical"),
            ([0.1, 0.2], 0.01, "unknown"),
            ([0.1], None, "unknown"),
        ],
    )
    def test_interval_and_test_must_agree(self, values, p, verdict):
        found = self.difference(values)
        assert judge(found.is_identical, found.ci95, p, len(values), 1) == verdict

    def test_as_many_images_are_needed_as_the_test_needs_to_say_anything(self):
        assert fewest_clusters(1) == 6  # 2 / 2 ** 6 = 0.031
        assert fewest_clusters(5) == 8  # 5 * 2 / 2 ** 8 = 0.039
        for questions in range(1, 12):
            least = questions * 2.0 ** (1 - fewest_clusters(questions))
            assert least < 0.05 <= 2 * least

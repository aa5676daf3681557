"""From rows to means, paired differences, intervals and sentences."""

import csv
import io

import numpy as np
import pytest

from samtune.evaluation.summary import (
    bootstrap_interval,
    summarise,
    to_csv,
    to_markdown,
    verdict,
)


@pytest.fixture
def rows(make_row):
    """Two objects on image a and one on image b, under one protocol."""
    return [
        make_row("a", 0.2, 0.3, object_id=1, class_name="cell"),
        make_row("a", 0.4, 0.6, object_id=2, class_name="nucleus"),
        make_row("b", 0.9, 0.9, object_id=1, class_name="cell"),
    ]


def summary_of(base, tuned, interval):
    delta = {"miou": tuned - base, "ci95": interval}
    return {"base": {"miou": base}, "tuned": {"miou": tuned}, "delta": delta}


class TestMeans:
    def test_over_objects_and_over_images(self, rows):
        box = summarise(rows)["box"]
        assert box["base"]["miou"] == pytest.approx(0.5)
        assert box["tuned"]["miou"] == pytest.approx(0.6)
        assert box["base"]["miou_per_image"] == pytest.approx((0.3 + 0.9) / 2)
        assert box["tuned"]["miou_per_image"] == pytest.approx((0.45 + 0.9) / 2)
        assert box["base"]["dice"] == pytest.approx((0.4 / 1.2 + 0.8 / 1.4 + 1.8 / 1.9) / 3)
        assert box["base"]["predicted_iou"] == 0.5
        assert (box["num_objects"], box["num_images"]) == (3, 2)

    def test_the_difference_is_paired_and_counted(self, rows):
        delta = summarise(rows)["box"]["delta"]
        assert delta["miou"] == pytest.approx(0.1)
        assert (delta["num_gained"], delta["num_tied"], delta["num_lost"]) == (2, 1, 0)

    def test_a_thousandth_is_a_tie_and_more_is_not(self, make_row):
        changes = (0.0009, -0.0009, 0.0011, -0.0011, -0.2)
        rows = [make_row("a", 0.5, 0.5 + change) for change in changes]
        delta = summarise(rows)["box"]["delta"]
        assert (delta["num_gained"], delta["num_tied"], delta["num_lost"]) == (1, 2, 2)

    def test_protocols_stand_apart_in_the_order_of_their_rows(self, make_row):
        rows = [
            make_row("a", 0.1, 0.2, protocol="point"),
            make_row("a", 0.5, 0.7, protocol="box"),
            make_row("b", 0.3, 0.4, protocol="point"),
        ]
        summaries = summarise(rows)
        assert list(summaries) == ["point", "box"]
        assert summaries["point"]["base"]["miou"] == pytest.approx(0.2)
        assert summaries["box"]["tuned"]["miou"] == pytest.approx(0.7)

    def test_a_base_alone_has_neither_tuned_nor_difference(self, make_row):
        box = summarise([make_row("a", 0.2), make_row("b", 0.4)])["box"]
        assert box["base"]["miou"] == pytest.approx(0.3)
        assert box["tuned"] is box["delta"] is None


class TestClasses:
    def test_each_class_has_its_own_numbers_in_the_order_of_names(self, rows):
        classes = summarise(rows)["box"]["per_class"]
        assert list(classes) == ["cell", "nucleus"]
        assert classes["cell"]["base"]["miou"] == pytest.approx(0.55)
        assert classes["cell"]["delta"]["miou"] == pytest.approx(0.05)
        assert (classes["cell"]["num_objects"], classes["cell"]["num_images"]) == (2, 2)
        assert classes["nucleus"]["tuned"]["miou"] == pytest.approx(0.6)
        assert classes["nucleus"]["delta"]["ci95"] is None

    def test_objects_without_classes_have_no_such_table(self, make_row):
        assert "per_class" not in summarise([make_row("a", 0.2, 0.3)])["box"]

    def test_one_named_class_is_shown(self, make_row):
        assert list(summarise([make_row("a", 0.2, class_name="x")])["box"]["per_class"]) == ["x"]

    def test_objects_without_a_class_stand_beside_named_ones(self, make_row):
        rows = [make_row("a", 0.2), make_row("a", 0.4, class_name="x")]
        assert list(summarise(rows)["box"]["per_class"]) == ["", "x"]


class TestInterval:
    def test_a_constant_difference_is_its_own_interval(self):
        values, images = np.full(7, 0.25), np.array(list("aabbccc"))
        assert bootstrap_interval(values, images, seed=0) == [0.25, 0.25]

    def test_one_image_gives_none(self):
        assert bootstrap_interval(np.array([0.1, 0.4]), np.array(["a", "a"]), seed=0) is None

    def test_two_images_of_one_object_give_both_values(self):
        # resampled: both the first (1/4), both the second (1/4), one of each (1/2)
        assert bootstrap_interval(np.array([0.0, 1.0]), np.array(["a", "b"]), seed=0) == [0.0, 1.0]

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

    def test_it_holds_the_mean(self, rows):
        delta = summarise(rows)["box"]["delta"]
        assert delta["ci95"][0] <= delta["miou"] <= delta["ci95"][1]


class TestVerdict:
    @pytest.mark.parametrize(
        ("summary", "sentence"),
        [
            (
                summary_of(0.5, 0.625, [0.0601, 0.19]),
                "box: 0.500 for the base, 0.625 tuned (+0.125, 95% interval +0.060 to +0.190): better.",
            ),
            (
                summary_of(0.5, 0.375, [-0.19, -0.0601]),
                "box: 0.500 for the base, 0.375 tuned (-0.125, 95% interval -0.190 to -0.060): "
                "WORSE than the base.",
            ),
            (
                summary_of(0.5, 0.5625, [-0.01, 0.125]),
                "box: 0.500 for the base, 0.562 tuned (+0.062, 95% interval -0.010 to +0.125): "
                "no difference that these images could show.",
            ),
            (
                summary_of(0.5, 0.5, [0.0, 0.0]),
                "box: 0.500 for the base, 0.500 tuned (+0.000, 95% interval +0.000 to +0.000): "
                "no difference that these images could show.",
            ),
            (
                summary_of(0.5, 0.625, None),
                "box: 0.500 for the base, 0.625 tuned (+0.125; a single image gives no interval).",
            ),
            (
                {"base": {"miou": 0.5}, "tuned": None, "delta": None},
                "box: the base reaches a mIoU of 0.500.",
            ),
        ],
        ids=["better", "worse", "unclear", "equal", "one image", "base alone"],
    )
    def test_one_plain_sentence(self, summary, sentence):
        assert verdict("box", summary) == sentence


class TestTables:
    def test_markdown_of_a_comparison(self, rows):
        head, rule, row = to_markdown(summarise(rows)).splitlines()
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:4] == ["box", "0.500", "0.600", "+0.100"]
        assert " to " in cells[4]
        assert cells[5:] == ["0.617", "0.720", "3", "2"]
        assert head.count("|") == rule.count("|") == row.count("|") == 10

    def test_markdown_of_one_image_and_of_a_base_alone(self, make_row):
        one = to_markdown(summarise([make_row("a", 0.5, 0.6)])).splitlines()[2]
        assert one == "| box | 0.500 | 0.600 | +0.100 | one image | 0.667 | 0.750 | 1 | 1 |"
        alone = to_markdown(summarise([make_row("a", 0.5)])).splitlines()[2]
        assert alone == "| box | 0.500 | - | - | - | 0.667 | - | 1 | 1 |"

    def test_csv_has_a_line_for_each_row(self, rows):
        assert to_csv(rows).splitlines()[:2] == [
            "protocol,image_id,object_id,class,area,base_iou,base_dice,base_predicted_iou,"
            "tuned_iou,tuned_dice,tuned_predicted_iou",
            "box,a,1,cell,100,0.200000,0.333333,0.500000,0.300000,0.461538,0.500000",
        ]
        assert len(to_csv(rows).splitlines()) == 4

    def test_csv_of_a_base_alone(self, make_row):
        assert to_csv([make_row("a", 0.5)]) == (
            "protocol,image_id,object_id,class,area,base_iou,base_dice,base_predicted_iou\n"
            "box,a,1,,100,0.500000,0.666667,0.500000\n"
        )

    def test_csv_keeps_names_with_commas_and_quotes(self, make_row):
        row = make_row('scan 1, left "b"', 0.5, class_name="x,y")
        (line,) = csv.DictReader(io.StringIO(to_csv([row])))
        assert (line["image_id"], line["class"]) == ('scan 1, left "b"', "x,y")

    def test_csv_of_nothing_is_its_head(self):
        assert to_csv([]).startswith("protocol,image_id,object_id,class,area,base_iou")
        assert len(to_csv([]).splitlines()) == 1

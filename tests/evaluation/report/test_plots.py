"""Charts: numbers on axes, names of axes, what a column or a point counts."""

import re

import pytest

from samtune.evaluation.report.plots import Bar, Series, forest, histogram, line_chart, ticks


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


class TestTicks:
    @pytest.mark.parametrize(
        ("low", "high", "with_sign", "expected"),
        [
            (0, 1, False, ["0", "0.25", "0.5", "0.75", "1"]),
            (-1, 1, True, ["-1", "-0.5", "0", "+0.5", "+1"]),
            (-0.1, 0.1, True, ["-0.1", "-0.05", "0", "+0.05", "+0.1"]),
            (0.55, 0.8, False, ["0.6", "0.7", "0.8"]),
            (0, 7, False, ["0", "2", "4", "6"]),
            (0, 1300, False, ["0", "500", "1000"]),
        ],
    )
    def test_they_are_round_and_as_short_as_they_can_be(self, low, high, with_sign, expected):
        assert [text for _, text in ticks(low, high, with_sign)] == expected

    def test_each_says_its_place(self):
        assert all(value == float(text) for value, text in ticks(-0.3, 0.9, True))


class TestHistogram:
    def test_absolute_values_run_from_0_to_1_without_signs(self):
        shown = texts(histogram([0.1, 0.9], "IoU", "objects", is_difference=False))
        assert shown == ["0", "1", "2", "3", "4", "0", "0.25", "0.5", "0.75", "1", "IoU", "objects"]

    def test_differences_have_signs_and_as_much_room_as_they_need(self):
        shown = texts(histogram([-0.15, 0.02], "gain", "objects", is_difference=True))
        assert shown[5:10] == ["-0.2", "-0.1", "0", "+0.1", "+0.2"]

    def test_counts_on_the_axis_are_whole(self):
        svg = histogram([0.5] * 9, "IoU", "objects", is_difference=False)
        assert texts(svg)[:2] == ["0", "5"]
        assert re.findall(r": (\d+)</title>", svg) == ["9"]

    def test_only_what_lies_below_zero_is_a_loss(self):
        svg = histogram([-0.01, 0.0, 0.05], "gain", "objects", is_difference=True)
        assert re.findall(r'class="(lost|tuned)"', svg) == ["lost", "tuned", "tuned"]


class TestLines:
    def test_both_axes_are_named(self):
        svg = line_chart([Series("base", "base", [1, 2], [0.2, 0.4])], "number of prompts", "mIoU")
        assert {"number of prompts", "mIoU"} <= set(texts(svg))

    def test_a_point_says_what_stands_behind_it(self):
        svg = line_chart(
            [Series("base", "base", [0.5], [0.25], notes=["7 masks"])], "predicted", "measured"
        )
        assert "<title>base, 0.5: 0.250: 7 masks</title>" in svg


def test_a_forest_has_an_axis_with_its_name():
    shown = texts(forest([Bar("size up to 9 px", 0.1, (-0.1, 0.3)), Bar("b", 0.2, None)], "gain"))
    assert {"gain", "0", "+0.2", "+0.100", "+0.200"} <= set(shown)
    (cut, *_) = (t for t in texts(forest([Bar("x" * 40, 0.1, None)], "gain")) if "x" in t)
    assert cut == "..." + "x" * 25

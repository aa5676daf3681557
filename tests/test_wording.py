"""Numbers with their nouns."""

import pytest

from samtune.wording import counted, duration, signed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, "object"), "0 objects"),
        ((1, "object"), "1 object"),
        ((2, "object"), "2 objects"),
        ((1200, "mask"), "1,200 masks"),
        ((1, "class", "classes"), "1 class"),
        ((3, "class", "classes"), "3 classes"),
    ],
)
def test_one_is_singular(arguments, text):
    assert counted(*arguments) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (40, "40 s"), (89, "89 s"), (90, "2 min"), (300, "5 min"), (5400, "1.5 h")],
)
def test_times_are_said_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (0.1234, "+0.123"),
        (-0.1236, "-0.124"),
        (0.0, "+0.000"),
        (-0.0, "+0.000"),
        (-0.0004, "+0.000"),
    ],
)
def test_nothing_has_no_minus(difference, text):
    assert signed(difference) == text

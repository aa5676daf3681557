"""Where to stop: gain on the domain against what is forgotten."""

import pytest

from samtune.evaluation.tradeoff import ScalePoint, find_knee


def sweep(gains, changes):
    scales = [n / (len(gains) - 1) for n in range(len(gains))]
    return [
        ScalePoint(
            scale, 0.5 + gain, 0.6 + change, gain, change
        )
        for scale, gain, change in zip(scales, gains, changes, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gains", "changes", "knee"),
    [
        ((0, 0.05, 0.08, 0.09, 0.095), (0, -0.01, -0.02, -0.05, -0.09), 0.5),
        ((0, 0.1, 0.2, 0.3, 0.4), (0, -0.005, -0.01, -0.015, -0.02), 1.0),  # much for little
        ((0, 0.001, 0.002, 0.003, 0.004), (0, -0.02, -0.04, -0.06, -0.08), 0.0),
        ((0, -0.01, -0.02, -0.03, -0.04), (0, 0, 0, 0, 0), 0.0),
        ((0, 0.1, 0.1, 0.1, 0.1), (0, 0.01, 0.02, 0.03, 0.04), 1.0),  # nothing is lost
    ],
)
def test_the_largest_sum_of_gain_and_loss(gains, changes, knee):
    assert find_knee(sweep(gains, changes)).scale == knee


def test_a_general_set_that_rose_buys_no_loss_on_the_domain():
    assert find_knee(sweep((0, 0.02, 0.01), (0, 0.0, 0.05))).scale == 0.5

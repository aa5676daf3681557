"""Where to stop: gain on the domain against what is forgotten."""

import pytest

from samtune.evaluation.tradeoff import ScalePoint, find_knee


def sweep(gains, changes, interval=0.01):
    scales = [n / (len(gains) - 1) for n in range(len(gains))]
    return [
        ScalePoint(
            scale, 0.5 + gain, 0.6 + change, gain, change, None, (change - interval, change + interval)
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


def test_a_loss_that_may_be_chance_moves_nothing():
    gains, changes = (0, 0.1, 0.11, 0.111, 0.1111), (0, -0.001, -0.003, -0.0045, -0.006)
    assert find_knee(sweep(gains, changes, interval=0.01)).scale == 1.0
    assert find_knee(sweep(gains, changes, interval=0.0001)).scale == 0.5

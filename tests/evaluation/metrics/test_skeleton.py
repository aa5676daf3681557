"""clDice: thin structures that hang together, or do not."""

import numpy as np
import pytest

from samtune.evaluation.metrics.skeleton import cldice


def line(columns, rows=slice(4, 7)):
    mask = np.zeros((11, 60), np.bool_)
    mask[rows, columns] = True
    return mask


def test_equal_lines_and_lines_apart():
    assert cldice(line(slice(5, 55)), line(slice(5, 55))) == 1.0
    assert cldice(line(slice(5, 55), 1), line(slice(5, 55), 9)) == 0.0


def test_half_a_line_is_precise_but_finds_half():
    found = cldice(line(slice(0, 30), 5), line(slice(0, 60), 5))
    assert found == pytest.approx(2 * 1.0 * 0.5 / 1.5)


def test_a_line_that_is_too_wide_is_still_the_line():
    wide, thin = line(slice(2, 58), slice(3, 8)), line(slice(0, 60), 5)
    iou = (wide & thin).sum() / (wide | thin).sum()
    assert cldice(wide, thin) > 0.9 > 0.3 > iou


@pytest.mark.parametrize(("first", "second", "expected"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0)])
def test_empty_masks(first, second, expected):
    masks = [line(slice(0, 20 * number)) for number in (first, second)]
    assert cldice(*masks) == expected

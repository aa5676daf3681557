"""Objects of windows that are laid down by hand: which are objects of the scene."""

import numpy as np
import pytest

from samtune.inference.geo.grid import Cell
from samtune.inference.geo.seams import Seams
from samtune.inference.geo.store import WindowStore
from samtune.progress import Progress
from samtune.types import Window

# Two windows of 10 x 20 that share 8 columns; their cores meet at column 16.
CELLS = [
    Cell(0, 0, Window(0, 0, 10, 20), Window(0, 0, 10, 16)),
    Cell(0, 1, Window(0, 12, 10, 20), Window(0, 16, 10, 16)),
]


@pytest.fixture
def lay_down(tmp_path):
    """A function from boxes (columns from, to) of each window, in the scene, to seams."""

    def lay(left, right, classes=None):
        store = WindowStore(Progress(tmp_path / "done", {}))
        for side, (cell, boxes) in enumerate(zip(CELLS, (left, right), strict=True)):
            labels = np.zeros((10, 20), np.int32)
            for number, (begin, end) in enumerate(boxes, start=1):
                labels[2:6, begin - cell.window.x : end - cell.window.x] = number
            scores = np.full(len(boxes), 0.9, np.float32)
            told = {} if classes is None else _told(classes[side])
            store.write(cell, {"labels": labels, "scores": scores, **told})
        return Seams(CELLS, store)

    return lay


def _told(pairs):
    names, sure = [name for name, _ in pairs], [each for _, each in pairs]
    return {"classes": np.array(names, np.str_), "class_scores": np.array(sure, np.float32)}


def test_of_two_parts_the_class_of_the_larger_and_surer_is_taken(lay_down):
    # of 14 columns 6 lie in the left core and 8 in the right one
    found = lay_down([(10, 20)], [(12, 24)], [[("barn", 0.9)], [("house", 0.8)]])
    assert found.classes.tolist() == ["house"]
    assert found.class_scores.tolist() == pytest.approx([0.8 * 8 / 14])
    found = lay_down([(10, 20)], [(12, 24)], [[("barn", 0.9)], [("house", 0.6)]])
    assert found.classes.tolist() == ["barn"]
    found = lay_down([(10, 20)], [(12, 24)], [[("barn", 0.9)], [("barn", 0.6)]])
    assert found.class_scores.tolist() == pytest.approx([(0.9 * 6 + 0.6 * 8) / 14])


def test_where_nobody_tells_classes_there_are_none(lay_down):
    assert lay_down([(10, 20)], [(12, 24)]).classes is None


def test_what_both_windows_see_alike_is_one_object(lay_down):
    assert lay_down([(10, 20)], [(12, 24)]).areas.tolist() == [4 * 14]


@pytest.mark.parametrize(
    ("columns", "area"),
    [
        ((14, 18), 4 * 4),  # half of it lies in the core
        ((14, 19), 0),  # two of five columns do
        ((12, 16), 4 * 4),
        ((17, 20), 0),
    ],
)
def test_what_one_window_alone_sees_has_to_lie_mostly_in_its_core(lay_down, columns, area):
    assert sum(lay_down([columns], []).areas.tolist()) == area

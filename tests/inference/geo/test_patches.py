"""Connected areas of classes over several windows."""

import numpy as np
import pytest
from scipy import ndimage

from samtune.inference.geo.grid import Cell, inside
from samtune.inference.geo.patches import Patches, as_bytes
from samtune.inference.geo.store import WindowStore
from samtune.progress import Progress
from samtune.types import Window

# A scene of 20 x 30 in four windows, whose cores meet at row 9 and column 16
CELLS = [
    Cell(0, 0, Window(0, 0, 12, 20), Window(0, 0, 9, 16)),
    Cell(0, 1, Window(0, 12, 12, 18), Window(0, 16, 9, 14)),
    Cell(1, 0, Window(6, 0, 14, 20), Window(9, 0, 11, 16)),
    Cell(1, 1, Window(6, 12, 14, 18), Window(9, 16, 11, 14)),
]
SCENE = Window(0, 0, 20, 30)


def patches_of(classes, sure, tmp_path, **more):
    store = WindowStore(Progress(tmp_path / "done", {}))
    for cell in CELLS:
        place = inside(cell.window, SCENE)
        store.write(cell, {"labels": classes[place], "sure": as_bytes(sure[place])})
    found = Patches(CELLS, store, **more)
    whole = np.zeros(classes.shape, int)
    for cell in CELLS:
        whole[inside(cell.core, SCENE)] = found.core_labels(cell)
    return found, whole


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_the_whole_scene(seed, tmp_path):
    rng = np.random.default_rng(seed)
    classes = ndimage.zoom(rng.integers(0, 3, (5, 6)), (4, 5), order=0).astype(np.int32)
    sure = rng.random(classes.shape).astype(np.float32)
    found, whole = patches_of(classes, sure, tmp_path)
    count = 0
    for number in (1, 2):
        parts, num_parts = ndimage.label(classes == number)
        for part in range(1, num_parts + 1):
            its = np.unique(whole[parts == part])
            assert len(its) == 1
            assert (whole == its[0]).sum() == (parts == part).sum() == found.areas[its[0] - 1]
            assert found.classes[its[0] - 1] == number
            assert found.scores[its[0] - 1] == pytest.approx(sure[parts == part].mean(), abs=0.005)
        count += num_parts
    assert count == len(found.areas)
    assert not whole[classes == 0].any()


def test_an_area_around_a_corner_ends_in_the_last_row_of_windows_that_it_reaches(tmp_path):
    classes = np.zeros((20, 30), np.int32)
    classes[2:15, 4:6] = classes[2:4, 4:28] = 1
    found, _ = patches_of(classes, np.ones(classes.shape, np.float32), tmp_path)
    assert found.last.tolist() == [9]
    assert found.scores.tolist() == [1.0]


def test_small_areas_are_left_out(tmp_path):
    classes = np.zeros((20, 30), np.int32)
    classes[1, 1], classes[5:10, 14:18] = 1, 2
    found, whole = patches_of(classes, np.ones(classes.shape, np.float32), tmp_path, min_area=4)
    assert found.areas.tolist() == [20]
    assert whole[1, 1] == 0

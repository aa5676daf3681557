"""Crops and grids are segment_anything's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtune.data.datamodule import SamDataModule
from samtune.data.settings import DataSettings
from samtune.inference.automatic.crops import crop_boxes, layer_grids, point_grid, tile_boxes


def test_a_grid_stands_half_a_step_off_the_edges():
    np.testing.assert_allclose(
        point_grid(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    )


def test_layers_get_fewer_points():
    assert [len(grid) for grid in layer_grids(32, 2, 2)] == [32**2, 16**2, 8**2]


def test_crops_of_a_known_image():
    # utils/amg.py, generate_crop_boxes((100, 200), 1, 0.5): overlap 50
    assert crop_boxes((100, 200), 1, 0.5) == [
        [(0, 0, 200, 100)],
        [(0, 0, 125, 75), (0, 25, 125, 100), (75, 0, 200, 75), (75, 25, 200, 100)],
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 3), st.integers(0, 9))
def test_crops_are_never_empty_and_cover_the_image(height, width, layers, overlap):
    for crops in crop_boxes((height, width), layers, overlap / 10):
        covered = np.zeros((height, width), bool)
        for x0, y0, x1, y1 in crops:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            covered[y0:y1, x0:x1] = True
        assert covered.all()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_layer_has_four_times_the_crops(layers):
    assert [len(crops) for crops in crop_boxes((64, 64), layers, 0.3)] == [
        4**layer for layer in range(layers + 1)
    ]


def test_tiles_are_those_of_the_training(discs):
    source = SamDataModule(DataSettings(path=str(discs), tile=40, tile_overlap=12)).tiles("test")
    trained = {record.image_id.partition("@")[2] for record in source.records}
    tiles = tile_boxes((64, 64), 40, 12)
    assert {f"{x0},{y0}" for x0, y0, _, _ in tiles} == trained
    assert all((x1 - x0, y1 - y0) == (40, 40) for x0, y0, x1, y1 in tiles)
    assert tile_boxes((30, 64), 40, 12) == [(0, 0, 40, 30), (24, 0, 64, 30)]

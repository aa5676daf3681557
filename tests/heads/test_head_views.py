from itertools import pairwise

import numpy as np
import pytest
import torch

from samtune.heads.instances import InstanceHead
from samtune.heads.network import Encoded
from samtune.heads.views import image_maps, views_of
from samtune.types import Features, InputFrame

FRAME = InputFrame(64, mean=(0, 0, 0), std=(1, 1, 1))


class Bright(InstanceHead):
    """Says that what is bright is an object, and nothing else."""

    def forward(self, pixel_values, features):
        bright = torch.nn.functional.avg_pool2d(pixel_values[:, :1], 2)
        return torch.logit((bright / 255).clamp(0.01, 0.99)).repeat(1, 3, 1, 1)


def maps_of(image, tile):
    head = Bright(Encoded(64, 8), {"tile": tile})
    nothing = Features(torch.zeros(1, 8, 4, 4))
    return image_maps(lambda pixels: nothing, head, image, FRAME, torch.device("cpu"))


@pytest.mark.parametrize(
    ("hw", "tile"), [((100, 300), 64), ((64, 64), 64), ((40, 200), 64), ((65, 64), 64), ((7, 9), 0)]
)
def test_views_cover_the_image_and_overlap(hw, tile):
    windows = views_of(hw, tile)
    seen = np.zeros(hw, int)
    for window in windows:
        assert window.y >= 0
        assert window.x >= 0
        assert window.hw == ((min(tile, hw[0]), min(tile, hw[1])) if tile else hw)
        seen[window.slices] += 1
    assert seen.min() >= 1
    columns = sorted({window.x for window in windows})
    assert all(after - before <= tile - tile // 4 for before, after in pairwise(columns))


def test_an_image_of_any_shape_gets_maps_of_its_size():
    image = np.full((50, 130, 3), 200, np.uint8)
    maps = maps_of(image, 64)
    assert maps.shape == (3, 50, 130)
    np.testing.assert_allclose(maps, 200 / 255, atol=0.01)


def test_there_is_no_seam_where_views_meet():
    """One long bar over five views is one object, and lies where it is in the image."""
    image = np.zeros((60, 280, 3), np.uint8)
    image[20:40, 10:270] = 250
    head = Bright(Encoded(64, 8), {"tile": 64})
    labels, _ = head.decode(maps_of(image, 64))
    assert labels.max() == 1
    truth = image[..., 0] > 0
    assert ((labels > 0) & truth).sum() / ((labels > 0) | truth).sum() > 0.97


def test_one_pixel():
    assert maps_of(np.zeros((1, 1, 3), np.uint8), 64).shape == (3, 1, 1)

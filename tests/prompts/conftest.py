import numpy as np
import pytest


def _block(rows, columns, hw=(40, 60)):
    mask = np.zeros(hw, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def _scattered():
    mask = np.zeros((40, 60), bool)
    mask[::7, ::5] = True
    return mask


MASKS = {
    "block": _block((10, 25), (20, 50)),
    "one pixel": _block((17, 18), (33, 34)),
    "one pixel in the first corner": _block((0, 1), (0, 1)),
    "one pixel in the last corner": _block((39, 40), (59, 60)),
    "touching the border": _block((0, 9), (45, 60)),
    "touching all borders": ~_block((3, 37), (3, 57)),
    "whole image": np.ones((40, 60), bool),
    "thin row": _block((39, 40), (0, 60)),
    "thin column": _block((5, 30), (7, 8)),
    "many parts": _scattered(),
    "two parts": _block((2, 5), (2, 5)) | _block((20, 31), (40, 51)),
}


@pytest.fixture(params=MASKS.values(), ids=MASKS)
def mask(request):
    """Every kind of object that a data set holds, as (40, 60) masks."""
    return request.param.copy()


@pytest.fixture
def rng():
    return np.random.default_rng(0)

"""The part of an image that two masks reach into: measuring there is as exact, and much faster."""

import numpy as np

from samtune.types import MaskArray


def common_window(first: MaskArray, second: MaskArray) -> tuple[MaskArray, MaskArray]:
    """Cut two (H, W) masks to the box around both, with one pixel of background on every side.

    The background stands for the outside of the image too, so that an object that touches the
    border has an edge there.
    """
    both = first | second
    rows, columns = np.flatnonzero(both.any(1)), np.flatnonzero(both.any(0))
    if not len(rows):
        empty = np.zeros((1, 1), np.bool_)
        return empty, empty
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(first[window], 1), np.pad(second[window], 1)

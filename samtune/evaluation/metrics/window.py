"""The part of an image that two masks reach into: measuring there is as exact, and much faster."""

import numpy as np

from samtune.types import MaskArray


def common_window(first: MaskArray, second: MaskArray) -> tuple[MaskArray, MaskArray]:
    """Cut two (H, W) or (X, Y, Z) masks to the box around both, one background pixel on every side.

    The background stands for the outside of the image too, so that an object that touches the
    border has an edge there.
    """
    both = first | second
    if not both.any():
        empty = np.zeros((1,) * both.ndim, np.bool_)
        return empty, empty
    axes = range(both.ndim)
    places = [np.flatnonzero(both.any(tuple(a for a in axes if a != axis))) for axis in axes]
    window = tuple(slice(place[0], place[-1] + 1) for place in places)
    return np.pad(first[window], 1), np.pad(second[window], 1)

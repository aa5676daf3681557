"""Splinters beside the objects of a window."""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label


def without_specks(labels: NDArray[np.int32], min_area: int) -> NDArray[np.int32]:
    """Leave out connected parts (4-neighbourhood) of objects that are small.

    Args:
        labels: (H, W) of a window; 0 is nothing.
        min_area: pixels that a part needs, unless it may go on beyond the window's edge.
    """
    parts = np.asarray(label(labels, connectivity=1))
    is_small = np.bincount(parts.ravel()) < min_area
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        is_small[edge] = False
    return np.where(is_small[parts], np.int32(0), labels)

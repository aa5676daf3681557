"""Reading masks and label images: numbers, whatever a file says of how to show them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.images.kinds import ImageFile, beginning_of
from samtune.images.lossy import black_and_white, is_lossy
from samtune.images.pixels import read_pixels

_LARGEST_LABEL = 2**31 - 1
# How far from a whole number a label may be that a slope was applied to, absolutely and in parts.
_MOST_OFF, _PART_OFF = 0.05, 1e-3


def read_labels(path: ImageFile) -> NDArray[Any]:
    """Read a mask or label image as (H, W) integers, or (H, W, 3) if it is coloured.

    A palette image gives its indices; grey stored as RGB becomes grey. What is wholly transparent is
    0; a picture of one colour alone has its mask in its alpha. Of JPEG, which changes values, only
    black and white is taken.

    Raises:
        UserError: the file is missing, damaged, of no known kind, or holds fractions, labels beyond 32
            bits, or values that were saved as JPEG.
    """
    pixels = read_pixels(path, as_stored=True)
    if is_lossy(beginning_of(path)):
        pixels = black_and_white(pixels, path)
    pixels = pixels[..., :3] if are_colours(pixels) else pixels[..., 0]
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = whole_labels(np.nan_to_num(pixels), path)
    for value in (float(pixels.max(initial=0)), float(pixels.min(initial=0))):
        if not -_LARGEST_LABEL - 1 <= value <= _LARGEST_LABEL:
            raise UserError(
                f"{path} holds the label {value:.12g}, but labels go up to {_LARGEST_LABEL}: number "
                "its objects 1, 2, 3, ..."
            )
    return pixels.astype(np.int32)


def whole_labels(values: NDArray[Any], name: object) -> NDArray[Any]:
    """Labels that are stored as fractions, rounded: those that a slope makes 1.9999 of are 2.

    Args:
        values: of any shape.
        name: of the file.

    Raises:
        UserError: there are fractions, or numbers that are not finite.
    """
    finite = np.nan_to_num(values, nan=0.5, posinf=0.5, neginf=0.5)  # which is no label either
    near = np.rint(finite)
    off = np.abs(finite - near)
    allowed = np.minimum(_MOST_OFF, _PART_OFF * np.maximum(1, np.abs(near)))
    if (off > allowed).any():
        found = float(values[off > allowed].flat[0])
        raise UserError(
            f"{name} holds values that are no labels (fractions such as {found:.4g}): expected whole "
            "numbers; resample labels by the nearest neighbour, cut probabilities at a threshold"
        )
    return np.asarray(near)


def are_colours(values: NDArray[Any]) -> bool:
    """Whether (H, W, C) values of labels are colours, and not one value stored three times."""
    return values.shape[2] >= 3 and not bool((values[..., :3] == values[..., :1]).all())

"""Clicks and boxes of labelling tools as prompts.

Tools count from the outer corner of the top-left pixel, so that the pixel in row y and column x is the
square from (x, y) to (x + 1, y + 1); samtune from its centre.
"""

from collections.abc import Sequence

import numpy as np

from samtune.errors import UserError
from samtune.types import Prompt

# A person makes a few; what asks with more is none
_MOST_POINTS = 1000


def prompt_of(
    points: Sequence[tuple[float, float, bool]], box: Sequence[float] | None, hw: tuple[int, int]
) -> Prompt:
    """A prompt, original frame.

    Args:
        points: x, y from the outer corner, and whether the point is on the object.
        box: x0, y0, x1, y1 from there; what lies outside the image is cut off.
        hw: of the image.

    Raises:
        UserError: there is neither point nor box, or they are no places in the image.
    """
    if not points and box is None:
        raise UserError("there is neither a click nor a box: nothing can be segmented")
    if len(points) > _MOST_POINTS:
        raise UserError(f"there are {len(points)} points: {_MOST_POINTS} are answered at most")
    if not np.isfinite([*(each[0] for each in points), *(each[1] for each in points)]).all():
        raise UserError("a point has no finite coordinates")
    if box is not None and not np.isfinite(box).all():
        raise UserError("the box has no finite corners")
    for x, y, _ in points:
        if not (0 <= x <= hw[1] and 0 <= y <= hw[0]):
            raise UserError(
                f"the point {x:g},{y:g} lies outside the image ({hw[1]}x{hw[0]} pixels)"
            )
    coords = np.array([each[:2] for each in points], np.float32).reshape(-1, 2) - 0.5
    found = None if box is None else _inclusive(box, hw)
    if not points:
        return Prompt(box_xyxy=found)
    labels = np.array([int(each[2]) for each in points], np.int64)
    last = np.array([hw[1] - 1, hw[0] - 1], np.float32)
    return Prompt(np.clip(coords, 0, last), labels, found)


def _inclusive(box: Sequence[float], hw: tuple[int, int]) -> np.ndarray:
    """The first and the last pixels of a box, as they are counted from their centres."""
    sides = np.sort(np.asarray(box, np.float64).reshape(2, 2), axis=0)
    first = np.maximum(sides[0], 0)
    last = np.minimum(sides[1], (hw[1], hw[0])) - 1
    if (last + 1 <= first).any():
        raise UserError(f"the box lies outside the image ({hw[1]}x{hw[0]} pixels), or is empty")
    return np.concatenate([first, np.maximum(first, last)]).astype(np.float32)

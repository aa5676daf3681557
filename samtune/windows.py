"""Which part of an image is looked at: windows around objects, in use and in training.

In use a window fits its object, where that is a closer look than the one before: `GIVEN` says how
closely where a box was given, `FOUND` where a point found it and may have found a part. Windows have
sizes of a fixed row and overlap by half, so that neighbours share them and nothing depends on what else
is asked. In training windows have sizes at random, from hardly larger than the object to those in which
it is small: one model serves all sizes.
"""

import math
from dataclasses import dataclass

import numpy as np

from samtune.types import FloatArray, Window

# Sides of windows in use, pixels: the smallest, and the ratio of each to the one before.
SMALLEST, STEP = 32, math.sqrt(2)
# Side of a training window over the object's longer side: the least, and the most over that of `FOUND`.
LEAST_RATIO, MOST_RATIO = 1.3, 2.0
# In the view of a head, which sees the pixels as well, a typical object has this side: nearly two
# tokens, pixels of the input; and the least side of such a view, pixels of the image.
OBJECT_SIDE, LEAST_TILE = 30.0, 64


@dataclass(frozen=True)
class Closeness:
    """How closely an object is looked at.

    Attributes:
        tokens: of the input that its longer side covers in a window around it, or somewhat fewer.
        worth: a window is worth its encoding where it is smaller than this share of what was seen
            before.
    """

    tokens: int
    worth: float

    def ratio(self, tokens: int) -> float:
        """Side of a window over the longer side of its object, at least.

        Args:
            tokens: of the model's input, along a side.
        """
        return max(1.5, tokens / self.tokens)


FOUND, GIVEN = Closeness(4, 0.5), Closeness(6, 0.7)


def window_near(middle_xy: tuple[float, float], side: int, hw: tuple[int, int]) -> Window:
    """Of the square windows that overlap by half, the one whose middle is nearest to a place.

    Args:
        middle_xy: of what is to be seen.
        side: of the windows, pixels; a window never reaches out of the image.
        hw: of the image.
    """
    y, height = _span_near(middle_xy[1], side, hw[0])
    x, width = _span_near(middle_xy[0], side, hw[1])
    return Window(y, x, height, width)


def _span_near(middle: float, side: int, length: int) -> tuple[int, int]:
    """First pixel and number of pixels."""
    if side >= length:
        return 0, length
    step = max(1, side // 2)
    start = round((middle - side / 2) / step) * step
    return max(0, min(start, length - side)), side


def closer_window(
    box_xyxy: FloatArray, seen: Window, hw: tuple[int, int], tokens: int, closeness: Closeness
) -> Window | None:
    """The window that fits an object; `None` where it would not be worth its while.

    Args:
        box_xyxy: of the object, inclusive, pixels of the image.
        seen: what is looked at otherwise.
        hw: of the image.
        tokens: of the model's input, along a side.
        closeness: `GIVEN` or `FOUND`, by where the box is from.
    """
    wanted = max(float(SMALLEST), longer_side(box_xyxy) * closeness.ratio(tokens))
    if wanted > closeness.worth * max(seen.hw):
        return None
    power = math.ceil(math.log(wanted / SMALLEST, STEP) - 1e-9)
    window = window_near(middle(box_xyxy), round(SMALLEST * STEP**power), hw)
    return window if window.holds(box_xyxy) and window != seen else None


def drawn_window(
    box_xyxy: FloatArray, hw: tuple[int, int], tokens: int, rng: np.random.Generator
) -> Window:
    """A training window around an object: its size and its place drawn, the object inside.

    Args:
        box_xyxy, hw, tokens: see `closer_window`.
        rng: draws the ratio of the sides, by its logarithm, and the place.
    """
    longer = longer_side(box_xyxy)
    most = MOST_RATIO * FOUND.ratio(tokens)
    ratio = math.exp(rng.uniform(math.log(LEAST_RATIO), math.log(most)))
    side = max(SMALLEST, round(longer * ratio))
    x0, y0, x1, y1 = box_xyxy
    y, height = _drawn_span(float(y0), float(y1), side, hw[0], rng)
    x, width = _drawn_span(float(x0), float(x1), side, hw[1], rng)
    return Window(y, x, height, width)


def _drawn_span(
    first: float, last: float, side: int, length: int, rng: np.random.Generator
) -> tuple[int, int]:
    share = rng.uniform()
    if side >= length:
        return 0, length
    slack = side - (last - first + 1)
    return max(0, min(round(first - share * slack), length - side)), side


def tile_for(typical: float, wanted: float, side: int) -> int:
    """Side of the views in which an object has the side that is wanted in the input, pixels.

    Args:
        typical: side of the object, pixels of the image.
        wanted: that it is to have, pixels of the input.
        side: of the input.
    """
    return max(LEAST_TILE, 16 * round(typical * side / wanted / 16))


def longer_side(box_xyxy: FloatArray) -> float:
    """Of an inclusive box, pixels."""
    x0, y0, x1, y1 = box_xyxy
    return float(max(x1 - x0, y1 - y0)) + 1


def middle(box_xyxy: FloatArray) -> tuple[float, float]:
    return float(box_xyxy[0] + box_xyxy[2]) / 2, float(box_xyxy[1] + box_xyxy[3]) / 2

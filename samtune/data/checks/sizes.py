"""Whether the model sees the objects, and in which tiles it would: one rule for init, check and fit."""

from collections.abc import Iterator, Sequence

import numpy as np

from samtune.data.checks.look import Seen
from samtune.windows import LEAST_TILE, tile_for

# An object whose sides are shorter than this at the model's input covers less than two cells of its
# masks (S / 4) each way.
SMALLEST_SIDE = 8.0
# More of all objects than this share are too many to be passed over.
_TOO_MANY = 0.1
# Side of a typical object in a tile: three tokens of the input, pixels
_WANTED_SIDE = 48.0


def num_too_small(seen: Sequence[Seen], input_side: int, tile: int) -> int:
    """How many objects are narrower than `SMALLEST_SIDE` at the model's input.

    Args:
        seen: the images with their objects.
        input_side: of the model's square input, pixels.
        tile: side of the tiles that larger images are cut into; 0 for none.
    """
    count = 0
    for image in seen:
        longest = max(image.hw)
        scale = input_side / (tile if 0 < tile < longest else longest)
        count += sum(side * scale < SMALLEST_SIDE for side in image.sides)
    return count


def are_too_small(seen: Sequence[Seen], input_side: int, tile: int) -> bool:
    """Whether more of the objects are too small than can be passed over; see `num_too_small`."""
    num_objects = sum(len(image.sides) for image in seen)
    return num_too_small(seen, input_side, tile) > _TOO_MANY * num_objects


def tell_too_small(name: str, seen: Sequence[Seen], input_side: int, tile: int) -> Iterator[str]:
    """A sentence with what to do where too many objects are too small; `name` is whose they are."""
    if not are_too_small(seen, input_side, tile):
        return
    best = choose_tile(seen, input_side)
    advice = f"data.tile {best}" if 0 < best < (tile or np.inf) else "a larger image_size"
    number, of = num_too_small(seen, input_side, tile), sum(len(image.sides) for image in seen)
    yield (
        f"{number} of {of} objects of {name} are narrower than {SMALLEST_SIDE:g} pixels at the model's "
        f"input, too small to be seen: set {advice}"
    )


def choose_tile(seen: Sequence[Seen], input_side: int) -> int:
    """Side of the tiles in which the objects are seen, pixels of the image; 0 where none are needed.

    Typical objects cover three tokens of the input in them. Where too many would still be too small,
    tiles are finer, as long as a typical object fits twice.
    """
    areas = [area for image in seen for area in image.areas]
    if not areas:
        return 0
    longest = max(max(image.hw) for image in seen)
    # the diameter of a disc of that area
    typical = typical_side(areas)
    tile = tile_for(typical, _WANTED_SIDE, input_side)
    tile = tile if tile <= longest / 2 else 0
    if are_too_small(seen, input_side, tile):
        sides = [side for image in seen for side in image.sides]
        least = float(np.quantile(sides, _TOO_MANY, method="lower"))
        finer = max(LEAST_TILE, 16 * int(least * input_side / SMALLEST_SIDE / 16))
        if 2 * typical <= finer < (tile or longest):
            return finer
    return tile


def typical_side(areas: Sequence[int]) -> float:
    """Median diameter of discs of such areas, pixels."""
    return float(np.median(np.sqrt(np.asarray(areas) * 4 / np.pi)))

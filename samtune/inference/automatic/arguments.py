"""Whether the arguments of `AutomaticMaskGenerator` make sense."""

from collections.abc import Sequence
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.inference.automatic.crops import Grid, layer_grids


def require_whole(least: int, **values: Any) -> None:
    """Make sure of whole numbers.

    Raises:
        UserError: one is something else, or less than `least`.
    """
    for name, value in values.items():
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not is_whole or value < least:
            raise UserError(f"{name} is {value!r}: give a whole number from {least} up")


def require_number(least: float = -inf, **values: Any) -> None:
    """Make sure of finite numbers.

    Raises:
        UserError: one is something else, or less than `least`.
    """
    for name, value in values.items():
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or value < least:
            told = "a number" if least == -inf else f"a number from {least:g} up"
            raise UserError(f"{name} is {value!r}: give {told}")


def build_grids(
    points_per_side: int | None, grids: Sequence[NDArray[Any]] | None, num_layers: int,
    downscale: int,
) -> list[Grid]:  # fmt: skip
    """A grid for the image and for each layer of crops, from a number or as given.

    Raises:
        UserError: both or none is given, or what is given is no grid.
    """
    if (points_per_side is None) == (grids is None):
        raise UserError("give either points_per_side or point_grids, and the other as None")
    if points_per_side is not None:
        require_whole(1, points_per_side=points_per_side)
        if points_per_side < downscale**num_layers:
            raise UserError(
                f"points_per_side is {points_per_side}: give {downscale**num_layers} or more, so that "
                "each layer of crops has a point"
            )
        return layer_grids(points_per_side, num_layers, downscale)
    assert grids is not None
    try:
        found = [np.asarray(grid, np.float64) for grid in grids]
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"point_grids holds something else than numbers: {error}") from error
    if len(found) != num_layers + 1 or any(grid.ndim != 2 or grid.shape[1] != 2 for grid in found):
        raise UserError(
            f"point_grids needs {num_layers + 1} grids of shape (N, 2), one for the image and one for "
            "each layer of crops"
        )
    if not all(((grid >= 0) & (grid <= 1)).all() for grid in found):
        raise UserError("point_grids are xy in 0..1 of an image or crop: divide pixels by its size")
    return found

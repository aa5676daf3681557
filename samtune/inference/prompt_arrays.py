"""Prompts as segment_anything's users give them: arrays of any number type, looked at before use."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samtune.errors import UserError
from samtune.types import Prompt


def prompt_of(
    point_coords: NDArray[Any] | None, point_labels: NDArray[Any] | None, box: NDArray[Any] | None,
    mask_input: NDArray[Any] | None, mask_side: int,
) -> Prompt:  # fmt: skip
    """A prompt in the frame that its arrays are in.

    Args:
        point_coords: (N, 2) xy.
        point_labels: (N,), 1 is inside the object, 0 outside.
        box: (4,) xyxy.
        mask_input: (1, h, w) logits, h = w = mask_side.

    Raises:
        UserError: they have other shapes, or are no finite numbers.
    """
    points = labels = corners = mask = None
    if point_coords is not None:
        if point_labels is None:
            raise UserError("point_labels must be supplied if point_coords is supplied")
        points, labels = _coords(point_coords, "point_coords", 2), _labels(point_labels)
        if labels.shape != points.shape[:1]:
            raise UserError(f"there are {len(points)} points and {labels.shape} labels")
    if box is not None:
        corners = _coords(np.reshape(box, (1, -1)), "box", 4)[0]
    if mask_input is not None:
        mask = numbers_of(mask_input, "mask_input")
        require_mask_shape(mask.shape, mask_side)
        mask = mask[0]
    return Prompt(points, labels, corners, mask)


def _coords(coords: NDArray[Any], name: str, width: int) -> NDArray[np.float32]:
    """Points (N, 2) or boxes (K, 4)."""
    shape = np.shape(coords)
    if len(shape) != 2 or shape[1] != width or not shape[0]:
        expected = "(N, 2) with N > 0" if width == 2 else "(4,)"
        found = shape if width == 2 else shape[1:]
        raise UserError(f"{name} has shape {found}; expected {expected}")
    return numbers_of(coords, name)


def _labels(labels: NDArray[Any]) -> NDArray[np.int64]:
    numbers = numbers_of(labels, "point_labels")
    if (numbers != np.rint(numbers)).any():
        raise UserError(f"point_labels are {numbers.tolist()}: give 1 (in the object) and 0")
    return numbers.astype(np.int64)


def require_mask_shape(shape: Sequence[int], side: int) -> None:
    """
    Raises:
        UserError: it is none of a mask prompt (1, side, side).
    """
    if tuple(shape) != (1, side, side):
        raise UserError(
            f"the mask prompt has shape {tuple(shape)}; expected (1, {side}, {side}), such as the "
            "logits of an earlier prediction"
        )


def numbers_of(values: Any, name: str) -> NDArray[np.float32]:
    """What a user gives, as finite numbers.

    Raises:
        UserError: it is something else.
    """
    try:
        numbers = np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name} holds something else than numbers: {error}") from error
    if not np.isfinite(numbers).all():
        raise UserError(f"{name} holds NaN or infinite values: give finite numbers")
    return numbers


def require_finite(values: Tensor, name: str) -> None:
    """
    Raises:
        UserError: a value is NaN or infinite.
    """
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"{name} holds NaN or infinite values: give finite numbers")

"""Shapes that annotation tools draw, as polygons: boxes and ellipses, turned or not.

Frame: x right, y down, (0, 0) is the outer corner of the top-left pixel; turning is clockwise as seen
on the screen.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.masks import polygons_to_mask
from samtune.types import MaskArray

Points = NDArray[np.float64]
# Corners of the polygon that stands for an ellipse.
_ELLIPSE_CORNERS = 128


def box_corners(x0: float, y0: float, x1: float, y1: float) -> Points:
    """(4, 2) corners of a box."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def ellipse_corners(x: float, y: float, radius_x: float, radius_y: float) -> Points:
    """(N, 2) corners of an ellipse about (x, y)."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(circle * (radius_x, radius_y) + (x, y), np.float64)


def rotated(corners: Points, degrees: float, centre_xy: tuple[float, float]) -> Points:
    """Turn (N, 2) corners clockwise about a point."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray((corners - centre_xy) @ turn + centre_xy, np.float64)


def fill(corners: Points, hw: tuple[int, int], where: str) -> MaskArray:
    """The (H, W) mask of a polygon.

    Raises:
        UserError: it has fewer than three corners, or one that is not finite or far outside.
    """
    if len(corners) < 3:
        raise UserError(f"{where} has {len(corners)} corners: an area needs three or more")
    try:
        return polygons_to_mask([corners.reshape(-1).tolist()], hw)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def join_groups(shapes: Iterable[tuple[str, object, MaskArray]]) -> list[tuple[str, MaskArray]]:
    """(label, mask) of each object; shapes of one label and group are one, `None` is no group."""
    found: list[tuple[str, MaskArray]] = []
    places: dict[tuple[str, object], int] = {}
    for label, group, mask in shapes:
        if group is not None and (label, group) in places:
            found[places[label, group]][1][mask] = True
            continue
        places[label, group] = len(found)
        found.append((label, mask))
    return found

"""A volume looked at in all its planes, beside the one that the model was trained to see."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from samtune.data.volumes.slices import AXES, SliceStack, as_seen
from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.state import Accepted
from samtune.types import ImageArray


class Planes:
    """The three planes of a volume.

    Args:
        stack: its slices, across the axis that prompts are given in.
    """

    def __init__(self, stack: SliceStack) -> None:
        self._stack = stack

    def picture(self, axis: int, number: int) -> ImageArray:
        """(H, W, 3) of a slice across an axis, as `SliceStack` shows them, in grey or in colours.

        Raises:
            UserError: there is no such slice.
        """
        self._require(axis, number)
        return replace(self._stack, axis=axis, with_neighbours=False).picture(number)

    def cuts(
        self, axis: int, number: int, objects: Sequence[Sequence[Accepted]]
    ) -> Iterator[tuple[Accepted, PlacedMask]]:
        """What a slice across an axis shows of the objects of all slices of the stack.

        Args:
            axis: across which is cut.
            number: of the slice.
            objects: of each slice of the stack.

        Yields:
            One of the slices' parts of each object, and the mask of all of it on this slice.

        Raises:
            UserError: there is no such slice.
        """
        self._require(axis, number)
        own, shape = self._stack.axis, self._stack.shape
        if axis == own:
            yield from ((made, made.mask) for made in objects[number])
            return
        found: dict[int, tuple[Accepted, np.ndarray]] = {}
        across = [place for place in range(3) if place != axis]
        for place, each in enumerate(objects):
            for made in each:
                line = self._line(made.mask, axis, number)
                if line.any():
                    empty = np.zeros([shape[other] for other in across], np.bool_)
                    _, values = found.setdefault(made.number, (made, empty))
                    np.moveaxis(values, across.index(own), 0)[place] |= line
        yield from ((made, PlacedMask.of(as_seen(values))) for made, values in found.values())

    def _line(self, mask: PlacedMask, axis: int, number: int) -> np.ndarray:
        """What a mask of the stack has along the line in which the slice cuts it, in voxels."""
        across = min(place for place in range(3) if place != self._stack.axis)
        values = as_seen(mask.whole(self._stack.hw))
        return np.asarray(values[number] if axis == across else values[:, number])

    def _require(self, axis: int, number: int) -> None:
        if not 0 <= axis < 3 or not 0 <= number < self._stack.shape[axis]:
            raise UserError(f"there is no slice {number} across axis {axis} of this volume")


def tell_volume(stack: SliceStack) -> dict[str, object]:
    """What the front end has to know of a volume, its axes in right-anterior-superior order."""
    return {
        "axis": stack.axis, "planes": AXES, "shape": stack.shape, "spacing": pixel_sides(stack),
    }  # fmt: skip


def pixel_sides(stack: SliceStack) -> tuple[float, ...]:
    """Sides of a voxel along the axes, in millimetres; all are one where the file gives none."""
    is_known = np.isfinite(stack.spacing).all() and min(stack.spacing) > 0
    return stack.spacing if is_known else (1.0, 1.0, 1.0)

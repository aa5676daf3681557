"""A volume as the stack of pictures that a network sees, the same in training and in use."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.placement import Geometry
from samtune.data.volumes.voxels import read_geometry, read_voxels, read_window
from samtune.errors import UserError
from samtune.images.intensity import find_range, require_values, to_grey
from samtune.reading import Reading
from samtune.types import ImageArray

AXES = ("sagittal", "coronal", "axial")
_AXIAL = AXES.index("axial")
# Slices were taken across the axis whose spacing is at least so many times the next one.
_CLEARLY = 1.5
# Of volumes that a note is about, so many are named.
_SHOWN = 5


@dataclass(frozen=True)
class SliceStack:
    """The slices of a volume across one axis, with the body's front up and its right on the left.

    Attributes:
        voxels: (X, Y, Z) intensities in right-anterior-superior order.
        axis: that the slices are cut across.
        low, high: intensities that become 0 and 255.
        spacing: millimetres between voxels, in the same order; NaN where the file gives none.
        with_neighbours: a slice has its neighbours as red and blue.
    """

    voxels: NDArray[Any]
    axis: int
    low: float
    high: float
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    with_neighbours: bool = False

    def __len__(self) -> int:
        return int(self.voxels.shape[self.axis])

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of a slice."""
        across, up = (side for place, side in enumerate(self.voxels.shape) if place != self.axis)
        return int(up), int(across)

    def values(self, number: int) -> NDArray[Any]:
        """(H, W) intensities of a slice."""
        return slice_of(self.voxels, self.axis, number)

    def picture(self, number: int) -> ImageArray:
        """(H, W, 3) uint8: a grey slice thrice, or with its two neighbours as red and blue."""
        offsets = (-1, 0, 1) if self.with_neighbours else (0, 0, 0)
        numbers = [min(max(number + offset, 0), len(self) - 1) for offset in offsets]
        return to_grey(np.stack([self.values(n) for n in numbers], axis=2), self.low, self.high)


def open_stack(path: Path, reading: Reading) -> SliceStack:
    """Read a volume and cut it as its reading says: axis, window or range, neighbours.

    Without a window, that of a DICOM file is taken, or percentiles of the volume.

    Raises:
        UserError: the file cannot be read or holds no values, or there is no such window.
    """
    geometry = read_geometry(path)
    (axis,) = choose_axes(reading.axis, [geometry])
    voxels = read_voxels(path)
    require_values(voxels, path)
    low, high = reading.intensity_range or read_window(path) or find_range(voxels)
    return SliceStack(voxels, axis, low, high, geometry.spacing, reading.with_neighbours)


def choose_axes(axis: str, geometries: Sequence[Geometry]) -> list[int]:
    """The axis that each volume of a data set is cut across.

    `auto` cuts DICOM along its own frames, and all others across one axis, so that planes are not
    mixed: the one that most volumes were taken across, as far as they tell, or into axial slices.

    Raises:
        UserError: there is no such axis.
    """
    if axis in AXES:
        return [AXES.index(axis)] * len(geometries)
    if axis != "auto":
        raise UserError(f"data.axis is '{axis}': give auto, {', '.join(AXES)}")
    told = Counter(place for place in map(_taken_across, geometries) if place is not None)
    common = max(told, key=lambda place: (told[place], place), default=_AXIAL)
    return [common if g.slice_axis is None else g.slice_axis for g in geometries]


def _taken_across(geometry: Geometry) -> int | None:
    """The axis across the file's own frames, or of clearly the coarsest spacing."""
    if geometry.slice_axis is not None:
        return geometry.slice_axis
    _, next_size, coarsest = sorted(geometry.spacing)
    is_clear = coarsest >= _CLEARLY * next_size - 1e-6
    return geometry.spacing.index(coarsest) if is_clear else None


def axis_notes(names: Sequence[str], geometries: Sequence[Geometry]) -> list[str]:
    """What to know of the choice that `auto` makes, where volumes do not agree."""
    axes = choose_axes("auto", geometries)
    if len(set(axes)) > 1:
        planes = "; ".join(
            f"{AXES[axis]} {shown([n for n, a in zip(names, axes, strict=True) if a == axis])}"
            for axis in sorted(set(axes))
        )
        return [
            f"volumes are cut in several planes, as their DICOM frames lie ({planes}): data.axis "
            "names one for all"
        ]
    alone = [choose_axes("auto", [geometry])[0] for geometry in geometries]
    others = [n for n, own, axis in zip(names, alone, axes, strict=True) if own != axis]
    if not others:
        return []
    return [
        f"all volumes are cut into {AXES[axes[0]]} slices, as most were taken of those that have one "
        f"clearly coarsest spacing; by themselves {shown(others)} would not be: data.axis names another"
    ]


def shown(names: Sequence[str]) -> str:
    """The first of many names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def slice_of(volume: NDArray[Any], axis: int, number: int) -> NDArray[Any]:
    """(H, W) slice of a right-anterior-superior volume as seen; a view, so it may be written to."""
    return as_seen(np.moveaxis(volume, axis, 0)[number])


def as_seen(values: NDArray[Any]) -> NDArray[Any]:
    """Turn a slice of a right-anterior-superior volume as radiologists see it, or back again.

    The second axis runs up in the picture, the first to the left: both are turned, and swapped.
    """
    return np.asarray(values[::-1, ::-1].T)


def from_seen(picture: NDArray[Any]) -> NDArray[Any]:
    """The inverse of `as_seen`."""
    return np.asarray(picture.T[::-1, ::-1])

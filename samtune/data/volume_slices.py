"""A volume as the stack of pictures that a network sees, the same in training and in use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samtune.data.geometry3d import Geometry
from samtune.data.source import ReadSettings
from samtune.data.volume_io import read_geometry, read_voxels, read_window
from samtune.data.windows import find_range, to_grey
from samtune.errors import UserError
from samtune.types import ImageArray

Axis = Literal["auto", "sagittal", "coronal", "axial"]
AXES = ("sagittal", "coronal", "axial")


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


def open_stack(path: Path, settings: ReadSettings) -> SliceStack:
    """Read a volume and cut it as settings say: axis, window or range, neighbours.

    Without a window, that of a DICOM file is taken, or percentiles of the volume.

    Raises:
        UserError: the file cannot be read, or there is no such window.
    """
    geometry = read_geometry(path)
    axis = choose_axis(settings.axis, geometry)
    voxels = read_voxels(path)
    own = settings.value_range or (None if settings.window else read_window(path))
    low, high = own or find_range(settings.window, voxels)
    return SliceStack(voxels, axis, low, high, geometry.spacing, settings.with_neighbours)


def choose_axis(axis: str, geometry: Geometry) -> int:
    """`auto` cuts across the file's own frames, else the coarsest spacing: as slices were taken.

    Raises:
        UserError: there is no such axis.
    """
    if axis in AXES:
        return AXES.index(axis)
    if axis != "auto":
        raise UserError(f"data.axis is '{axis}': give auto, {', '.join(AXES)}")
    if geometry.slice_axis is not None:
        return geometry.slice_axis
    coarsest = max(geometry.spacing)
    return max(n for n, size in enumerate(geometry.spacing) if size >= coarsest - 1e-6)


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

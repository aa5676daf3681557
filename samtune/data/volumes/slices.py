"""A volume as the stack of pictures that a network sees, the same in training and in use."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.nnunet_layout import channel_names
from samtune.data.volumes.placement import Geometry
from samtune.data.volumes.voxels import read_geometry, read_voxels, read_window
from samtune.errors import UserError
from samtune.images.intensity import find_range, require_values, to_grey, told_holes
from samtune.reading import Reading
from samtune.types import ImageArray
from samtune.wording import counted

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
        voxels: (X, Y, Z) intensities in right-anterior-superior order, or (X, Y, Z, C) of two or three
            channels that are red, green and blue.
        axis: that the slices are cut across.
        ranges: for each channel the intensities that become 0 and 255.
        spacing: millimetres between voxels, in the same order; NaN where the file gives none.
        with_neighbours: a slice has its neighbours as red and blue.
    """

    voxels: NDArray[Any]
    axis: int
    ranges: tuple[tuple[float, float], ...]
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    with_neighbours: bool = False

    def __len__(self) -> int:
        return int(self.shape[self.axis])

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the three axes."""
        return self.voxels.shape[:3]

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of a slice."""
        across, up = (side for place, side in enumerate(self.shape) if place != self.axis)
        return int(up), int(across)

    def values(self, number: int) -> NDArray[Any]:
        """(H, W) intensities of a slice, or (H, W, C) of several channels."""
        return slice_of(self.voxels, self.axis, number)

    def picture(self, number: int) -> ImageArray:
        """(H, W, 3) uint8: a grey slice thrice, or with its two neighbours as red and blue.

        Three channels are red, green and blue, two are red and green.
        """
        if self.voxels.ndim > 3:
            channels = np.moveaxis(self.values(number), 2, 0)
            shown = [to_grey(c, *ends) for c, ends in zip(channels, self.ranges, strict=True)]
            return np.stack([*shown, np.zeros_like(shown[0])][:3], axis=2)
        offsets = (-1, 0, 1) if self.with_neighbours else (0, 0, 0)
        numbers = [min(max(number + offset, 0), len(self) - 1) for offset in offsets]
        return to_grey(np.stack([self.values(n) for n in numbers], axis=2), *self.ranges[0])


def open_stack(files: Sequence[Path], reading: Reading) -> SliceStack:
    """Read a volume and cut it as its reading says: channels, axis, window or range, neighbours.

    Without a window, that of a DICOM file is taken, or percentiles of the volume (of each channel).

    Args:
        files: of the volume: one, or one for each channel.
        reading: how.

    Raises:
        UserError: a file cannot be read or holds no number, or there is no such window or channel.
    """
    geometry = read_geometry(files[0])
    (axis,) = choose_axes(reading.axis, [geometry])
    voxels = _read_channels(files, geometry, reading)
    require_values(voxels, files[0])
    slices = [f"{AXES[axis]} slice {number}" for number in range(voxels.shape[axis])]
    for values, name in _channels_of(voxels, files[0]):
        told_holes(values, axis, slices, name)
    ranges = _ranges(files[0], voxels, geometry.is_coloured, reading)
    return SliceStack(voxels, axis, ranges, geometry.spacing, reading.with_neighbours)


def _read_channels(files: Sequence[Path], geometry: Geometry, reading: Reading) -> NDArray[Any]:
    """(X, Y, Z) of one channel, or (X, Y, Z, C) of those that are chosen."""
    chosen = choose_channels(files, geometry, reading)
    if len(files) == 1:
        values = read_voxels(files[0])
        if values.ndim > 3:
            values = values[..., chosen]
    else:
        for number in chosen:
            _require_same_grid(files[number], files[0])
        values = np.stack([read_voxels(files[number]) for number in chosen], axis=3)
    return values[..., 0] if values.ndim > 3 and len(chosen) == 1 else values


def choose_channels(files: Sequence[Path], geometry: Geometry, reading: Reading) -> list[int]:
    """Which values of a voxel are seen: one as grey, two or three as red, green and blue.

    Args:
        files: of the volume: one, or one for each channel.
        geometry: of the first.
        reading: whose `bands` choose; without them there must be one, or colours.

    Raises:
        UserError: there is a choice that nobody made, or no such channel.
    """
    path, bands = files[0], reading.bands
    count = geometry.num_channels if len(files) == 1 else len(files)
    is_coloured = geometry.is_coloured and len(files) == 1
    if bands is None and count > 1 and not is_coloured:
        names = channel_names(path)
        listed = ", ".join(f"{n}: {names[n]}" for n in range(count) if n in names)
        raise UserError(
            f"{path} has {counted(count, 'value')} a voxel (channels or times): choose with "
            "bands, [0] for the first, or two or three that become red, green and blue "
            f"({listed or f'0 to {count - 1}'})"
        )
    chosen = list(range(min(count, 3))) if bands is None else list(bands)
    if len(chosen) > 3 or not all(band in range(count) for band in chosen):
        raise UserError(
            f"bands {chosen} do not fit {path}, which has {counted(count, 'value')} a "
            "voxel: give one to three "
            f"numbers from 0 to {count - 1}"
        )
    if reading.with_neighbours and len(chosen) > 1:
        raise UserError(
            f"{path}: neighbours and several channels both become red and blue: leave out "
            "with_neighbours, or choose one channel with bands"
        )
    return [int(band) for band in chosen]


def _require_same_grid(channel: Path, first: Path) -> None:
    own = read_geometry(channel)
    if own.num_channels != 1 or not own.fits(read_geometry(first)):
        raise UserError(f"{channel} lies elsewhere than {first}, the first channel of its volume")


def _channels_of(voxels: NDArray[Any], path: Path) -> list[tuple[NDArray[Any], str]]:
    """Each channel with a name for messages."""
    if voxels.ndim == 3:
        return [(voxels, str(path))]
    return [
        (voxels[..., n], f"{path}, channel {n} of those shown,") for n in range(voxels.shape[3])
    ]


def _ranges(
    path: Path, voxels: NDArray[Any], is_coloured: bool, reading: Reading
) -> tuple[tuple[float, float], ...]:
    """What becomes 0 and 255 in each channel; of colours the same, so that hue is kept."""
    channels = [voxels] if voxels.ndim == 3 else [voxels[..., n] for n in range(voxels.shape[3])]
    if reading.intensity_range is not None:
        return (reading.intensity_range,) * len(channels)
    if is_coloured:
        same = (0.0, 255.0) if voxels.dtype == np.uint8 else find_range(voxels)
        return (same,) * len(channels)
    window = read_window(path)
    return tuple(window or find_range(channel) for channel in channels)


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
    """(H, W) or (H, W, C) slice as seen of a right-anterior-superior volume; it may be written to."""
    return as_seen(np.moveaxis(volume, axis, 0)[number])


def as_seen(values: NDArray[Any]) -> NDArray[Any]:
    """Turn a slice of a right-anterior-superior volume as radiologists see it, or back again.

    The second axis runs up in the picture, the first to the left: both are turned, and swapped.
    """
    return np.asarray(values[::-1, ::-1].swapaxes(0, 1))

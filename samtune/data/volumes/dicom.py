"""DICOM series and multi-frame files as volumes: where each slice lies, and their values in order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.errors import UserError
from samtune.images.dicom import read_series, reading_dicom
from samtune.images.dicom_values import (
    frame_value,
    is_coloured,
    num_frames,
    pixel_values,
)

# The stored axis of slices or frames, before rows and columns.
_FRAMES = 0
# How far from its place in an even stack a slice may lie, in distances of slices.
_OFF = 0.05
# Differences of directions (of unit length) and, in parts, of pixel sizes that are rounding.
_ROUNDED = 1e-3


@dataclass(frozen=True)
class Plane:
    """Where one slice lies, in millimetres to the left, back and head.

    Attributes:
        position: (3,) centre of its first pixel.
        across, down: (3,) directions of a row and of a column.
        sizes: millimetres from row to row, and from column to column.
    """

    position: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.across, self.down)


def read_dicom_geometry(path: Path) -> Geometry:
    """Where the voxels lie, in the order (slice, row, column).

    Slices may be shifted against each other in even steps, as a tilted gantry takes them: the axes of
    such a volume are not at right angles. A multi-frame file without positions (a film) has its frames
    as slices, as far apart as it says.

    Raises:
        UserError: damaged files, several series, or slices that are no regular stack.
    """
    with reading_dicom(path):
        return _stack(read_series(path, with_pixels=False), path)[0]


def read_dicom_voxels(path: Path) -> NDArray[Any]:
    """(slices, rows, columns) grey values as float32, or (slices, rows, columns, C) of several.

    Grey values are after rescale slope and intercept; those of MONOCHROME1 are negated. The several are
    colours, or the values of a place that was taken several times, in the order of their numbers.

    Raises:
        UserError: damaged files, or a compression that needs another package.
    """
    with reading_dicom(path):
        datasets = read_series(path, with_pixels=True)
        _, order = _stack(datasets, path)
        places, begin = np.argsort(order.ravel()), 0
        for dataset in datasets:
            frames = pixel_values(dataset)
            if not begin:
                values = np.empty((order.size, *frames.shape[1:]), frames.dtype)
            values[places[begin : begin + len(frames)]] = frames
            begin += len(frames)
        if order.shape[1] == 1:
            return values
        return np.moveaxis(values.reshape(*order.shape, *values.shape[1:]), 1, -1)


def _stack(datasets: list[Any], path: Path) -> tuple[Geometry, NDArray[np.intp]]:
    """The geometry, and (slices, times) which of all frames, in the order of files, lies there."""
    frames = [(dataset, n) for dataset in datasets for n in range(num_frames(dataset))]
    first, is_colour = datasets[0], is_coloured(datasets[0])
    planes = [plane for frame in frames if (plane := frame_plane(*frame)) is not None]
    if len(datasets) == 1 and len(frames) > 1 and not planes:
        order = np.arange(len(frames))[:, None]
        affine, is_measured = _film(first)
    elif len(planes) < len(frames):
        raise UserError(
            f"the slices of {path} say neither where they lie nor their spacing: as single pictures "
            "they can be read beside masks (images/ID.dcm with masks/ID.png)"
        )
    else:
        _require_parallel(planes, path)
        order = _order(planes, [int(d.get("InstanceNumber") or 0) for d, _ in frames])
        affine, is_measured = _placed([planes[place] for place in order[:, 0]], first, path)
    if is_colour and order.shape[1] > 1:
        raise UserError(f"{path} holds coloured slices that lie twice: give each time a folder")
    channels = 3 if is_colour else order.shape[1]
    shape = (len(order), int(first.Rows), int(first.Columns))
    return Geometry(shape, LPS_TO_RAS @ affine, _FRAMES, is_measured, channels, is_colour), order


def _order(planes: list[Plane], numbers: list[int]) -> NDArray[np.intp]:
    """(slices, times) planes along their normal, those of one place in the order of their numbers.

    Where places were not all taken equally often, each plane is a slice of its own.
    """
    depths = np.array([plane.position @ planes[0].normal for plane in planes])
    order = np.argsort(depths, kind="stable")
    gaps = np.diff(depths[order])
    place = np.append(0, np.cumsum(gaps > _ROUNDED * gaps.max(initial=0)))
    order = order[np.lexsort((order, np.array(numbers)[order], place))]
    counts = np.bincount(place)
    times = int(counts[0]) if (counts == counts[0]).all() else 1
    return order.reshape(-1, times)


def _placed(
    planes: list[Plane], header: Any, path: Path
) -> tuple[NDArray[np.float64], tuple[bool, bool, bool]]:
    """The affine of planes in their order, in millimetres as DICOM counts; what is measured."""
    step, is_known = _step(planes, header, path)
    first, affine = planes[0], np.eye(4)
    axes = (step, first.down * first.sizes[0], first.across * first.sizes[1])
    affine[:3, :3], affine[:3, 3] = np.stack(axes, axis=1), first.position
    return affine, (is_known, True, True)


def frame_plane(dataset: Any, frame: int) -> Plane | None:
    """Where a frame lies; `None` where it does not say."""
    is_film = num_frames(dataset) > 1
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    values = [frame_value(dataset, frame, name) for name in names]
    # what a film says at its top is true of none of its frames
    if not all(values) or (is_film and values[0] is dataset.get(names[0])):
        return None
    position, directions, sizes = (np.array(value, float) for value in values)
    return Plane(position, directions[:3], directions[3:], sizes)


def _require_parallel(planes: list[Plane], path: Path) -> None:
    first = planes[0]
    for plane in planes:
        turned = max(
            np.abs(plane.across - first.across).max(), np.abs(plane.down - first.down).max()
        )
        if not turned <= _ROUNDED or not np.allclose(plane.sizes, first.sizes, rtol=_ROUNDED):
            raise UserError(
                f"the slices of {path} are no regular stack: some are of another orientation or "
                "pixel size (a localizer, to be taken out)"
            )


def _step(planes: list[Plane], first: Any, path: Path) -> tuple[NDArray[np.float64], bool]:
    """(3,) from each slice to the next one, in their order, and whether the files say how long it is.

    Raises:
        UserError: they are not evenly apart.
    """
    if len(planes) == 1:
        distance = _frame_distance(first)
        return planes[0].normal * (distance or 1.0), distance is not None
    positions = np.array([plane.position for plane in planes])
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    distance = float(step @ planes[0].normal)
    even = positions[0] + np.arange(len(planes))[:, None] * step
    if not np.linalg.norm(positions - even, axis=1).max() <= _OFF * distance:
        raise _uneven(np.diff(positions @ planes[0].normal), path)
    return step, True


def _uneven(distances: NDArray[np.float64], path: Path) -> UserError:
    """What is wrong with slices that lie so far behind each other."""
    doubled = int((distances <= _OFF * distances.max()).sum())
    found = (
        f"{doubled} lie where another one lies (some of several times or echoes are missing)"
        if doubled
        else f"they lie {distances.min():.4g} to {distances.max():.4g} mm apart, or are shifted: one "
        "is missing, or of another stack (a localizer, to be taken out)"
    )
    return UserError(f"{path}: its {len(distances) + 1} slices are no regular stack: {found}")


def _film(header: Any) -> tuple[NDArray[np.float64], tuple[bool, bool, bool]]:
    """The affine of frames without positions, in millimetres as DICOM counts; what is measured."""
    pixel = header.get("PixelSpacing") or (None, None)
    sizes = [_frame_distance(header), *pixel]
    frames, rows, columns = (float(size or 1) for size in sizes)
    # frames, rows (to the back), columns (to the left)
    affine = np.array([[0, 0, columns, 0], [0, rows, 0, 0], [frames, 0, 0, 0], [0, 0, 0, 1.0]])
    between, down, across = map(bool, sizes)
    return affine, (between, down, across)


def _frame_distance(header: Any) -> float | None:
    """Millimetres between frames that have no positions; that of nuclear medicine may be negative."""
    names = ("SpacingBetweenSlices", "SliceThickness")
    sizes = (frame_value(header, 0, name) for name in names)
    return next((abs(float(size)) for size in sizes if size), None)

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
class _Plane:
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
    """(slices, rows, columns) grey values as float32, or (slices, rows, columns, 3) colours.

    Grey values are after rescale slope and intercept; those of MONOCHROME1 are negated.

    Raises:
        UserError: damaged files, or a compression that needs another package.
    """
    with reading_dicom(path):
        datasets = read_series(path, with_pixels=True)
        geometry, order = _stack(datasets, path)
        places, begin = np.argsort(order), 0
        for dataset in datasets:
            frames = pixel_values(dataset)
            if not begin:
                values = np.empty((geometry.shape[0], *frames.shape[1:]), frames.dtype)
            values[places[begin : begin + len(frames)]] = frames
            begin += len(frames)
        return values


def _stack(datasets: list[Any], path: Path) -> tuple[Geometry, list[int]]:
    """The geometry, and which of all frames, in the order of files, is which slice."""
    frames = [(dataset, n) for dataset in datasets for n in range(num_frames(dataset))]
    first = datasets[0]
    shape = (len(frames), int(first.Rows), int(first.Columns))
    channels = 3 if is_coloured(first) else 1
    planes = [plane for frame in frames if (plane := _plane(*frame)) is not None]
    if len(datasets) == 1 and len(frames) > 1 and not planes:
        affine, is_measured = _film(first)
        return Geometry(
            shape, LPS_TO_RAS @ affine, _FRAMES, is_measured, channels, channels > 1
        ), list(range(len(frames)))
    if len(planes) < len(frames):
        raise UserError(
            f"the slices of {path} say neither where they lie nor their spacing: as single pictures "
            "they can be read beside masks (images/ID.dcm with masks/ID.png)"
        )
    _require_parallel(planes, path)
    order = np.argsort([plane.position @ planes[0].normal for plane in planes], kind="stable")
    step, is_known = _step([planes[place] for place in order], first, path)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1], affine[:3, 2] = (
        planes[0].down * planes[0].sizes[0], planes[0].across * planes[0].sizes[1],
    )  # fmt: skip
    affine[:3, 3] = planes[order[0]].position
    geometry = Geometry(
        shape, LPS_TO_RAS @ affine, _FRAMES, (is_known, True, True), channels, channels > 1
    )
    return geometry, order.tolist()


def _plane(dataset: Any, frame: int) -> _Plane | None:
    """Where a frame lies; `None` where it does not say."""
    is_film = num_frames(dataset) > 1
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    values = [frame_value(dataset, frame, name) for name in names]
    # what a film says at its top is true of none of its frames
    if not all(values) or (is_film and values[0] is dataset.get(names[0])):
        return None
    position, directions, sizes = (np.array(value, float) for value in values)
    return _Plane(position, directions[:3], directions[3:], sizes)


def _require_parallel(planes: list[_Plane], path: Path) -> None:
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


def _step(planes: list[_Plane], first: Any, path: Path) -> tuple[NDArray[np.float64], bool]:
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
        f"{doubled} lie where another one lies (several times or echoes: give each a folder)"
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

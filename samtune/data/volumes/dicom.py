"""DICOM series and multi-frame files as volumes.

The standard's geometry is highdicom's work; single data sets and their values come from
`images/dicom.py`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.errors import UserError, require
from samtune.images.dicom import (
    OF_FRAMES,
    grey_values,
    num_frames,
    read_series,
    reading_dicom,
    to_grey_values,
)

# The stored axis of slices or frames, before rows and columns.
_FRAMES = 0


def read_dicom_geometry(path: Path) -> Geometry:
    """Where the voxels lie, in the order (slice, row, column).

    A multi-frame file without positions (a film) has its frames as slices, as far apart as it says.

    Raises:
        UserError: damaged files, several series, or slices that are no regular stack.
    """
    with reading_dicom(path):
        datasets = read_series(path, with_pixels=False)
        if _is_multi_frame(datasets):
            return _multi_frame_geometry(datasets[0], path)
        return _stack_geometry(datasets, path)


def _multi_frame_geometry(header: Any, path: Path) -> Geometry:
    if OF_FRAMES in header:
        geometry = _enhanced(path).get_volume_geometry()
        return Geometry(geometry.spatial_shape, LPS_TO_RAS @ geometry.affine, _FRAMES)
    shape = (int(header.NumberOfFrames), int(header.Rows), int(header.Columns))
    pixel = header.get("PixelSpacing") or (None, None)
    sizes = [_frame_distance(header), *pixel]
    frames, rows, columns = (float(size or 1) for size in sizes)
    # frames, rows (to the back), columns (to the left)
    affine = np.array([[0, 0, columns, 0], [0, rows, 0, 0], [frames, 0, 0, 0], [0, 0, 0, 1.0]])
    between, down, across = map(bool, sizes)
    return Geometry(shape, LPS_TO_RAS @ affine, _FRAMES, (between, down, across))


def _frame_distance(header: Any) -> float | None:
    """Millimetres between frames that have no positions; that of nuclear medicine may be negative."""
    sizes = (header.get("SpacingBetweenSlices"), header.get("SliceThickness"))
    return next((abs(float(size)) for size in sizes if size), None)


def _enhanced(path: Path) -> Any:
    """A multi-frame file whose frames, in any order, are one stack of slices."""
    image = require("highdicom", "medical").imread(path, lazy_frame_retrieval=True)
    if image.get_volume_geometry() is None:
        raise UserError(f"the frames of {path} are no regular stack of slices")
    return image


def _stack_geometry(datasets: list[Any], path: Path) -> Geometry:
    highdicom = require("highdicom", "medical")
    spacing, order = _order(datasets, path)
    first = datasets[order.index(0)]
    geometry = highdicom.VolumeGeometry.from_attributes(
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        rows=first.Rows,
        columns=first.Columns,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=spacing or 1.0,
        number_of_frames=len(datasets),
        coordinate_system="PATIENT",
    )
    is_measured = (spacing is not None, True, True)
    return Geometry(geometry.spatial_shape, LPS_TO_RAS @ geometry.affine, _FRAMES, is_measured)


def _order(datasets: list[Any], path: Path) -> tuple[float | None, list[int]]:
    """Distance of slices, if known, and the place of each in the stack."""
    first = datasets[0]
    if "ImagePositionPatient" not in first or "PixelSpacing" not in first:
        raise UserError(
            f"the slices of {path} say neither where they lie nor their spacing: as single pictures "
            "they can be read beside masks (images/ID.dcm with masks/ID.png)"
        )
    if len(datasets) == 1:
        return _frame_distance(first), [0]
    spatial = require("highdicom.spatial", "medical")
    spacing, order = spatial.get_series_volume_positions(datasets)
    if spacing is None or order is None:
        raise UserError(
            f"{path}: its {len(datasets)} slices are no regular stack: one is missing, there twice, or "
            "of another orientation (a localizer, to be taken out)"
        )
    return float(spacing), [int(place) for place in order]


def read_dicom_voxels(path: Path) -> NDArray[np.float32]:
    """(slices, rows, columns) after rescale slope and intercept; MONOCHROME1 is negated.

    Raises:
        UserError: damaged files, or a compression that needs another package.
    """
    with reading_dicom(path):
        datasets = read_series(path, with_pixels=True)
        if len(datasets) == 1 and OF_FRAMES in datasets[0]:
            return _enhanced_values(path)
        if _is_multi_frame(datasets):
            return grey_values(datasets[0])
        places = _order(datasets, path)[1]
        return np.stack([grey_values(datasets[places.index(k)]) for k in range(len(datasets))])


def _enhanced_values(path: Path) -> NDArray[np.float32]:
    """Grey values in the order of the geometry, which need not be that of the frames."""
    image = _enhanced(path)
    volume = image.get_volume(
        dtype=np.float64, apply_real_world_transform=False, apply_presentation_lut=False
    )
    return to_grey_values(volume.array.astype(np.float32), image)


def _is_multi_frame(datasets: list[Any]) -> bool:
    return len(datasets) == 1 and (num_frames(datasets[0]) > 1 or OF_FRAMES in datasets[0])

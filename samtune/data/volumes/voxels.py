"""Volumes of scanners in one order of axes: NIfTI, NRRD, MetaImage and DICOM.

Voxels come in right-anterior-superior order: the first axis runs to the patient's right, the second to
the front, the third to the head (or nearly, where the scanner was tilted).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.dicom import read_dicom_geometry, read_dicom_voxels
from samtune.data.volumes.dicom_labels import read_dicom_label_notes, read_dicom_labels
from samtune.data.volumes.itk_header import require_data_beside, require_sound_fields
from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.errors import UserError, require
from samtune.images.dicom import SUFFIXES, is_dicom, read_dicom_window

NIFTI = (".nii.gz", ".nii")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
VOLUME_SUFFIXES = (*NIFTI, *ITK, *SUFFIXES)
# Codes of NIfTI's xyzt_units for metres, millimetres and micrometres, as millimetres; the lowest three
# bits of the field (https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h). 0 is unknown.
_MILLIMETRES = {1: 1e3, 2: 1.0, 3: 1e-3}
_SPACE_CODES = 8


@dataclass(frozen=True)
class Labels:
    """Objects of a volume.

    Attributes:
        layers: (L, X, Y, Z) whole numbers in right-anterior-superior order, of the smallest type that
            holds them; objects that overlap lie on different layers.
        names: value -> name, as far as the file tells.
    """

    layers: NDArray[Any]
    names: dict[int, str]


def read_geometry(path: Path, unit: float = 1.0) -> Geometry:
    """Shape and place of a volume, without its voxels.

    Args:
        path: the volume.
        unit: millimetres of a coordinate where a NIfTI file does not say.

    Raises:
        UserError: the file is damaged, no volume of three axes, or says no place for its voxels.
    """
    if is_dicom(path):
        geometry = read_dicom_geometry(path)
    elif path.name.lower().endswith(NIFTI):
        geometry = _read_nifti(path, lambda image: _nifti_geometry(image, unit))
    else:
        geometry = _itk_geometry(path)
    if not geometry.is_regular:
        raise UserError(
            f"{path} has the shape {_times(geometry.shape)} and the affine "
            f"{geometry.affine[:3].tolist()}: expected voxels, and three axes that are finite and lie "
            "in no plane; save it again with a valid affine"
        )
    return geometry


def read_voxels(path: Path) -> NDArray[Any]:
    """(X, Y, Z) intensities in right-anterior-superior order, rescaled as the file says.

    Raises:
        UserError: the file is damaged or truncated.
    """
    geometry = read_geometry(path)
    if is_dicom(path):
        values = read_dicom_voxels(path)
    elif path.name.lower().endswith(NIFTI):
        values = _read_nifti(path, lambda image: np.asanyarray(image.dataobj))
    else:
        values = _itk_voxels(path)
    return geometry.turn(np.asarray(values).reshape(geometry.shape))


def read_window(path: Path) -> tuple[float, float] | None:
    """Intensities that become 0 and 255, where the file itself names them."""
    return read_dicom_window(path) if is_dicom(path) else None


def read_volume_labels(path: Path, image: Path) -> Labels:
    """Objects of a volume, on the voxels of its image.

    Raises:
        UserError: the labels do not fit the image, lie elsewhere than it, or are no labels.
    """
    if is_dicom(path):
        return Labels(*read_dicom_labels(path, read_geometry(image)))
    _require_fit(path, image)
    values = read_voxels(path)
    is_whole = values.dtype.kind in "biu" or (
        np.isfinite(values).all() and np.array_equal(np.rint(values), values)
    )
    if not is_whole or values.min() < 0 or float(values.max()) >= 2**31:
        raise UserError(f"{path} holds values that are no labels (fractions or below 0)")
    return Labels(values.astype(np.min_scalar_type(int(values.max())), copy=False)[None], {})


def read_label_notes(path: Path) -> list[str]:
    """What of a file of labels cannot be an object."""
    return read_dicom_label_notes(path) if is_dicom(path) else []


def _require_fit(path: Path, image: Path) -> None:
    # nibabel drops the unit of an affine that is handed on
    is_nifti = image.name.lower().endswith(NIFTI)
    unit = _read_nifti(image, _nifti_unit) if is_nifti else None
    found, expected = read_geometry(path, unit or 1.0), read_geometry(image)
    if found.ras_shape != expected.ras_shape:
        raise UserError(
            f"{path} has {_times(found.ras_shape)} voxels, but its image has "
            f"{_times(expected.ras_shape)}"
        )
    if not found.fits(expected):
        raise UserError(
            f"{path} lies elsewhere than its image {image} ({_extent(found)}, the image "
            f"{_extent(expected)}): the usual cause are labels saved without their image's affine (an "
            "array given to nibabel with an identity); save them with it, "
            "nibabel.Nifti1Image(labels, image.affine), if they are in the order of its voxels"
        )


def _extent(geometry: Geometry) -> str:
    """From where to where the voxels go, in millimetres to the right, front and head."""
    ends = (np.round(geometry.corners[corner], 1) + 0.0 for corner in (0, -1))
    first, last = (", ".join(f"{value:g}" for value in end) for end in ends)
    return f"from ({first}) to ({last}) mm"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Three axes, whatever axes of length 1 follow."""
    if len(shape) < 3 or any(side != 1 for side in shape[3:]):
        raise UserError(f"has the shape {_times(shape)}: volumes of three axes are needed")
    return int(shape[0]), int(shape[1]), int(shape[2])


def _nifti_unit(image: Any) -> float | None:
    """Millimetres of a coordinate, if the header says."""
    return _MILLIMETRES.get(int(image.header["xyzt_units"]) % _SPACE_CODES)


def _nifti_geometry(image: Any, unit: float) -> Geometry:
    dtype = image.get_data_dtype()
    if dtype.kind not in "biuf":
        kind = "colours" if dtype.names else f"{dtype} numbers"
        raise UserError(f"has {kind} as voxels: one real number each is needed")
    scale = _nifti_unit(image) or unit
    return Geometry(_three(image.shape), np.diag([scale, scale, scale, 1.0]) @ image.affine)


def _read_nifti(path: Path, take: Callable[[Any], Any]) -> Any:
    nibabel = require("nibabel", "medical")
    try:
        return take(nibabel.load(path))
    except UserError as error:
        raise UserError(f"{path} {error}") from error
    except Exception as error:  # nibabel raises whatever the bytes make it do
        raise UserError(f"{path} is no NIfTI volume, or damaged: {_reason(error)}") from error


def _itk_geometry(path: Path) -> Geometry:
    if path.is_dir():
        raise UserError(f"{path} is a folder without a DICOM slice: give one with, or a file")
    reader = _itk_reader(path)
    try:
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() != 1:
            raise UserError(f"{path} has {reader.GetNumberOfComponents()} values a voxel, not one")
        shape = _three(reader.GetSize())
        rank = reader.GetDimension()
        direction = np.array(reader.GetDirection()).reshape(rank, rank)[:3, :3]
        affine = np.eye(4)
        affine[:3, :3] = direction * np.array(reader.GetSpacing()[:3])
        affine[:3, 3] = reader.GetOrigin()[:3]
    except RuntimeError as error:
        raise UserError(f"{path} is no volume, or damaged: {_reason(error)}") from error
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path} {error}") from error
    return Geometry(shape, LPS_TO_RAS @ affine)


def _itk_voxels(path: Path) -> NDArray[Any]:
    sitk = require("SimpleITK", "medical")
    try:
        values = sitk.GetArrayFromImage(_itk_reader(path).Execute())
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"{path} is truncated or damaged: {_reason(error)}") from error
    return np.asarray(values.T)  # SimpleITK's arrays have the first axis last


def _itk_reader(path: Path) -> Any:
    sitk = require("SimpleITK", "medical")
    if path.is_file():
        require_data_beside(path)
        require_sound_fields(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    return reader


def _reason(error: Exception) -> str:
    """ITK ends with what it found; before that it tells where in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]

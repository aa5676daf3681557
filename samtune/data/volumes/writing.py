"""Labels of a volume as NIfTI, NRRD, MetaImage or DICOM SEG, voxel for voxel on their image."""

import gzip
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.dicom_seg import dicom_seg_bytes, keeps_overlaps
from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.data.volumes.segments import Segment, merged
from samtune.data.volumes.voxels import NIFTI, read_geometry
from samtune.errors import UserError, require
from samtune.files import write_bytes
from samtune.images.dicom import SUFFIXES, is_dicom

_ITK = (".nrrd", ".mha")
LABEL_SUFFIXES = (*NIFTI, *_ITK, ".dcm")


def require_writable(path: Path, image: Path) -> None:
    """Say before the long work what could not be written after it.

    Raises:
        UserError: the suffix is unknown, or DICOM SEG was asked for of an image that is no DICOM or
            of a tilted gantry.
    """
    if not path.name.lower().endswith(LABEL_SUFFIXES):
        raise UserError(f"{path} has no suffix that is known: give {', '.join(LABEL_SUFFIXES)}")
    if is_dicom_seg(path):
        require("highdicom", "medical")
        if not is_dicom(image):
            raise UserError(
                f"{path} would be DICOM SEG, which refers to DICOM slices, but {image} is none: give "
                "a name that ends with .nii.gz"
            )
        if read_geometry(image).is_sheared:
            raise UserError(
                f"{path} would be DICOM SEG, but {image} was taken with a tilted gantry: its slices "
                "are no box; give a name that ends with .nii.gz"
            )


def is_dicom_seg(path: Path) -> bool:
    """Whether the suffix of labels says DICOM SEG."""
    return path.name.lower().endswith(SUFFIXES)


def may_overlap(path: Path, num_objects: int, num_voxels: int) -> bool:
    """Whether the file can hold voxels that belong to several prompted objects.

    Args:
        path: where to; its suffix says the format.
        num_objects: in the volume.
        num_voxels: of the whole volume.
    """
    return is_dicom_seg(path) and keeps_overlaps(num_objects, num_voxels)


def write_volume_labels(path: Path, image: Path, segments: Sequence[Segment]) -> None:
    """Write objects in the orientation that their image is stored in, atomically.

    SEG keeps prompted objects that overlap where `may_overlap` says so; all others see `merged`.

    Args:
        path: where to; its suffix says the format. SEG numbers the objects from 1 in their order.
        image: that the objects belong to; NIfTI keeps its header's qform and sform to the bit.
        segments: the objects.

    Raises:
        UserError: the format cannot hold the objects, or the disk does not take the file.
    """
    require_writable(path, image)
    geometry = read_geometry(image)
    if is_dicom_seg(path):
        content = dicom_seg_bytes(image, geometry, segments)
    else:
        labels = geometry.turn_back(merged(segments, geometry.ras_shape))
        content = (
            _nifti_bytes(path, image, geometry, labels)
            if path.name.lower().endswith(NIFTI)
            else _itk_bytes(path, geometry, labels)
        )
    try:
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def _nifti_bytes(path: Path, image: Path, geometry: Geometry, labels: NDArray[Any]) -> bytes:
    nibabel = require("nibabel", "medical")
    header, affine = None, geometry.affine
    if image.name.lower().endswith(NIFTI):
        source = nibabel.load(image)
        affine = source.affine  # in the unit of the header
        if isinstance(source.header, nibabel.Nifti1Header):
            header = nibabel.Nifti1Header.from_header(source.header)
            header.extensions.clear()
            for name in ("descrip", "aux_file", "intent_name"):  # of the image, and of its patient
                header[name] = b""
            header["cal_min"] = header["cal_max"] = 0
            header.set_data_dtype(labels.dtype)
    content = nibabel.Nifti1Image(labels, affine, header, dtype=labels.dtype).to_bytes()
    if path.name.lower().endswith(".gz"):
        return gzip.compress(content, compresslevel=6, mtime=0)
    return bytes(content)


def _itk_bytes(path: Path, geometry: Geometry, labels: NDArray[Any]) -> bytes:
    """SimpleITK writes to files alone."""
    sitk = require("SimpleITK", "medical")
    affine = LPS_TO_RAS @ geometry.affine
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    picture = sitk.GetImageFromArray(labels.T)  # SimpleITK's arrays have the first axis last
    try:
        picture.SetSpacing(sizes.tolist())
        picture.SetDirection((affine[:3, :3] / sizes).ravel().tolist())
        picture.SetOrigin(affine[:3, 3].tolist())
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"labels{path.suffix.lower()}"
            sitk.WriteImage(picture, str(file), useCompression=True)
            return file.read_bytes()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise UserError(f"{path} cannot be written ({reason}): try .nii.gz") from error

"""DICOM SEG and RTSTRUCT on the voxels of the image that they were drawn on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.dicom_io import reading_dicom
from samtune.data.geometry3d import LPS_TO_RAS, Geometry
from samtune.data.objects import stack_layers
from samtune.errors import UserError, require
from samtune.geometry import polygons_to_mask
from samtune.types import MaskArray

# How far from a slice, in slices, a contour may lie that belongs to it.
_NEAR = 0.5
_SEG, _RTSTRUCT = "SEG", "RTSTRUCT"


def read_dicom_labels(path: Path, image: Geometry) -> tuple[NDArray[np.int32], dict[int, str]]:
    """Objects of a SEG or RTSTRUCT file.

    Args:
        path: the file.
        image: of the image that they belong to.

    Returns:
        (L, X, Y, Z) labels in right-anterior-superior order, overlapping objects on other layers;
        their names.

    Raises:
        UserError: it is neither, is damaged, or lies elsewhere than the image.
    """
    with reading_dicom(path):
        dataset = require("pydicom", "medical").dcmread(path)
        readers = {_SEG: _segments, _RTSTRUCT: _regions}
        if dataset.get("Modality") not in readers:
            raise UserError(
                f"{path} is DICOM of the modality {dataset.get('Modality')}: labels come as SEG or "
                "RTSTRUCT"
            )
        found = list(readers[dataset.Modality](dataset, image))
        if not any(mask.any() for _, _, mask in found):
            raise UserError(f"no object of {path} lies on its image: are they of one patient?")
        layers = stack_layers(((number, mask) for number, _, mask in found), image.shape)
    turned = np.stack([image.turn(layer) for layer in layers])
    return turned.astype(np.int32), {number: name for number, name, _ in found}


def _segments(dataset: Any, image: Geometry) -> Iterator[tuple[int, str, MaskArray]]:
    """Number, name and mask of each segment; fractions above one half count."""
    highdicom = require("highdicom", "medical")
    segmentation = highdicom.seg.Segmentation.from_dataset(dataset)
    stored = highdicom.VolumeGeometry(
        LPS_TO_RAS @ image.affine, image.shape, coordinate_system="PATIENT"
    )
    for number in segmentation.segment_numbers:
        volume = segmentation.get_volume(segment_numbers=[number], dtype=np.float32)
        on_image = volume.match_geometry(stored).array.reshape(image.shape)
        name = str(segmentation.get_segment_description(number).segment_label)
        yield int(number), name, on_image > 0.5


def _regions(dataset: Any, image: Geometry) -> Iterator[tuple[int, str, MaskArray]]:
    """Number, name and mask of each region of interest.

    Contours on one slice are filled by even and odd crossings, so that inner ones are holes.
    """
    names = {int(r.ROINumber): str(r.ROIName) for r in dataset.StructureSetROISequence}
    for region in dataset.ROIContourSequence:
        mask = np.zeros(image.shape, np.bool_)
        for contour in region.get("ContourSequence", []):
            if contour.ContourGeometricType == "CLOSED_PLANAR":
                _fill(mask, np.array(contour.ContourData, float).reshape(-1, 3), image)
        number = int(region.ReferencedROINumber)
        yield number, names.get(number, ""), mask


def _fill(mask: MaskArray, points: NDArray[np.float64], image: Geometry) -> None:
    """Cross a contour (N, 3), millimetres to the left, back and head, into its slice of the mask."""
    to_index = np.linalg.inv(LPS_TO_RAS @ image.affine)
    indices = points @ to_index[:3, :3].T + to_index[:3, 3]
    slices = indices[:, 0]
    number = round(float(slices.mean()))
    if not np.isfinite(indices).all() or not 0 <= number < len(mask):
        return
    if np.abs(slices - number).max() > _NEAR:
        raise UserError(
            "a contour lies between the slices of its image or across them: contours drawn on "
            "another series, or in other planes, cannot be read"
        )
    corners = indices[:, [2, 1]] + 0.5  # voxel centres have whole indices
    height, width = mask.shape[1:]
    mask[number] ^= polygons_to_mask([corners.reshape(-1).tolist()], (height, width))

"""DICOM SEG and RTSTRUCT on the voxels of the image that they were drawn on."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.objects import stack_layers
from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.errors import UserError, require
from samtune.images.dicom import reading_dicom
from samtune.masks import polygons_to_mask
from samtune.types import MaskArray

# How far from a slice, in slices, the points of a contour may lie that belongs to it.
_NEAR = 0.2
_SEG, _RTSTRUCT = "SEG", "RTSTRUCT"
# Kinds of contours with an area; those of both are combined by even and odd crossings (DICOM PS3.3,
# section C.8.8.6.3). The others are points and open lines.
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def read_dicom_labels(path: Path, image: Geometry) -> tuple[NDArray[Any], dict[int, str]]:
    """Objects of a SEG or RTSTRUCT file.

    Args:
        path: the file.
        image: of the image that they belong to.

    Returns:
        (L, X, Y, Z) labels in right-anterior-superior order, of the smallest type that holds them,
        overlapping objects on other layers; their names.

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
        names, masks = readers[dataset.Modality](dataset, image)
        turned = zip(names, map(image.turn, masks), strict=True)
        dtype = np.min_scalar_type(max(names, default=0))
        layers = stack_layers(turned, image.ras_shape, dtype)
        if not layers.any():
            why = "; ".join(_open_contours(dataset)) or "are they of one patient?"
            raise UserError(f"no object of {path} lies on its image: {why}")
    return layers, names


def read_dicom_label_notes(path: Path) -> list[str]:
    """What of a SEG or RTSTRUCT file cannot be an object: contours without an area.

    Raises:
        UserError: the file is damaged.
    """
    tags = ["StructureSetROISequence", "ROIContourSequence"]
    with reading_dicom(path):
        dataset = require("pydicom", "medical").dcmread(
            path, stop_before_pixels=True, specific_tags=tags
        )
        if found := _open_contours(dataset):
            return [f"{path}: {'; '.join(found)}: points and open lines have no area"]
    return []


def _open_contours(dataset: Any) -> list[str]:
    """Regions with contours that enclose nothing, by name."""
    given = _region_names(dataset)
    kinds = [
        (int(region.ReferencedROINumber), str(contour.ContourGeometricType))
        for region in dataset.get("ROIContourSequence", [])
        for contour in region.get("ContourSequence", [])
    ]
    counts = Counter(kind for kind in kinds if kind[1] not in _CLOSED)
    return [
        f"{count} {kind} of {given.get(number) or number} left out"
        for (number, kind), count in counts.items()
    ]


def _region_names(dataset: Any) -> dict[int, str]:
    regions = dataset.get("StructureSetROISequence", [])
    return {int(region.ROINumber): str(region.get("ROIName", "")) for region in regions}


def _segments(dataset: Any, image: Geometry) -> tuple[dict[int, str], Iterator[MaskArray]]:
    """Names of the segments by number, and their masks; fractions above one half count."""
    if image.is_sheared:
        raise UserError(
            f"{dataset.filename} is DICOM SEG of an image that was taken with a tilted gantry, whose "
            "slices are no box: give labels as NIfTI or RTSTRUCT"
        )
    highdicom = require("highdicom", "medical")
    segmentation = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
    stored = highdicom.VolumeGeometry(
        LPS_TO_RAS @ image.affine, image.shape, coordinate_system="PATIENT"
    )
    dtype = np.uint8 if dataset.SegmentationType == "BINARY" else np.float32

    def masks() -> Iterator[MaskArray]:
        for number in segmentation.segment_numbers:
            volume = segmentation.get_volume(segment_numbers=[number], dtype=dtype)
            yield volume.match_geometry(stored).array.reshape(image.shape) > 0.5

    describe = segmentation.get_segment_description
    names = {int(n): str(describe(n).segment_label) for n in segmentation.segment_numbers}
    return names, masks()


def _regions(dataset: Any, image: Geometry) -> tuple[dict[int, str], Iterator[MaskArray]]:
    """Names of the regions of interest by number, and their masks.

    Regions keep their numbers unless one is 0 or less, which is background, or there twice: then they
    count from 1.
    Contours on one slice are filled by even and odd crossings, so that inner ones are holes.
    """
    given = _region_names(dataset)
    regions = list(dataset.ROIContourSequence)
    drawn = [int(region.ReferencedROINumber) for region in regions]
    keeps_numbers = min(drawn, default=1) > 0 and len(set(drawn)) == len(drawn)
    numbers = drawn if keeps_numbers else range(1, len(drawn) + 1)

    def masks() -> Iterator[MaskArray]:
        for number, region in zip(drawn, regions, strict=True):
            mask = np.zeros(image.shape, np.bool_)
            owner = f"{dataset.filename}: a contour of {given.get(number) or number}"
            for contour in region.get("ContourSequence", []):
                if contour.ContourGeometricType in _CLOSED:
                    points = np.array(contour.ContourData, float).reshape(-1, 3)
                    _fill(mask, points, image, owner)
            yield mask

    names = [given.get(number, "") for number in drawn]
    return dict(zip(numbers, names, strict=True)), masks()


def _fill(mask: MaskArray, points: NDArray[np.float64], image: Geometry, owner: str) -> None:
    """Cross a contour (N, 3), millimetres to the left, back and head, into its slice of the mask."""
    to_index = np.linalg.inv(LPS_TO_RAS @ image.affine)
    indices = points @ to_index[:3, :3].T + to_index[:3, 3]
    slices = indices[:, 0]
    if not np.isfinite(indices).all() or not -0.5 <= slices.mean() < len(mask) - 0.5:
        return
    number = round(float(slices.mean()))
    if np.abs(slices - number).max() > _NEAR:
        raise UserError(
            f"{owner} lies between the slices of its image or across them: contours drawn on "
            "another series, or in other planes, cannot be read; give the series they were drawn on"
        )
    corners = indices[:, [2, 1]] + 0.5  # voxel centres have whole indices
    height, width = mask.shape[1:]
    mask[number] ^= polygons_to_mask([corners.reshape(-1).tolist()], (height, width))

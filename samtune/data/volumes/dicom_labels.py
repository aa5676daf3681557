"""DICOM SEG and RTSTRUCT on the voxels of the image that they were drawn on."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.objects import stack_layers
from samtune.data.volumes.dicom import Plane, frame_plane
from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.errors import UserError, require
from samtune.images.dicom import reading_dicom
from samtune.images.dicom_values import frame_value, num_frames
from samtune.masks import polygons_to_mask
from samtune.types import MaskArray

# How far from a slice, in slices, the points of a contour may lie that belongs to it; and from a voxel,
# in voxels, the pixels of a frame.
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
    """Names of the segments by number, and their masks; fractions above one half count.

    Each frame goes where its own position says, so that slices may be shifted against each other.
    """
    highdicom = require("highdicom", "medical")
    segmentation = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
    is_map = dataset.SegmentationType == "LABELMAP"
    frames = range(num_frames(dataset))
    owners = [
        None if is_map else frame_value(dataset, n, "ReferencedSegmentNumber") for n in frames
    ]
    most = int(dataset.get("MaximumFractionalValue") or 1)

    def masks() -> Iterator[MaskArray]:
        for number in names:
            mask = np.zeros(image.shape, np.bool_)
            for frame in (n for n in frames if owners[n] in (None, number)):
                values = segmentation.get_stored_frame(frame, as_index=True)
                is_inside = values == number if is_map else values > most / 2
                _lay(
                    mask,
                    is_inside,
                    frame_plane(dataset, frame),
                    image,
                    f"{dataset.filename}: frame {frame}",
                )
            yield mask

    describe = segmentation.get_segment_description
    names = {int(n): str(describe(n).segment_label) for n in segmentation.segment_numbers}
    _require_same_distance(dataset, image)
    return names, masks()


def _lay(
    mask: MaskArray, frame: MaskArray, plane: Plane | None, image: Geometry, owner: str
) -> None:
    """Lay a frame (rows, columns) on the voxels of a mask; what is beyond them is cut off.

    Raises:
        UserError: its pixels lie between voxels, or it does not say where they lie.
    """
    if plane is None:
        raise UserError(
            f"{owner} does not say where it lies in the body: save it with its positions"
        )
    to_index = np.linalg.inv(LPS_TO_RAS @ image.affine)
    steps = np.stack([plane.down * plane.sizes[0], plane.across * plane.sizes[1]])
    exact = np.vstack(
        [to_index[:3, :3] @ plane.position + to_index[:3, 3], steps @ to_index[:3, :3].T]
    )
    whole = np.rint(exact)
    # how far the last pixel may be off, after so many steps
    off = np.abs(exact - whole).T @ [1, *frame.shape]
    if not (off <= _NEAR).all() or not (np.abs(whole[1:]).sum(axis=1) == 1).all():
        raise UserError(
            f"{owner} lies between the voxels of its image, or has pixels of another size: segments "
            "drawn on another series cannot be read; give the series they were drawn on"
        )
    places = whole[0].astype(int) + np.argwhere(frame) @ whole[1:].astype(int)
    is_there = ((places >= 0) & (places < mask.shape)).all(axis=1)
    mask[tuple(places[is_there].T)] = True


def _require_same_distance(dataset: Any, image: Geometry) -> None:
    """Refuse frames that are as thick as several slices: those between would stay empty."""
    distance = frame_value(dataset, 0, "SpacingBetweenSlices")
    plane = frame_plane(dataset, 0)
    if not distance or plane is None:
        return
    steps = LPS_TO_RAS[:3, :3] @ image.affine[:3, :3]
    upright = np.abs(plane.normal @ steps)
    axis = int(np.argmax(upright / np.linalg.norm(steps, axis=0)))
    # of shifted slices some files say how far apart their middles are, others their planes
    sizes = (upright[axis], float(np.linalg.norm(steps[:, axis])))
    if not any(abs(float(distance) - size) <= _NEAR * size for size in sizes):
        raise UserError(
            f"{dataset.filename} has frames {float(distance):.4g} mm apart, its image slices "
            f"{sizes[0]:.4g} mm: give the series that they were drawn on"
        )


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

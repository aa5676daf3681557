"""Writing DICOM SEG with highdicom: segments that may overlap, on the slices of their image."""

import io
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.dicom_io import read_dicom_headers
from samtune.data.geometry3d import LPS_TO_RAS, Geometry
from samtune.data.segments import Segment, merged
from samtune.errors import UserError, require

# Lengths that the standard allows: LO of labels and series (PS3.5, section 6.2).
_LONG_STRING = 64


def dicom_seg_bytes(image: Path, geometry: Geometry, segments: Sequence[Segment]) -> bytes:
    """A SEG file of the objects, numbered from 1 in their order.

    Args:
        image: the series or multi-frame file; patient and study are taken from it.
        geometry: of the image.
        segments: the objects.

    Raises:
        UserError: there is no object, or highdicom refuses the image: a film without positions, missing
            attributes.
    """
    if not segments:
        raise UserError("DICOM SEG needs an object, and none was found: other formats can be empty")
    highdicom, uids = require("highdicom", "medical"), require("pydicom.uid", "medical")
    segments = [replace(s, number=number) for number, s in enumerate(segments, start=1)]
    headers, volume = read_dicom_headers(image), _volume(geometry, segments)
    try:
        dataset = highdicom.seg.Segmentation(
            source_images=headers,
            pixel_array=volume,
            segmentation_type="BINARY",
            segment_descriptions=[_described(segment) for segment in segments],
            series_instance_uid=uids.generate_uid(),
            series_number=1,
            sop_instance_uid=uids.generate_uid(),
            instance_number=1,
            manufacturer="samtune",
            manufacturer_model_name="samtune",
            software_versions=version("samtune"),
            device_serial_number="0",
            series_description="samtune",
        )
        content = io.BytesIO()
        dataset.save_as(content)
    except Exception as error:  # highdicom raises whatever it meets
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{image} cannot have DICOM SEG ({reason}): name a .nii.gz") from error
    return content.getvalue()


def _volume(geometry: Geometry, segments: Sequence[Segment]) -> Any:
    """Objects as numbers, which takes least memory; where some overlap each as a channel."""
    values = merged(segments, geometry.ras_shape)
    channels = None
    if np.count_nonzero(values) < sum(segment.num_voxels for segment in segments):
        values = np.stack([segment.draw() for segment in segments], axis=-1).astype(np.uint8)
        channels = {"SegmentNumber": [segment.number for segment in segments]}
    return require("highdicom", "medical").Volume(
        geometry.turn_back(values), LPS_TO_RAS @ geometry.affine, coordinate_system="PATIENT",
        channels=channels,
    )  # fmt: skip


def _described(segment: Segment) -> Any:
    """A segment's name, and that samtune drew it; what tissue it is, a prompt does not say."""
    highdicom, codes = (
        require("highdicom", "medical"),
        require("pydicom.sr.codedict", "medical").codes,
    )
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    return highdicom.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=(segment.name or str(segment.number))[:_LONG_STRING],
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=kinds.AUTOMATIC if segment.is_automatic else kinds.SEMIAUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="samtune", family=codes.DCM.ArtificialIntelligence, version=version("samtune")
        ),
    )

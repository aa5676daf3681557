"""Writing DICOM SEG with highdicom: segments that may overlap, on the slices of their image."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.dicom_io import read_dicom_headers, reading_dicom
from samtune.data.geometry3d import LPS_TO_RAS, Geometry
from samtune.errors import require
from samtune.types import MaskArray

# Lengths that the standard allows: LO of labels and series (PS3.5, section 6.2).
_LONG_STRING = 64


@dataclass(frozen=True)
class Segment:
    """An object of a volume.

    Attributes:
        number: its value among the labels, from 1.
        name: for people.
        mask: (X, Y, Z) boolean in right-anterior-superior order.
        is_automatic: found without a prompt.
    """

    number: int
    name: str
    mask: MaskArray
    is_automatic: bool = False


def dicom_seg_bytes(image: Path, geometry: Geometry, segments: Sequence[Segment]) -> bytes:
    """A SEG file of the objects, numbered from 1 in their order.

    Args:
        image: the series or multi-frame file; patient and study are taken from it.
        geometry: of the image.
        segments: the objects.

    Raises:
        UserError: highdicom refuses the image: a film without positions, missing attributes.
    """
    highdicom, uids = require("highdicom", "medical"), require("pydicom.uid", "medical")
    masks = np.stack([geometry.turn_back(segment.mask) for segment in segments], axis=-1)
    with reading_dicom(image):
        volume = highdicom.Volume(
            masks.astype(np.uint8), LPS_TO_RAS @ geometry.affine, coordinate_system="PATIENT",
            channels={"SegmentNumber": list(range(1, len(segments) + 1))},
        )  # fmt: skip
        dataset = highdicom.seg.Segmentation(
            source_images=read_dicom_headers(image),
            pixel_array=volume,
            segmentation_type="BINARY",
            segment_descriptions=[_described(n, s) for n, s in enumerate(segments, start=1)],
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
    return content.getvalue()


def _described(number: int, segment: Segment) -> Any:
    """A segment's name, and that samtune drew it; what tissue it is, a prompt does not say."""
    highdicom, codes = (
        require("highdicom", "medical"),
        require("pydicom.sr.codedict", "medical").codes,
    )
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=(segment.name or str(segment.number))[:_LONG_STRING],
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=kinds.AUTOMATIC if segment.is_automatic else kinds.SEMIAUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="samtune", family=codes.DCM.ArtificialIntelligence, version=version("samtune")
        ),
    )

"""Writing DICOM SEG with highdicom: segments that may overlap, on the slices of their image."""

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.data.volumes.segments import Segment, merged
from samtune.errors import UserError, first_line, require
from samtune.images.dicom import read_dicom_headers

# Characters that the standard allows in a label, VR LO (PS3.5, section 6.2).
_LONG_STRING = 64
# UTF-8: names are of any script, whatever the image was written in (PS3.3, section C.12.1.1.2).
_UTF8 = "ISO_IR 192"
# Bytes that objects may take when each is drawn by itself: highdicom wants all of them at once.
_MOST_BYTES = 2**30


def keeps_overlaps(num_objects: int, num_voxels: int) -> bool:
    """Whether so many objects of a volume may overlap in a file, as far as memory goes."""
    return num_objects * num_voxels <= _MOST_BYTES


def dicom_seg_bytes(image: Path, geometry: Geometry, segments: Sequence[Segment]) -> bytes:
    """A SEG file of the objects, numbered from 1 in their order.

    Prompted objects may overlap, if `keeps_overlaps` says so; of others the smaller one keeps what they
    share.

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
            specific_character_set=_UTF8,
        )
        content = io.BytesIO()
        dataset.save_as(content)
    except Exception as error:  # highdicom raises whatever it meets
        raise UserError(
            f"{image} cannot have DICOM SEG ({first_line(error)}): name a .nii.gz"
        ) from error
    return content.getvalue()


def _volume(geometry: Geometry, segments: Sequence[Segment]) -> Any:
    """Objects as numbers, which takes least memory; where some overlap each as a channel."""
    values, channels = geometry.turn_back(merged(segments, geometry.ras_shape)), None
    has_overlaps = np.count_nonzero(values) < sum(segment.num_voxels for segment in segments)
    is_prompted = not any(segment.is_automatic for segment in segments)
    if has_overlaps and is_prompted and keeps_overlaps(len(segments), values.size):
        values = _stacked(geometry, segments)
        channels = {"SegmentNumber": [segment.number for segment in segments]}
    return require("highdicom", "medical").Volume(
        values, LPS_TO_RAS @ geometry.affine, coordinate_system="PATIENT", channels=channels
    )


def _stacked(geometry: Geometry, segments: Sequence[Segment]) -> NDArray[np.uint8]:
    """Objects as stored, one drawn at a time into (..., number of them)."""
    values = np.empty((len(segments), *geometry.shape), np.uint8)
    for channel, segment in zip(values, segments, strict=True):
        channel[:] = geometry.turn_back(segment.draw())
    return np.moveaxis(values, 0, -1)


def _described(segment: Segment) -> Any:
    """A segment's name and kind, and that samtune drew it."""
    highdicom, codes = (
        require("highdicom", "medical"),
        require("pydicom.sr.codedict", "medical").codes,
    )
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    category, kind = (
        highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning) for code in segment.kind
    )
    return highdicom.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=_label(segment.name) or str(segment.number),
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=kinds.AUTOMATIC if segment.is_automatic else kinds.SEMIAUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="samtune", family=codes.DCM.ArtificialIntelligence, version=version("samtune")
        ),
    )


def _label(name: str) -> str:
    """A name as LO can hold it: a backslash would part it, control characters are not allowed."""
    plain = (" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in name)
    return "".join(plain).replace("\\", "/").strip()[:_LONG_STRING].strip()

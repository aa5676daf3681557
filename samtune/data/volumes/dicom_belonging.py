"""What DICOM labels say they belong to: a patient, a study, a frame of reference."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samtune.errors import UserError, require
from samtune.images.dicom import is_dicom, read_dicom_headers, reading_dicom


def require_same_body(labels: Path, image: Path) -> None:
    """Refuse labels of another patient, study or frame of reference, whatever their coordinates say.

    What either file does not say is not compared; images that are no DICOM say nothing.

    Args:
        labels: a SEG or RTSTRUCT file.
        image: the volume.

    Raises:
        UserError: they belong to another one; the message names both.
    """
    if not is_dicom(image):
        return
    with reading_dicom(labels):
        said = require("pydicom", "medical").dcmread(labels, stop_before_pixels=True)
        found = {
            "patient": {_text(said, "PatientID")} - {""},
            "study": set(_studies(said)) - {""},
            "frame of reference": set(_frames_of_reference(said)) - {""},
        }
    header = read_dicom_headers(image)[0]
    names = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
    for (kind, values), name in zip(found.items(), names, strict=True):
        expected = _text(header, name)
        # of several studies one may be meant; a structure of another frame is somewhere else
        is_other = values - {expected} if kind == "frame of reference" else expected not in values
        if values and expected and is_other:
            raise UserError(
                f"{labels} belongs to another {kind} ({', '.join(sorted(values))}) than its image "
                f"{image} ({expected}): give the labels of this image; if they belong together all "
                "the same, with_foreign_labels true takes them"
            )


def _text(dataset: Any, name: str) -> str:
    return str(dataset.get(name) or "").strip()


def _studies(dataset: Any) -> Iterator[str]:
    yield _text(dataset, "StudyInstanceUID")
    for item in dataset.get("StudiesContainingOtherReferencedInstancesSequence") or []:
        yield _text(item, "StudyInstanceUID")
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            yield _text(study, "ReferencedSOPInstanceUID")


def _frames_of_reference(dataset: Any) -> list[str]:
    """Those of the structures, else of what is referred to, else of the file itself."""
    places = (
        ("StructureSetROISequence", "ReferencedFrameOfReferenceUID"),
        ("ReferencedFrameOfReferenceSequence", "FrameOfReferenceUID"),
    )
    for sequence, name in places:
        if found := [_text(item, name) for item in dataset.get(sequence) or [] if name in item]:
            return found
    return [_text(dataset, "FrameOfReferenceUID")]

"""What images seem to be, from what their files say and how they look."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from samtune.data.checks.look import Seen
from samtune.data.source import SPACING_COLUMNS, Record
from samtune.images.dicom import is_dicom, read_dicom_headers
from samtune.types import ImageArray, Sample

# Below this mean brightness of 255 a picture is bright things on black.
_DARK = 45.0
# Hounsfield units of air: nothing but CT reaches below.
_AIR = -500.0
# Satellites see the ground in pixels of half a metre and more; aeroplanes in finer ones, mostly.
_FINEST_SATELLITE = 0.3
# DICOM's modalities (PS3.3, section C.7.3.1.1.1) with the augmentation that fits; `OT` is any other.
_DICOM = {
    "CT": "ct", "MR": "mr", "US": "ultrasound", "IVUS": "ultrasound", "ES": "endoscopy", "SM": "he",
    **dict.fromkeys(("CR", "DX", "MG", "XA", "RF", "PX", "IO"), "xray"),
}  # fmt: skip
_ANY_OTHER = ("", "OT")
# What is labelled is what shines where it is this much (IoU) of all that is bright, in so many parts:
# 94% of the fluorescence images of DSB2018 reach both, and none of its other images does.
_SHINING, _PARTS = 0.5, 5


def guess_modality(record: Record, samples: Sequence[Sample], seen: Sequence[Seen]) -> str:
    """The augmentation preset of what the images seem to be; empty where they do not tell."""
    modality = _dicom_modality(record)
    if modality not in _ANY_OTHER:
        return _DICOM.get(modality, "")
    columns = dict(record.columns)
    unit = columns.get(SPACING_COLUMNS[2])
    if unit == "m":
        is_fine = float(columns[SPACING_COLUMNS[0]]) < _FINEST_SATELLITE
        return "aerial" if is_fine else "satellite"
    if unit == "mm":
        return "ct" if min(image.stored.lowest for image in seen) < _AIR else "mr"
    if float(np.median([image.brightness for image in seen])) < _DARK:
        shine = all(_is_grey(s.image) for s in samples) and np.mean([*map(_shines, samples)]) > 0.5
        return "fluorescence" if shine else ""
    return "he" if np.mean([_is_stained(sample.image) for sample in samples]) > 0.7 else ""


def _dicom_modality(record: Record) -> str:
    """What the first DICOM file of a picture, series or film says; empty without DICOM."""
    if not is_dicom(record.path):
        return ""
    return str(read_dicom_headers(record.path)[0].get("Modality", ""))


def _is_grey(image: ImageArray) -> bool:
    return bool((image.max(axis=2).astype(int) - image.min(axis=2) <= 8).mean() > 0.95)


def _shines(sample: Sample) -> bool:
    """Whether what is labelled is what is bright: not so in ultrasound and MR, dark as well."""
    grey = sample.image.mean(axis=2).astype(np.uint8)
    is_bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1] > 0
    is_object = sample.labels.any(axis=0)
    common, either = (
        np.count_nonzero(area) for area in (is_bright & is_object, is_bright | is_object)
    )
    return bool(ndimage.label(is_object)[1] >= _PARTS and common >= _SHINING * either)


def _is_stained(image: ImageArray) -> bool:
    """Haematoxylin and eosin: light, with more red and blue than green almost everywhere."""
    red, green, blue = (image[..., band].astype(int) for band in range(3))
    is_pink = (red > green + 10) & (blue > green + 5)
    return bool(image.mean() > 110 and is_pink.mean() > 0.35)

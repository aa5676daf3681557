"""What the pixels of a DICOM data set are: attributes of each frame, decoding, grey values, colours.

Every picture goes this way: a single one, a slice of a series, a frame of a film or an enhanced file.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError, require

# What enhanced multi-frame files say of each frame, and of all of them.
OF_FRAMES, _OF_ALL = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
# A header could otherwise claim more than the memory holds.
_MOST_VALUES = 2**31
# JPEG, JPEG-LS and JPEG 2000 end with this marker; half a frame does not.
_END_OF_IMAGE = b"\xff\xd9"
_ABOUT_PIXELS = (
    "SamplesPerPixel", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelData",
)  # fmt: skip


def num_frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames", 1) or 1)


def frame_value(dataset: Any, frame: int, name: str) -> Any:
    """An attribute as it holds for one frame: its own, that of all frames, or that of the file.

    `None` where nothing says it. No slice is ever described by another one's attributes.
    """
    for group in _groups(dataset, frame):
        for element in group:
            for item in element.value[:1] if element.VR == "SQ" else ():
                if name in item:
                    return item.get(name)
    return dataset.get(name)


def _groups(dataset: Any, frame: int) -> Iterator[Any]:
    yield from (dataset.get(OF_FRAMES) or [])[frame : frame + 1]
    yield from (dataset.get(_OF_ALL) or [])[:1]


def is_inverted(dataset: Any) -> bool:
    return str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1"


def _has_palette(dataset: Any) -> bool:
    return "PALETTE" in str(dataset.get("PhotometricInterpretation", ""))


def is_coloured(dataset: Any) -> bool:
    return int(dataset.get("SamplesPerPixel", 1)) > 1 or _has_palette(dataset)


def pixel_values(dataset: Any) -> NDArray[Any]:
    """(frames, rows, columns) grey values as float32, or (frames, rows, columns, 3) colours.

    Grey values are rescaled as each frame says; those of MONOCHROME1 are negated, so that more is
    brighter everywhere.

    Raises:
        UserError: the header claims more than can be read, or no decoder reads the pixels.
    """
    stored = stored_values(dataset)
    if _has_palette(dataset):
        colours = require("pydicom.pixels", "medical").apply_color_lut(stored, dataset)
        return np.asarray(colours >> 8 if colours.dtype == np.uint16 else colours, np.uint8)
    if is_coloured(dataset):
        return stored
    grey = np.empty(stored.shape, np.float32)
    for number, frame in enumerate(stored):
        grey[number] = _rescaled(frame, dataset, number)
    return -grey if is_inverted(dataset) else grey


def _rescaled(frame: NDArray[Any], dataset: Any, number: int) -> NDArray[Any]:
    """Stored values by the table of the file, or by a frame's own slope and intercept."""
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(require("pydicom.pixels", "medical").apply_modality_lut(frame, dataset))
    slope, intercept = (
        frame_value(dataset, number, name) for name in ("RescaleSlope", "RescaleIntercept")
    )
    if slope is None or intercept is None:
        return frame
    return frame * float(slope) + float(intercept)


def stored_values(dataset: Any) -> NDArray[Any]:
    """(frames, rows, columns[, 3]) as stored; YBR becomes RGB.

    pydicom decodes with what is installed for it; what that refuses SimpleITK is asked for.

    Raises:
        UserError: the header claims more than can be read, or other pixels than there are.
    """
    samples = int(dataset.get("SamplesPerPixel", 1))
    shape = (num_frames(dataset), int(dataset.Rows), int(dataset.Columns))
    if (claimed := int(np.prod([*map(float, shape), samples]))) > _MOST_VALUES:
        raise UserError(
            f"has {claimed:.3g} values by its header: at most {_MOST_VALUES:.3g} are read"
        )
    try:
        pixels = np.asarray(dataset.pixel_array)
    except Exception as error:  # plugins raise whatever they meet
        pixels = _by_simpleitk(dataset, error)
    expected = shape if samples == 1 else (*shape, samples)
    if pixels.size != np.prod(expected):
        raise UserError(
            f"was decoded as {'x'.join(map(str, pixels.shape))} values, but its header says "
            f"{'x'.join(map(str, expected))}: the file is damaged"
        )
    return pixels.reshape(expected)


def _by_simpleitk(dataset: Any, refused: Exception) -> NDArray[Any]:
    """Decode by SimpleITK's own libraries, from a file with the pixels and nothing to apply to them.

    Raises:
        Exception: what pydicom raised, where SimpleITK cannot do better.
    """
    if not _has_whole_frames(dataset):
        raise refused
    sitk: Any = require("SimpleITK", "medical")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.dcm"
        _bare(dataset).save_as(file, enforce_file_format=True)
        try:
            pixels = np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))
        except RuntimeError:
            raise refused from None
    bits, is_signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if is_signed else (0, 2**bits)
    if pixels.dtype.kind not in "iu" or pixels.min() < low or pixels.max() >= high:
        raise refused
    return pixels


def _has_whole_frames(dataset: Any) -> bool:
    """Whether all frames are compressed, and end as such files do: a decoder may make up the rest."""
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if syntax is None or not syntax.is_encapsulated or "PixelData" not in dataset:
        return False
    frames = require("pydicom.encaps", "medical").generate_frames(
        dataset.PixelData, number_of_frames=num_frames(dataset)
    )
    return all(frame.rstrip(b"\0").endswith(_END_OF_IMAGE) for frame in frames)


def _bare(dataset: Any) -> Any:
    """The pixels as a data set of their own."""
    pydicom = require("pydicom", "medical")
    bare, meta = pydicom.Dataset(), pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = bare.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID = pydicom.uid.generate_uid()
    bare.file_meta = meta
    for name in _ABOUT_PIXELS:
        if name in dataset:
            bare[name] = dataset[name]
    is_grey = int(dataset.get("SamplesPerPixel", 1)) == 1
    given = dataset.get("PhotometricInterpretation")
    bare.PhotometricInterpretation = "MONOCHROME2" if is_grey else given
    return bare

"""DICOM data sets: which files are, their headers, grey values, windows, and single pictures.

pydicom decodes. Series and multi-frame files become volumes in `data/volumes/dicom.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError, first_line, require

SUFFIXES = (".dcm", ".dicom", ".ima")
_PREAMBLE, _MAGIC = 128, b"DICM"
# What enhanced multi-frame files say of each frame, and of all of them.
OF_FRAMES, _OF_ALL = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"


def is_dicom(path: Path) -> bool:
    """Whether a file, or one of a folder, is DICOM by name or by its magic bytes."""
    if path.is_dir():
        return any(map(is_dicom, _files(path)))
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(_PREAMBLE)
        return file.read(len(_MAGIC)) == _MAGIC


def _files(folder: Path) -> list[Path]:
    """Files of a series; an index of the folder is none."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file())
    return [file for file in files if not file.name.startswith((".", "DICOMDIR"))]


@contextmanager
def reading_dicom(path: Path) -> Iterator[None]:
    """Whatever the libraries find wrong with a file becomes one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # pydicom, its decoders and highdicom raise whatever they meet
        raise UserError(f"{path} cannot be read as DICOM: {first_line(error)}") from error


def _read(path: Path, with_pixels: bool) -> Any:
    pydicom = require("pydicom", "medical")
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=not with_pixels)
    except pydicom.errors.InvalidDicomError as error:
        raise UserError(
            f"{path} is no DICOM file, or damaged: take it out, or save it again"
        ) from error
    if "Rows" not in dataset or "Columns" not in dataset:
        raise UserError(f"{path} holds no picture")
    return dataset


def read_series(path: Path, with_pixels: bool) -> list[Any]:
    """Slices of a folder, or the one file.

    Raises:
        UserError: the folder is empty or holds several series.
    """
    if path.is_file():
        return [_read(path, with_pixels)]
    datasets = [_read(file, with_pixels) for file in _files(path)]
    if not datasets:
        raise UserError(f"{path} is an empty folder: expected the slices of one DICOM series")
    series = {str(d.get("SeriesInstanceUID", "")): d for d in datasets}
    if len(series) > 1:
        names = ", ".join(str(d.get("SeriesDescription", "?")) for d in series.values())
        raise UserError(
            f"{path} holds {len(series)} DICOM series ({names[:120]}): give each a folder of its own"
        )
    sizes = sorted({f"{d.Columns}x{d.Rows}" for d in datasets})
    if len(sizes) > 1:
        raise UserError(
            f"the slices of {path} have different sizes ({', '.join(sizes)[:80]}): expected one stack; "
            "take the others out (a localizer)"
        )
    return datasets


def read_dicom_headers(path: Path) -> list[Any]:
    """Data sets of a series or a multi-frame file, without their pixels.

    Raises:
        UserError: damaged files, or several series.
    """
    with reading_dicom(path):
        return read_series(path, with_pixels=False)


def num_frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames", 1) or 1)


def grey_values(dataset: Any) -> NDArray[np.float32]:
    """Grey values of a data set; colours become their mean."""
    pixels = require("pydicom.pixels", "medical")
    return to_grey_values(
        np.asarray(pixels.apply_modality_lut(dataset.pixel_array, dataset), np.float32), dataset
    )


def to_grey_values(values: NDArray[np.float32], dataset: Any) -> NDArray[np.float32]:
    if int(dataset.get("SamplesPerPixel", 1)) > 1:
        values = values.mean(axis=-1)
    return -values if _is_inverted(dataset) else values


def _is_inverted(dataset: Any) -> bool:
    return str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1"


def read_dicom_window(path: Path) -> tuple[float, float] | None:
    """The first window that the file names, as the values that become 0 and 255."""
    with reading_dicom(path):
        file = _files(path)[0] if path.is_dir() else path
        return _window(_read(file, with_pixels=False))


def _first(dataset: Any, name: str) -> float | None:
    """The first of one or several numbers; `None` without any."""
    values = np.atleast_1d(np.array([] if dataset.get(name) is None else dataset.get(name), float))
    return float(values[0]) if values.size else None


def _frame_window(dataset: Any) -> Any:
    """What an enhanced file says of its frames' window; `None` where that is every stored value.

    Converters write such a one where their slices had none.
    """
    groups = [group for name in (_OF_ALL, OF_FRAMES) for group in (dataset.get(name) or [])[:1]]
    windows = [w for group in groups for w in group.get("FrameVOILUTSequence", [])]
    width = _first(windows[0], "WindowWidth") if windows else None
    return None if width is None or width >= 2 ** int(dataset.BitsStored) else windows[0]


def _window(dataset: Any) -> tuple[float, float] | None:
    source = _frame_window(dataset) or dataset
    centre, width = (_first(source, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or not (0 < width < np.inf and np.isfinite(centre)):
        return None
    low, high = centre - width / 2, centre + width / 2
    return (-high, -low) if _is_inverted(dataset) else (low, high)


def read_dicom_picture(path: Path) -> NDArray[Any]:
    """A single picture (X-ray, ultrasound, photograph) as (H, W, C).

    Raises:
        UserError: the file is damaged, or holds several frames.
    """
    with reading_dicom(path):
        dataset = _read(path, with_pixels=True)
        if num_frames(dataset) > 1:
            raise UserError(
                f"{path} holds {dataset.NumberOfFrames} frames: give it labels as a volume "
                "(labels/ID.nii.gz, .nrrd, .mha or DICOM SEG)"
            )
        is_palette = "PALETTE" in str(dataset.PhotometricInterpretation)
        is_grey = int(dataset.get("SamplesPerPixel", 1)) == 1 and not is_palette
        return grey_values(dataset)[..., None] if is_grey else _colours(dataset, is_palette)


def _colours(dataset: Any, is_palette: bool) -> NDArray[Any]:
    pixels = require("pydicom.pixels", "medical")
    if is_palette:
        values = pixels.apply_color_lut(dataset.pixel_array, dataset)
        return np.asarray(values >> 8 if values.dtype == np.uint16 else values, np.uint8)
    # pydicom itself turns YBR into RGB
    return np.asarray(dataset.pixel_array)

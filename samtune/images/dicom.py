"""DICOM files: which are, their headers, the windows that they name, and single pictures.

What pixels mean is in `dicom_values.py`; series and multi-frame files become volumes in
`data/volumes/dicom.py`.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError, first_line, require
from samtune.files import is_hidden
from samtune.images.dicom_values import (
    OF_FRAMES,
    frame_value,
    is_inverted,
    num_frames,
    pixel_values,
    stored_values,
)
from samtune.wording import counted

SUFFIXES = (".dcm", ".dicom", ".ima")
_SCALES = ("RescaleSlope", "ModalityLUTSequence")
_PREAMBLE, _MAGIC = 128, b"DICM"
# Groups that a data set without the preamble begins with.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")


def is_dicom(path: Path) -> bool:
    """Whether a file, or one of a folder, is DICOM by its content, or claims to be by its name."""
    if path.is_dir():
        return any(map(is_dicom, _files(path)))
    return path.suffix.lower() in SUFFIXES or (path.is_file() and _has_magic(path))


def is_dicom_content(beginning: bytes) -> bool:
    """Whether a file that begins so (132 bytes at least) is DICOM."""
    return beginning[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC


def _has_magic(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return is_dicom_content(stream.read(_PREAMBLE + len(_MAGIC)))
    except OSError:
        return False


def _files(folder: Path) -> list[Path]:
    """Files of a folder but those that its owner does not see."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file())
    return [file for file in files if not is_hidden(file)]


@contextmanager
def reading_dicom(path: Path | str) -> Iterator[None]:
    """Whatever the libraries find wrong with a file becomes one line."""
    try:
        yield
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path} {error}") from error
    except Exception as error:  # pydicom, its decoders and highdicom raise whatever they meet
        raise UserError(f"{path} cannot be read as DICOM: {first_line(error)}") from error


def _read(path: Path, with_pixels: bool) -> Any:
    """A data set with a picture; `None` where it is of a kind that has none."""
    pydicom = require("pydicom", "medical")
    with path.open("rb") as stream:
        is_bare = stream.read(2) in _FIRST_GROUPS and not _has_magic(path)
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=not with_pixels, force=is_bare)
    except pydicom.errors.InvalidDicomError as error:
        raise UserError(
            f"{path} is no DICOM file, or damaged: take it out, or save it again"
        ) from error
    if is_bare and "TransferSyntaxUID" not in dataset.file_meta:
        uid, (is_implicit, _) = pydicom.uid, dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            uid.ImplicitVRLittleEndian if is_implicit else uid.ExplicitVRLittleEndian
        )
    if "Rows" in dataset and "Columns" in dataset:
        return dataset
    if _has_other_content(dataset):
        return None
    raise UserError(f"{path} holds no picture")


def _has_other_content(dataset: Any) -> bool:
    """Whether its class says so: an index of the folder, a report, a way to show other pictures."""
    given = dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID")
    kind = require("pydicom.uid", "medical").UID(str(given or ""))
    return kind.name != kind and "Image Storage" not in kind.name


def _read_folder(folder: Path, with_pixels: bool) -> tuple[list[Any], list[Path]]:
    """Data sets with pictures, and the files that have none."""
    found = {file: _read(file, with_pixels) if is_dicom(file) else None for file in _files(folder)}
    others = [file for file, dataset in found.items() if dataset is None]
    return [dataset for dataset in found.values() if dataset is not None], others


def read_series(path: Path, with_pixels: bool) -> list[Any]:
    """Slices of a folder, or the one file; files of a folder that are no pictures are passed over.

    Raises:
        UserError: there is no picture, or there are several series, sizes or kinds of pictures.
    """
    return _read_series(path, with_pixels)[0]


def _read_series(path: Path, with_pixels: bool) -> tuple[list[Any], list[Path]]:
    """Slices that belong together, and the files among them that are none."""
    if path.is_file():
        datasets, others = [_read(path, with_pixels)], list[Path]()
    else:
        datasets, others = _read_folder(path, with_pixels)
    if not datasets or datasets[0] is None:
        raise UserError(f"{path} holds no picture: expected the slices of one DICOM series")
    _require_one_series(datasets, path)
    return datasets, others


def _require_one_series(datasets: list[Any], path: Path) -> None:
    series = {str(d.get("SeriesInstanceUID", "")): d for d in datasets}
    if len(series) > 1:
        names = ", ".join(str(d.get("SeriesDescription", "?")) for d in series.values())
        raise UserError(
            f"{path} holds {len(series)} DICOM series ({names[:120]}): give each a folder of its own"
        )
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        if len(found := {str(d.get(name) or "") for d in datasets} - {""}) > 1:
            raise UserError(
                f"the slices of {path} have {len(found)} values of {name} ("
                f"{', '.join(sorted(found))[:120]}): they are not of one body; give each a folder"
            )
    sizes = sorted({f"{d.Columns}x{d.Rows}" for d in datasets})
    if len(sizes) > 1:
        raise UserError(
            f"the slices of {path} have different sizes ({', '.join(sizes)[:80]}): expected one stack; "
            "take the others out (a localizer)"
        )
    kinds = sorted({str(d.get("PhotometricInterpretation", "")) for d in datasets})
    if len(kinds) > 1:
        raise UserError(
            f"the slices of {path} are of different kinds ({', '.join(kinds)[:80]}): their values "
            "cannot be compared; take the others out"
        )
    _require_one_scale(datasets, path)


def _require_one_scale(datasets: list[Any], path: Path) -> None:
    """Refuse slices of which some say how their values are rescaled and others do not."""
    silent = [d for d in datasets if all(d.get(name) is None for name in _SCALES)]
    if silent and len(silent) < len(datasets):
        raise UserError(
            f"{len(silent)} of {len(datasets)} slices of {path} do not say how their values are "
            "rescaled (RescaleSlope, RescaleIntercept), and the others do: export the series anew"
        )


def read_dicom_headers(path: Path) -> list[Any]:
    """Data sets of a series or a multi-frame file, without their pixels.

    Raises:
        UserError: damaged files, or several series.
    """
    with reading_dicom(path):
        return read_series(path, with_pixels=False)


def read_dicom_notes(paths: Sequence[Path], by_windows: bool) -> list[str]:
    """What to know of series and files: what was passed over, windows that differ.

    Args:
        paths: of the volumes.
        by_windows: they are to be shown by the windows that they name.

    Raises:
        UserError: damaged files, or several series in one folder.
    """
    others, differing = list[Path](), list[Path]()
    for path in paths:
        with reading_dicom(path):
            datasets, left_out = _read_series(path, with_pixels=False)
            others += left_out
            differing += [path] if by_windows and len(_windows(datasets)) > 1 else []
    notes = []
    if others:
        notes.append(
            f"{counted(len(others), 'file')} beside slices left out, such as {others[0]}: no "
            "DICOM pictures"
        )
    if differing:
        notes.append(
            f"the slices of {differing[0]} name different windows, as those of {len(differing)} of "
            f"{len(paths)} DICOM volumes do: percentiles of the whole volume become black and white, "
            "so that slices stay comparable (window or value_range names others)"
        )
    return notes


def read_dicom_window(path: Path | str, content: bytes | None = None) -> tuple[float, float] | None:
    """The window that all slices and frames name, as the values that become 0 and 255.

    `None` where there is none, or where they name different ones: none of them shows all slices.

    Args:
        path: a file, or a folder of slices.
        content: of a file that lies inside another one, whose name `path` is then.
    """
    with reading_dicom(path):
        windows = _windows(_datasets(path, content, with_pixels=False))
    return windows.pop() if len(windows) == 1 else None


def _datasets(path: Path | str, content: bytes | None, with_pixels: bool) -> list[Any]:
    """Slices of a series, or the one of a file that lies inside another one."""
    if content is None:
        return read_series(Path(path), with_pixels)
    pydicom = require("pydicom", "medical")
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=not with_pixels)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise UserError(f"{path} holds no picture")
    return [dataset]


def _windows(datasets: list[Any]) -> set[tuple[float, float] | None]:
    return {_window(dataset, n) for dataset in datasets for n in range(num_frames(dataset))}


def _window(dataset: Any, frame: int) -> tuple[float, float] | None:
    """The first window of a frame, or the values between which its table rises."""
    found = _linear_window(dataset, frame) or _table_window(dataset, frame)
    if found is None:
        return None
    low, high = found
    return (-high, -low) if is_inverted(dataset) else (low, high)


def _linear_window(dataset: Any, frame: int) -> tuple[float, float] | None:
    centre, width = (
        _first(frame_value(dataset, frame, name)) for name in ("WindowCenter", "WindowWidth")
    )
    # converters write one that is every stored value where their slices had none
    is_idle = OF_FRAMES in dataset and width is not None and width >= 2 ** int(dataset.BitsStored)
    is_sound = centre is not None and width is not None and bool(np.isfinite([centre, width]).all())
    if not is_sound or centre is None or width is None or not width > 0 or is_idle:
        return None
    return centre - width / 2, centre + width / 2


def _table_window(dataset: Any, frame: int) -> tuple[float, float] | None:
    """Values between which the first table (VOI LUT, PS3.3, section C.11.2) is not constant."""
    tables = dataset.get("VOILUTSequence") or frame_value(dataset, frame, "VOILUTSequence") or []
    for table in tables[:1]:
        count, first, _ = (int(number) for number in table.LUTDescriptor)
        data = table.LUTData
        if isinstance(data, bytes):
            data = np.frombuffer(data, "<u2" if len(data) >= 2 * (count or 2**16) else np.uint8)
        steps = np.flatnonzero(np.diff(np.asarray(data, np.int64)))
        if steps.size:
            return float(first + steps[0]), float(first + steps[-1] + 1)
    return None


def _first(value: Any) -> float | None:
    """The first of one or several numbers; `None` without any."""
    values = np.atleast_1d(np.array([] if value is None else value, float))
    return float(values[0]) if values.size else None


def read_dicom_picture(
    path: Path | str, content: bytes | None = None, as_stored: bool = False
) -> NDArray[Any]:
    """A single picture (X-ray, ultrasound, photograph) as (H, W, C).

    Args:
        path: the file.
        content: of a file that lies inside another one, whose name `path` is then.
        as_stored: numbers as labels need them, neither rescaled nor inverted nor coloured.

    Raises:
        UserError: the file is damaged, or holds several frames.
    """
    with reading_dicom(path):
        (dataset,) = _datasets(path, content, with_pixels=True)
        if num_frames(dataset) > 1:
            raise UserError(
                f"{path} holds {counted(int(dataset.NumberOfFrames), 'frame')}: give it "
                "labels as a volume "
                "(labels/ID.nii.gz, .nrrd, .mha or DICOM SEG)"
            )
        frames: NDArray[Any] = stored_values(dataset) if as_stored else pixel_values(dataset)
        pixels = np.asarray(frames[0])
        return pixels if pixels.ndim == 3 else pixels[..., None]

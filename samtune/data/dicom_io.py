"""DICOM: single pictures, series of slices, multi-frame files, and their SEG and RTSTRUCT labels.

Reading the standard's geometry and segmentations is highdicom's work, decoding pixels pydicom's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geometry3d import LPS_TO_RAS, Geometry
from samtune.errors import UserError, require

SUFFIXES = (".dcm", ".dicom", ".ima")
_PREAMBLE, _MAGIC = 128, b"DICM"
# What enhanced multi-frame files say of each frame, and of all of them.
_OF_FRAMES, _OF_ALL = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
# The stored axis of slices or frames, before rows and columns.
_FRAMES = 0


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
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path} cannot be read as DICOM: {lines[0][:200]}") from error


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


def _series(path: Path, with_pixels: bool) -> list[Any]:
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
        return _series(path, with_pixels=False)


def _is_multi_frame(datasets: list[Any]) -> bool:
    return len(datasets) == 1 and (_num_frames(datasets[0]) > 1 or _OF_FRAMES in datasets[0])


def _num_frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames", 1) or 1)


def read_dicom_geometry(path: Path) -> Geometry:
    """Where the voxels lie, in the order (slice, row, column).

    A multi-frame file without positions (a film) has its frames as slices, as far apart as it says.

    Raises:
        UserError: damaged files, several series, or slices that are no regular stack.
    """
    with reading_dicom(path):
        datasets = _series(path, with_pixels=False)
        if _is_multi_frame(datasets):
            return _multi_frame_geometry(datasets[0], path)
        return _stack_geometry(datasets, path)


def _multi_frame_geometry(header: Any, path: Path) -> Geometry:
    if _OF_FRAMES in header:
        geometry = _enhanced(path).get_volume_geometry()
        return Geometry(geometry.spatial_shape, LPS_TO_RAS @ geometry.affine, _FRAMES)
    shape = (int(header.NumberOfFrames), int(header.Rows), int(header.Columns))
    pixel = header.get("PixelSpacing") or (None, None)
    sizes = [_frame_distance(header), *pixel]
    frames, rows, columns = (float(size or 1) for size in sizes)
    # frames, rows (to the back), columns (to the left)
    affine = np.array([[0, 0, columns, 0], [0, rows, 0, 0], [frames, 0, 0, 0], [0, 0, 0, 1.0]])
    between, down, across = map(bool, sizes)
    return Geometry(shape, LPS_TO_RAS @ affine, _FRAMES, (between, down, across))


def _frame_distance(header: Any) -> float | None:
    """Millimetres between frames that have no positions; that of nuclear medicine may be negative."""
    sizes = (header.get("SpacingBetweenSlices"), header.get("SliceThickness"))
    return next((abs(float(size)) for size in sizes if size), None)


def _enhanced(path: Path) -> Any:
    """A multi-frame file whose frames, in any order, are one stack of slices."""
    image = require("highdicom", "medical").imread(path, lazy_frame_retrieval=True)
    if image.get_volume_geometry() is None:
        raise UserError(f"the frames of {path} are no regular stack of slices")
    return image


def _stack_geometry(datasets: list[Any], path: Path) -> Geometry:
    highdicom = require("highdicom", "medical")
    spacing, order = _order(datasets, path)
    first = datasets[order.index(0)]
    geometry = highdicom.VolumeGeometry.from_attributes(
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        rows=first.Rows,
        columns=first.Columns,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=spacing or 1.0,
        number_of_frames=len(datasets),
        coordinate_system="PATIENT",
    )
    is_measured = (spacing is not None, True, True)
    return Geometry(geometry.spatial_shape, LPS_TO_RAS @ geometry.affine, _FRAMES, is_measured)


def _order(datasets: list[Any], path: Path) -> tuple[float | None, list[int]]:
    """Distance of slices, if known, and the place of each in the stack."""
    first = datasets[0]
    if "ImagePositionPatient" not in first or "PixelSpacing" not in first:
        raise UserError(
            f"the slices of {path} say neither where they lie nor their spacing: as single pictures "
            "they can be read beside masks (images/ID.dcm with masks/ID.png)"
        )
    if len(datasets) == 1:
        return _frame_distance(first), [0]
    spatial = require("highdicom.spatial", "medical")
    spacing, order = spatial.get_series_volume_positions(datasets)
    if spacing is None or order is None:
        raise UserError(
            f"{path}: its {len(datasets)} slices are no regular stack: one is missing, there twice, or "
            "of another orientation (a localizer, to be taken out)"
        )
    return float(spacing), [int(place) for place in order]


def read_dicom_voxels(path: Path) -> NDArray[np.float32]:
    """(slices, rows, columns) after rescale slope and intercept; MONOCHROME1 is negated.

    Raises:
        UserError: damaged files, or a compression that needs another package.
    """
    with reading_dicom(path):
        datasets = _series(path, with_pixels=True)
        if len(datasets) == 1 and _OF_FRAMES in datasets[0]:
            return _enhanced_values(path)
        if _is_multi_frame(datasets):
            return _values(datasets[0])
        places = _order(datasets, path)[1]
        return np.stack([_values(datasets[places.index(k)]) for k in range(len(datasets))])


def _enhanced_values(path: Path) -> NDArray[np.float32]:
    """Grey values in the order of the geometry, which need not be that of the frames."""
    image = _enhanced(path)
    volume = image.get_volume(
        dtype=np.float64, apply_real_world_transform=False, apply_presentation_lut=False
    )
    return _grey(volume.array.astype(np.float32), image)


def _values(dataset: Any) -> NDArray[np.float32]:
    """Grey values of a data set; colours become their mean."""
    pixels = require("pydicom.pixels", "medical")
    return _grey(
        np.asarray(pixels.apply_modality_lut(dataset.pixel_array, dataset), np.float32), dataset
    )


def _grey(values: NDArray[np.float32], dataset: Any) -> NDArray[np.float32]:
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
    groups = [group for name in (_OF_ALL, _OF_FRAMES) for group in (dataset.get(name) or [])[:1]]
    windows = [w for group in groups for w in group.get("FrameVOILUTSequence", [])]
    width = _first(windows[0], "WindowWidth") if windows else None
    return None if width is None or width >= 2 ** int(dataset.BitsStored) else windows[0]


def _window(dataset: Any) -> tuple[float, float] | None:
    source = _frame_window(dataset) or dataset
    centre, width = (_first(source, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or not width > 0:
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
        if _num_frames(dataset) > 1:
            raise UserError(
                f"{path} holds {dataset.NumberOfFrames} frames: give it labels as a volume "
                "(labels/ID.nii.gz, .nrrd, .mha or DICOM SEG)"
            )
        is_palette = "PALETTE" in str(dataset.PhotometricInterpretation)
        is_grey = int(dataset.get("SamplesPerPixel", 1)) == 1 and not is_palette
        return _values(dataset)[..., None] if is_grey else _colours(dataset, is_palette)


def _colours(dataset: Any, is_palette: bool) -> NDArray[Any]:
    pixels = require("pydicom.pixels", "medical")
    if is_palette:
        values = pixels.apply_color_lut(dataset.pixel_array, dataset)
        return np.asarray(values >> 8 if values.dtype == np.uint16 else values, np.uint8)
    # pydicom itself turns YBR into RGB
    return np.asarray(dataset.pixel_array)

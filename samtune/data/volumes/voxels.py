"""Voxels of scanners and microscopes in one order of axes.

NIfTI and Analyze by nibabel, NRRD and MetaImage by SimpleITK, DICOM, TIFF stacks.

Voxels come in right-anterior-superior order: the first axis runs to the patient's right, the second to
the front, the third to the head (or nearly, where the scanner was tilted).
"""

import gzip
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.dicom import read_dicom_geometry, read_dicom_voxels
from samtune.data.volumes.itk_header import require_data_beside, require_sound_fields
from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.data.volumes.tiff_stack import STACKS, stack_geometry, stack_voxels
from samtune.errors import UserError, require
from samtune.files import find_called
from samtune.images.dicom import SUFFIXES, is_dicom, read_dicom_notes, read_dicom_window
from samtune.parsing import parse_xml

NIFTI = (".nii.gz", ".nii")
# Of NIfTI or Analyze in two files, the voxels; the header lies beside as .hdr
PAIR, _HEADER = ".img", ".hdr"
_BY_NIBABEL = (*NIFTI, PAIR, _HEADER)
ITK = (".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd")
VOLUME_SUFFIXES = (*NIFTI, PAIR, *ITK, *SUFFIXES)
# Codes of NIfTI's xyzt_units for metres, millimetres and micrometres, as millimetres; the lowest three
# bits of the field (https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h). 0 is unknown.
_MILLIMETRES = {1: 1e3, 2: 1.0, 3: 1e-3}
_SPACE_CODES = 8
# Values of a volume that are read; a header may claim terabytes.
_MOST_VALUES = 2**31
_RGB = 3
_GZIP = b"\x1f\x8b"
# The size of the header, which it begins with in either order of bytes, and what makes one of NIfTI
_HEADER_SIZES, _MAGIC_AT, _MAGIC = (348, 540), 344, b"ni1\0"


def volume_stem(file: Path) -> str:
    """A file's name without what says that it is a volume."""
    name = file.name.lower()
    suffixes = (*VOLUME_SUFFIXES, *STACKS)
    suffix = next((suffix for suffix in suffixes if name.endswith(suffix)), "")
    return file.name[: len(file.name) - len(suffix)]


def is_volume_file(path: Path) -> bool:
    """Whether a file is called as volumes are; of a pair, which has a header beside it."""
    name = path.name.lower()
    return name.endswith(VOLUME_SUFFIXES) and (not name.endswith(PAIR) or bool(_header_of(path)))


def pair_header(path: Path) -> Path | None:
    """The header beside the voxels of a pair; `None` of what is no pair."""
    is_pair = path.name.lower().endswith(PAIR) and _header_of(path)
    return find_called(path.with_suffix(_HEADER)) if is_pair else None


def _header_of(path: Path) -> bytes:
    """The header of a pair, whichever of its files is given; empty without it."""
    file = find_called(path.with_suffix(_HEADER))
    content = file.read_bytes()[: max(_HEADER_SIZES)] if file and file.is_file() else b""
    sizes = {int.from_bytes(content[:4], order) for order in ("little", "big")}
    return content if sizes & set(_HEADER_SIZES) else b""


def read_geometry(path: Path, unit: float = 1.0) -> Geometry:
    """Shape and place of a volume, without its voxels.

    Args:
        path: the volume.
        unit: millimetres of a coordinate where a NIfTI file does not say.

    Raises:
        UserError: the file is damaged or too large, no volume of three axes, or says no place for its
            voxels.
    """
    if is_dicom(path):
        geometry = read_dicom_geometry(path)
    elif path.name.lower().endswith(_BY_NIBABEL):
        geometry = _read_nifti(path, lambda image: _nifti_geometry(image, unit))
    elif path.name.lower().endswith(STACKS):
        geometry = stack_geometry(path)
    else:
        geometry = _itk_geometry(path)
    if (claimed := math.prod(geometry.shape) * geometry.num_channels) > _MOST_VALUES:
        raise UserError(
            f"{path} has {claimed:.3g} voxels by its header ({_times(geometry.shape)}): at most "
            f"{_MOST_VALUES:.3g} are read; cut it into parts"
        )
    if not geometry.is_regular:
        raise UserError(
            f"{path} has the shape {_times(geometry.shape)} and the affine "
            f"{geometry.affine[:3].tolist()}: expected voxels, and three axes that are finite and lie "
            "in no plane; save it again with a valid affine"
        )
    return geometry


def read_voxels(path: Path) -> NDArray[Any]:
    """Intensities in right-anterior-superior order, rescaled as the file says.

    Returns:
        (X, Y, Z), or (X, Y, Z, C) where a voxel has several values: channels, times, or colours.

    Raises:
        UserError: the file is damaged or truncated, or larger than the memory.
    """
    geometry = read_geometry(path)
    try:
        if is_dicom(path):
            values = read_dicom_voxels(path)
        elif path.name.lower().endswith(_BY_NIBABEL):
            values = _read_nifti(path, _nifti_voxels)
        elif path.name.lower().endswith(STACKS):
            values = stack_voxels(path)
        else:
            values = _itk_voxels(path)
        channels = () if geometry.num_channels == 1 else (geometry.num_channels,)
        return geometry.turn(np.asarray(values).reshape(*geometry.shape, *channels))
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory: cut it into parts") from error


def read_window(path: Path) -> tuple[float, float] | None:
    """Intensities that become 0 and 255, where the file itself names them."""
    return read_dicom_window(path) if is_dicom(path) else None


def read_volume_notes(paths: Sequence[Path], by_windows: bool) -> list[str]:
    """What to know of how volumes are read, and shown if by the windows that they name."""
    notes = read_dicom_notes([path for path in paths if is_dicom(path)], by_windows)
    if silent := [path for path in paths if _says_no_orientation(path)]:
        more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        notes.append(
            f"{silent[0]}{more} is Analyze, which says no orientation: its axes are taken to run to "
            "the left, the front and the head, as SPM does; NIfTI says it"
        )
    return notes


def _says_no_orientation(path: Path) -> bool:
    header = _header_of(path) if path.name.lower().endswith((PAIR, _HEADER)) else b""
    is_nifti = header[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC or header[4:7] == _MAGIC[:3]
    return bool(header) and not is_nifti


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _three(shape: tuple[int, ...]) -> tuple[tuple[int, int, int], int]:
    """Three axes, and how many values those that follow make of each voxel."""
    if len(shape) < 3:
        raise UserError(f"has the shape {_times(shape)}: volumes of three axes are needed")
    return (int(shape[0]), int(shape[1]), int(shape[2])), math.prod(map(int, shape[3:]))


def nifti_unit(path: Path) -> float | None:
    """Millimetres of a coordinate, if the file is NIfTI and says."""
    is_nifti = path.name.lower().endswith(_BY_NIBABEL)
    return _read_nifti(path, _nifti_unit) if is_nifti else None


def _nifti_unit(image: Any) -> float | None:
    if "xyzt_units" not in image.header:  # Analyze, whose coordinates are millimetres
        return None
    return _MILLIMETRES.get(int(image.header["xyzt_units"]) % _SPACE_CODES)


def _nifti_geometry(image: Any, unit: float) -> Geometry:
    dtype = image.get_data_dtype()
    is_coloured = dtype.names is not None
    if dtype.kind not in "biuf" and not is_coloured:
        raise UserError(f"has {dtype} numbers as voxels: one real number each is needed")
    scale = _nifti_unit(image) or unit
    shape, channels = _three(image.shape)
    channels = channels * _RGB if is_coloured else channels
    affine = np.diag([scale, scale, scale, 1.0]) @ image.affine
    return Geometry(shape, affine, num_channels=channels, is_coloured=is_coloured)


def _nifti_voxels(image: Any) -> NDArray[Any]:
    values = np.asanyarray(image.dataobj)
    if values.dtype.names is None:
        return np.asarray(values)
    return np.stack([values[name] for name in values.dtype.names[:_RGB]], axis=-1)


def _read_nifti(path: Path, take: Callable[[Any], Any]) -> Any:
    nibabel = require("nibabel", "medical")
    try:
        return take(_loaded(path, nibabel))
    except UserError as error:
        raise UserError(f"{path} {error}") from error
    except Exception as error:  # nibabel raises whatever the bytes make it do
        kind = "NIfTI or Analyze" if path.name.lower().endswith((PAIR, _HEADER)) else "NIfTI"
        raise UserError(f"{path} is no {kind} volume, or damaged: {_reason(error)}") from error


def _loaded(path: Path, nibabel: Any) -> Any:
    """The image of a file, packed or not by its content: browsers unpack files and keep their names."""
    if path.name.lower().endswith((PAIR, _HEADER)):
        return nibabel.load(path)
    with path.open("rb") as file:
        is_packed = file.read(len(_GZIP)) == _GZIP
    if is_packed == path.name.lower().endswith(".gz"):
        return nibabel.load(path)
    content = (gzip.open if is_packed else open)(path, "rb")
    kinds = (nibabel.Nifti1Image, nibabel.Nifti2Image)
    for kind in kinds:
        content.seek(0)
        if kind.header_class.may_contain_header(content.read(kind.header_class.sizeof_hdr)):
            content.seek(0)
            return kind.from_file_map({"image": nibabel.fileholders.FileHolder(fileobj=content)})
    raise UserError("is no NIfTI volume")


def nifti_names(path: Path) -> dict[int, str]:
    """Names of label values, as Connectome Workbench and TotalSegmentator write them into NIfTI.

    They are an extension of the header: a table of XML, with elements `Label` whose `Key` is the value.
    """
    if not path.name.lower().endswith(_BY_NIBABEL):
        return {}
    return dict(_read_nifti(path, lambda image: _names_in(getattr(image.header, "extensions", ()))))


def _names_in(extensions: Any) -> dict[int, str]:
    found: dict[int, str] = {}
    for extension in extensions:
        text = (
            bytes(extension.get_content() or b"").rstrip(b"\0").decode("utf-8", "replace").strip()
        )
        if not text.startswith("<?xml") or "<LabelTable" not in text:
            continue
        try:
            labels = parse_xml(text).iter("Label")
            found |= {int(each.get("Key", "")): (each.text or "").strip() for each in labels}
        except ValueError:  # what it is else is no business of ours
            continue
    return {value: name for value, name in found.items() if value and name}


def _itk_geometry(path: Path) -> Geometry:
    if path.is_dir():
        raise UserError(f"{path} is a folder without a DICOM slice: give one with, or a file")
    reader = _itk_reader(path)
    try:
        reader.ReadImageInformation()
        shape, times = _three(reader.GetSize())
        components = int(reader.GetNumberOfComponents())
        rank = reader.GetDimension()
        direction = np.array(reader.GetDirection()).reshape(rank, rank)[:3, :3]
        affine = np.eye(4)
        affine[:3, :3] = direction * np.array(reader.GetSpacing()[:3])
        affine[:3, 3] = reader.GetOrigin()[:3]
    except RuntimeError as error:
        raise UserError(f"{path} is no volume, or damaged: {_reason(error)}") from error
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path} {error}") from error
    is_coloured = components == _RGB and reader.GetPixelID() == _sitk().sitkVectorUInt8
    return Geometry(
        shape, LPS_TO_RAS @ affine, num_channels=times * components, is_coloured=is_coloured
    )


def _itk_voxels(path: Path) -> NDArray[Any]:
    sitk = _sitk()
    try:
        image = _itk_reader(path).Execute()
        values, rank = sitk.GetArrayFromImage(image), image.GetDimension()
    except RuntimeError as error:
        raise UserError(f"{path} is truncated or damaged: {_reason(error)}") from error
    # SimpleITK's arrays have the first axis last, behind which several values of a voxel follow
    return np.asarray(
        values.transpose(*range(values.ndim)[rank - 1 :: -1], *range(rank, values.ndim))
    )


def itk_fields(path: Path) -> dict[str, str]:
    """What the header of an ITK file says besides shape and place.

    Raises:
        UserError: the file is damaged.
    """
    reader = _itk_reader(path)
    try:
        reader.ReadImageInformation()
        return {key: str(reader.GetMetaData(key)) for key in reader.GetMetaDataKeys()}
    except (RuntimeError, TypeError, UnicodeError) as error:  # names and values that are no text
        raise UserError(f"{path} is no volume, or damaged: {_reason(error)}") from error


def _sitk() -> Any:
    return require("SimpleITK", "medical")


def _itk_reader(path: Path) -> Any:
    sitk = _sitk()
    if path.is_file():
        require_data_beside(path)
        require_sound_fields(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    return reader


def _reason(error: Exception) -> str:
    """ITK ends with what it found; before that it tells where in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]

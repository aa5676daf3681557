"""Objects of a volume, on the voxels of its image: label volumes, a file for each structure, DICOM.

Labels are told by their geometry, never by their names alone: they lie on the voxels of their image, or
are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.nnunet_layout import in_regions
from samtune.data.objects import stack_layers
from samtune.data.volumes.dicom_belonging import require_same_body
from samtune.data.volumes.dicom_labels import read_dicom_label_notes, read_dicom_labels
from samtune.data.volumes.placement import Geometry
from samtune.data.volumes.slicer import is_slicer, read_slicer_segments
from samtune.data.volumes.tiff_stack import STACKS
from samtune.data.volumes.voxels import (
    is_volume_file,
    nifti_names,
    nifti_unit,
    read_geometry,
    read_voxels,
    volume_stem,
)
from samtune.errors import UserError
from samtune.files import is_hidden
from samtune.images.dicom import is_dicom
from samtune.images.labels import whole_labels
from samtune.types import MaskArray


@dataclass(frozen=True)
class LabelRules:
    """How labels are taken.

    Attributes:
        ignore_values: that are no object.
        regions: values that make up an object each, numbered from 1; they may overlap. Without them a
            value is an object.
        with_foreign: also DICOM that says it belongs to another patient, study or frame of reference.
    """

    ignore_values: tuple[int, ...] = ()
    with_foreign: bool = False
    regions: tuple[tuple[int, ...], ...] = ()


_PLAIN = LabelRules()


@dataclass(frozen=True)
class Labels:
    """Objects of a volume.

    Attributes:
        layers: (L, X, Y, Z) whole numbers in right-anterior-superior order, of the smallest type that
            holds them; objects that overlap lie on different layers.
        names: value -> name, as far as the file tells.
        ignored: (X, Y, Z) what is neither object nor background; `None` where nothing is.
    """

    layers: NDArray[Any]
    names: dict[int, str]
    ignored: MaskArray | None = None


def structure_files(folder: Path) -> dict[str, Path]:
    """Files of a folder that holds one for each structure, by the structures' names."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file())
    return {
        volume_stem(file): file for file in files if is_volume_file(file) and not is_hidden(file)
    }


def read_volume_labels(
    path: Path, image: Path, rules: LabelRules = _PLAIN, structures: Sequence[str] = ()
) -> Labels:
    """Objects of a volume, on the voxels of its image.

    Args:
        path: a file, or a folder with one for each structure.
        image: the volume that they belong to.
        rules: how they are taken.
        structures: names that are numbered from 1 in this order; without them those of the folder.

    Raises:
        UserError: the labels do not fit the image, lie elsewhere, belong to another, or are none.
    """
    expected = read_geometry(image)
    if is_dicom(path):
        if not rules.with_foreign:
            require_same_body(path, image)
        layers, names = read_dicom_labels(path, expected)
    elif path.is_dir():
        layers, names = _read_structures(path, image, structures)
    elif is_slicer(path):
        layers, names = read_slicer_segments(path, expected)
    else:
        _require_fit(path, image)
        layers, names = _whole(_single(path), path)[None], nifti_names(path)
    is_ignored = np.isin(layers, rules.ignore_values)
    layers = np.where(is_ignored, 0, layers) if is_ignored.any() else layers
    if rules.regions:
        layers = in_regions(layers, rules.regions, path)
    if layers.min(initial=0) < 0 or layers.max(initial=0) >= 2**31:
        wrong = layers.min() if layers.min() < 0 else layers.max()
        raise UserError(
            f"{path} holds values that are no labels ({wrong}): numbers from 0 to 2147483647 are; "
            "others can be left out (ignore_values)"
        )
    layers = layers.astype(np.min_scalar_type(int(layers.max(initial=0))), copy=False)
    ignored = np.asarray(is_ignored.any(axis=0)) if is_ignored.any() else None
    return Labels(layers, names, ignored)


def read_label_notes(path: Path) -> list[str]:
    """What of a file of labels cannot be an object."""
    return read_dicom_label_notes(path) if is_dicom(path) else []


def _single(path: Path) -> NDArray[Any]:
    """(X, Y, Z) values of a label volume."""
    values = read_voxels(path)
    if values.ndim > 3:
        raise UserError(f"{path} has {values.shape[3]} values a voxel: labels have one")
    return values


def _whole(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Labels as integers.

    Raises:
        UserError: there are fractions, or numbers that are not finite.
    """
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    near = whole_labels(values, path)
    if (largest := np.abs(near).max(initial=0)) >= 2**62:
        raise UserError(f"{path} holds the label {largest:.4g}: number its objects 1, 2, 3, ...")
    return np.asarray(near, np.int64)


def _read_structures(
    folder: Path, image: Path, structures: Sequence[str]
) -> tuple[NDArray[Any], dict[int, str]]:
    """One object for each file of a folder: everything above 0."""
    files = structure_files(folder)
    if not files:
        raise UserError(f"{folder} holds no volumes: expected one for each structure")
    names = dict(enumerate(structures or files, start=1))

    def masks() -> Any:
        for number, name in names.items():
            if name in files:
                _require_fit(files[name], image)
                yield number, _whole(_single(files[name]), files[name]) > 0

    dtype = np.min_scalar_type(len(names))
    return stack_layers(masks(), read_geometry(image).ras_shape, dtype), names


def _require_fit(path: Path, image: Path) -> None:
    # nibabel drops the unit of an affine that is handed on
    found, expected = read_geometry(path, nifti_unit(image) or 1.0), read_geometry(image)
    if found.ras_shape != expected.ras_shape:
        raise UserError(
            f"{path} has {_times(found.ras_shape)} voxels, but its image has "
            f"{_times(expected.ras_shape)}"
        )
    if _are_stacks(path, image) and not (all(found.is_measured) and all(expected.is_measured)):
        return  # one of them says no sizes: voxel lies on voxel
    if not found.fits(expected):
        raise UserError(
            f"{path} lies elsewhere than its image {image} ({_extent(found)}, the image "
            f"{_extent(expected)}): the usual cause are labels saved without their image's affine (an "
            "array given to nibabel with an identity); save them with it, "
            "nibabel.Nifti1Image(labels, image.affine), if they are in the order of its voxels"
        )


def _are_stacks(*files: Path) -> bool:
    """Whether these are TIFFs, which say nothing of where they lie but the sizes of their voxels."""
    return all(file.name.lower().endswith(STACKS) for file in files)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _extent(geometry: Geometry) -> str:
    """From where to where the voxels go, in millimetres to the right, front and head."""
    ends = (np.round(geometry.corners[corner], 1) + 0.0 for corner in (0, -1))
    first, last = (", ".join(f"{value:g}" for value in end) for end in ends)
    return f"from ({first}) to ({last}) mm"

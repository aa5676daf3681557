"""Segmentations of 3D Slicer (.seg.nrrd): cropped to what is drawn, with names, in layers.

Fields: https://slicer.readthedocs.io/en/latest/user_guide/image_segmentation.html
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.placement import Geometry
from samtune.data.volumes.voxels import itk_fields, read_geometry, read_voxels
from samtune.errors import UserError

_SUFFIXES = (".nrrd", ".nhdr")
_FIELD = re.compile(r"Segment(\d+)_(LabelValue|Layer|Name)")
# How far from a voxel of the image, in voxels, one of the segmentation may lie that is placed on it.
_NEAR = 0.1


@dataclass(frozen=True)
class _Drawn:
    """A segment: its name, and the value that it has on a layer of the file."""

    name: str
    value: int
    layer: int


def is_slicer(path: Path) -> bool:
    """Whether an NRRD file describes segments."""
    if not path.name.lower().endswith(_SUFFIXES):
        return False
    return any(_FIELD.fullmatch(key) for key in itk_fields(path))


def read_slicer_segments(path: Path, image: Geometry) -> tuple[NDArray[Any], dict[int, str]]:
    """Segments on the voxels of an image, wherever the file was cropped.

    Segments keep their label values as numbers unless several layers use the same: then they count
    from 1.

    Returns:
        (L, X, Y, Z) labels in right-anterior-superior order, and the segments' names by number.

    Raises:
        UserError: the file lies on another grid, reaches out of the image, or is damaged.
    """
    values = read_voxels(path)
    layers = np.moveaxis(values, 3, 0) if values.ndim > 3 else values[None]
    if layers.dtype.kind not in "iu":
        raise UserError(f"{path} holds values that are no labels ({layers.dtype})")
    segments = _segments(path, len(layers))
    given = [segment.value for segment in segments]
    numbers = given if len(set(given)) == len(given) else range(1, len(given) + 1)
    numbered = np.zeros(layers.shape, np.min_scalar_type(max(numbers, default=0)))
    for number, segment in zip(numbers, segments, strict=True):
        numbered[segment.layer][layers[segment.layer] == segment.value] = number
    if np.count_nonzero(numbered) < np.count_nonzero(layers):
        raise UserError(f"{path} holds label values that none of its segments has: save it again")
    names = {number: s.name for number, s in zip(numbers, segments, strict=True) if s.name}
    return _placed(numbered, read_geometry(path), image, path), names


def _segments(path: Path, num_layers: int) -> list[_Drawn]:
    found: dict[int, dict[str, str]] = {}
    for key, value in itk_fields(path).items():
        if match := _FIELD.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value.strip()
    # versions before 5 had a layer for each segment, and said neither
    has_own_layers = num_layers == len(found) > 1
    try:
        segments = [
            _Drawn(
                fields.get("Name", ""),
                int(fields.get("LabelValue", 1 if has_own_layers else place + 1)),
                int(fields.get("Layer", place if has_own_layers else 0)),
            )
            for place, (_, fields) in enumerate(sorted(found.items()))
        ]
    except ValueError as error:
        raise UserError(f"{path} is damaged: a segment's value is no number ({error})") from error
    if not all(s.value > 0 and 0 <= s.layer < num_layers for s in segments):
        raise UserError(f"{path} is damaged: a segment has no value above 0, or no layer")
    return segments


def _placed(layers: NDArray[Any], own: Geometry, image: Geometry, path: Path) -> NDArray[Any]:
    """Layers (L, x, y, z) of a part of the image's grid on the whole of it."""
    to_index = np.linalg.inv(image.ras_affine)
    indices = own.corners @ to_index[:3, :3].T + to_index[:3, 3]
    start = np.rint(indices[0]).astype(int)
    corners = np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(own.ras_shape) - 1)
    if not np.abs(indices - corners - start).max() <= _NEAR:
        raise UserError(
            f"{path} lies on another grid than its image: expected the image's voxels, or some of "
            "them; in Slicer, export the segmentation with the image as reference"
        )
    shape = np.array(image.ras_shape)
    low, high = np.clip(start, 0, shape), np.clip(start + own.ras_shape, 0, shape)
    inside = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    whole = np.zeros((len(layers), *image.ras_shape), layers.dtype)
    whole[:, *(slice(a, b) for a, b in zip(low, high, strict=True))] = layers[:, *inside]
    if lost := np.count_nonzero(layers) - np.count_nonzero(whole):
        raise UserError(
            f"{path} has {lost} labelled voxels outside its image: is it of another one?"
        )
    return whole

"""Volumes in NIfTI, read slice by slice.

PATH/images/ID.nii.gz     PATH/labels/ID.nii.gz         a number for each class, 0 is background
PATH/ID_image.nii.gz      PATH/ID_label.nii.gz          the same side by side
PATH/manifest.csv         optional: a row for each ID, with a split or group column

A slice is seen with the body's front up and its right on the left, as radiologists do; slices of one
volume are one group, and the spacing comes with them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samtune.data.objects import split_components
from samtune.data.readers.mask_folder import read_manifest
from samtune.data.source import ReadSettings, Record, Source, spacing_columns
from samtune.data.windows import find_range, to_grey
from samtune.errors import UserError, require
from samtune.types import ImageArray, LabelArray, Sample

Axis = Literal["auto", "sagittal", "coronal", "axial"]
_AXES = ("sagittal", "coronal", "axial")
_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class _Place:
    """One slice: its volume, axis (in right-anterior-superior order) and number."""

    volume: int
    axis: int
    number: int


@dataclass
class _Volume:
    """A volume in memory; intensities that become 0 and 255."""

    image: NDArray[np.float32]
    labels: NDArray[np.int32] | None
    low: float
    high: float


class Volumes(Source):
    """Slices of NIfTI volumes with their labels.

    Args:
        path: the folder described at the top of this module.
        settings: how to read: window, axis, neighbours, which slices.

    Raises:
        UserError: there are no volumes, one lacks its labels, or a file cannot be read.
    """

    def __init__(self, path: Path, settings: ReadSettings | None = None) -> None:
        self.settings = settings or ReadSettings()
        require("nibabel", "medical")
        self.files = find_volumes(path)
        if not self.files:
            raise UserError(
                f"{path} holds no volumes: expected images/ID.nii.gz with labels/ID.nii.gz"
            )
        rows = read_manifest(path)
        self.records: list[Record] = []
        self._places: list[_Place] = []
        self._hws: list[tuple[int, int]] = []
        self._last: tuple[int, _Volume] | None = None
        for number in range(len(self.files)):
            self._add(number, rows)

    def _add(self, number: int, rows: dict[str, dict[str, str]]) -> None:
        image, _ = self.files[number]
        stem = volume_id(image)
        header = self._open(image)
        spacing = [float(size) for size in header.header.get_zooms()[:3]]
        axis = _choose_axis(self.settings.axis, spacing)
        hw = [side for place, side in enumerate(header.shape[:3]) if place != axis]
        sides = [size for place, size in enumerate(spacing) if place != axis]
        row = rows.get(stem, {})
        columns = {**row, **spacing_columns(sides[1], sides[0], "mm")}
        for index in self._slices(number, axis, header.shape):
            self._places.append(_Place(number, axis, index))
            self._hws.append((hw[1], hw[0]))
            self.records.append(
                Record(
                    f"{stem}/{_AXES[axis]}{index:04d}", image, row.get("split", ""), stem,
                    tuple(columns.items()),
                )
            )  # fmt: skip

    def _slices(self, number: int, axis: int, shape: tuple[int, ...]) -> list[int]:
        """Slices with an object, or all of them."""
        if self.settings.slices == "all":
            return list(range(shape[axis]))
        labels = self._read_labels(number)
        others = tuple(place for place in range(3) if place != axis)
        return [int(index) for index in np.flatnonzero(labels.any(axis=others))]

    def read(self, index: int) -> Sample:
        place, record, settings = self._places[index], self.records[index], self.settings
        volume = self._volume(place.volume)
        assert volume.labels is not None, "volumes are read with their labels"
        image = self._slice_image(volume, place)
        labels = as_seen(np.take(volume.labels, place.number, axis=place.axis))[None]
        for value in settings.ignore_values:
            labels = np.where(labels == value, np.int32(0), labels)
        names = dict(settings.class_names)
        classes = {int(v): names.get(int(v), str(v)) for v in np.unique(labels) if v}
        if settings.labels == "binary":
            labels, classes = (labels > 0).astype(np.int32), {1: names.get(1, "")}
        if settings.with_components:
            labels, classes = split_components(labels, classes)
        return Sample(record.image_id, image, np.ascontiguousarray(labels), classes, record.group)

    def hw(self, index: int) -> tuple[int, int]:
        return self._hws[index]

    def _slice_image(self, volume: _Volume, place: _Place) -> ImageArray:
        """A grey slice thrice, or with its two neighbours as red and blue."""
        last = volume.image.shape[place.axis] - 1
        offsets = (-1, 0, 1) if self.settings.with_neighbours else (0, 0, 0)
        numbers = [min(max(place.number + offset, 0), last) for offset in offsets]
        slices = [as_seen(np.take(volume.image, n, axis=place.axis)) for n in numbers]
        return to_grey(np.stack(slices, axis=2), volume.low, volume.high)

    def _volume(self, number: int) -> _Volume:
        """A volume; the last one is kept, for its slices are often read in a row."""
        if self._last is None or self._last[0] != number:
            image = self._read(self.files[number][0]).astype(np.float32)
            low, high = find_range(self.settings.window, image)
            self._last = (number, _Volume(image, self._read_labels(number), low, high))
        return self._last[1]

    def _read_labels(self, number: int) -> NDArray[np.int32]:
        image, file = self.files[number]
        values = self._read(file)
        if values.shape != self._open(image).shape[:3]:
            raise UserError(
                f"{file} has {'x'.join(map(str, values.shape))} voxels, but its image has "
                f"{'x'.join(map(str, self._open(image).shape[:3]))}"
            )
        labels = np.rint(values)
        if not np.array_equal(labels, values) or labels.min(initial=0) < 0:
            raise UserError(f"{file} holds values that are no labels (fractions or below 0)")
        return np.asarray(labels, np.int32)

    def _open(self, file: Path) -> Any:
        """Header and lazy voxels, axes in right-anterior-superior order."""
        # not kept: processes that read get a copy of the source, and modules cannot be copied
        nibabel = require("nibabel", "medical")
        try:
            volume = nibabel.as_closest_canonical(nibabel.load(file))
        except Exception as error:  # nibabel raises whatever the bytes make it do
            raise UserError(f"{file} is no NIfTI volume: {error}") from error
        if (
            len(volume.shape) < 3
            or any(side != 1 for side in volume.shape[3:])
            or 0 in volume.shape
        ):
            raise UserError(
                f"{file} has the shape {volume.shape}: volumes of three axes are needed"
            )
        return volume

    def _read(self, file: Path) -> NDArray[Any]:
        volume = self._open(file)
        try:
            values = np.asanyarray(volume.dataobj)
        except Exception as error:  # truncated or damaged
            raise UserError(f"{file} is truncated or damaged: {error}") from error
        return np.asarray(values.reshape(values.shape[:3]))


def as_seen(values: NDArray[Any]) -> NDArray[Any]:
    """Turn a slice of a right-anterior-superior volume as radiologists see it, or back again.

    The second axis runs up in the picture, the first to the left: both are turned, and swapped.
    """
    return np.asarray(values[::-1, ::-1].T)


def from_seen(picture: LabelArray | NDArray[Any]) -> NDArray[Any]:
    """The inverse of `as_seen`."""
    return np.asarray(picture.T[::-1, ::-1])


def _choose_axis(axis: str, spacing: list[float]) -> int:
    """`auto` cuts across the coarsest spacing, so that slices are as they were taken."""
    if axis != "auto":
        return _AXES.index(axis)
    coarsest = max(spacing)
    return max(place for place, size in enumerate(spacing) if size >= coarsest - 1e-6)


def volume_id(file: Path) -> str:
    """The name of a volume without `_image` and suffixes."""
    stem = file.name
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem.removesuffix("_image")


def find_volumes(path: Path) -> list[tuple[Path, Path]]:
    """Volumes with their labels.

    Raises:
        UserError: a volume lacks its labels.
    """
    found = []
    for image in _nifti(path / "images") or _nifti(path):
        if image.parent == path and not _stem(image).endswith("_image"):
            continue
        names = (volume_id(image),) if image.parent != path else (f"{volume_id(image)}_label",)
        folder = path if image.parent == path else path / "labels"
        places = [folder / f"{name}{suffix}" for name in names for suffix in _SUFFIXES]
        labels = next((place for place in places if place.is_file()), None)
        if labels is None:
            raise UserError(f"{image} has no labels: expected {places[0]}")
        found.append((image, labels))
    return found


def _nifti(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.name.endswith(_SUFFIXES))


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")


def holds_volumes(path: Path) -> bool:
    return any(_nifti(folder) for folder in (path / "images", path))

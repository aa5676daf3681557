"""Volumes of scanners, read slice by slice: NIfTI, NRRD, MetaImage and DICOM.

PATH/images/ID.nii.gz     PATH/labels/ID.nii.gz     a number for each class, 0 is background
PATH/images/ID/*.dcm      PATH/labels/ID.dcm        a DICOM series, at any depth below images/ID (or a
                                                    multi-frame file images/ID.dcm), with SEG or
                                                    RTSTRUCT, or any of the others
PATH/ID_image.nii.gz      PATH/ID_label.nii.gz      the same side by side
PATH/manifest.csv         optional: a row for each ID, with a split or group column

Suffixes: .nii.gz, .nii, .nrrd, .nhdr, .mha, .mhd, .dcm. A slice is seen with the body's front up and
its right on the left, as radiologists do; slices of one volume are one group, and the spacing comes
with them.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geometry3d import Geometry
from samtune.data.objects import split_components
from samtune.data.readers.mask_folder import read_manifest
from samtune.data.source import ReadSettings, Record, Source, spacing_columns
from samtune.data.volume_files import find_volumes
from samtune.data.volume_io import (
    Labels,
    read_geometry,
    read_label_notes,
    read_volume_labels,
)
from samtune.data.volume_slices import (
    AXES,
    SliceStack,
    axis_notes,
    choose_axes,
    open_stack,
    shown,
    slice_of,
)
from samtune.errors import UserError, require
from samtune.types import Sample

# Volumes of this many bytes are kept by each process that reads: shuffled slices come from all of them.
_MOST_BYTES = 2**30


@dataclass(frozen=True)
class _Place:
    """One slice: its volume, axis (in right-anterior-superior order) and number."""

    volume: int
    axis: int
    number: int


@dataclass
class _Volume:
    """A volume in memory."""

    stack: SliceStack
    labels: Labels

    @property
    def num_bytes(self) -> int:
        return self.stack.voxels.nbytes + self.labels.layers.nbytes


class Volumes(Source):
    """Slices of volumes with their labels.

    Args:
        path: the folder described at the top of this module.
        settings: how to read: window, axis, neighbours, which slices. Without a window, that of a
            DICOM file is taken, or percentiles of each volume.

    Raises:
        UserError: there are no volumes, one lacks its labels or all are empty, or a file cannot be
            read.
    """

    is_part = True

    def __init__(self, path: Path, settings: ReadSettings | None = None) -> None:
        self.settings = settings or ReadSettings()
        require("nibabel", "medical")
        self.files = find_volumes(path)
        if not self.files:
            raise UserError(
                f"{path} holds no volumes: expected images/ID.nii.gz with labels/ID.nii.gz"
            )
        rows = read_manifest(path)
        names = [files.volume_id for files in self.files]
        geometries = [read_geometry(files.image) for files in self.files]
        self._axes = choose_axes(self.settings.axis, geometries)
        self._notes = axis_notes(names, geometries) if self.settings.axis == "auto" else []
        self._notes += [note for files in self.files for note in read_label_notes(files.labels)]
        self.records: list[Record] = []
        self._places: list[_Place] = []
        self._hws: list[tuple[int, int]] = []
        self._kept: OrderedDict[int, _Volume] = OrderedDict()
        for number, geometry in enumerate(geometries):
            self._add(number, geometry, rows)
        self._note_empty(names)

    def _note_empty(self, names: list[str]) -> None:
        kept = {place.volume for place in self._places}
        if empty := [name for number, name in enumerate(names) if number not in kept]:
            found = f"the labels of {len(empty)} of {len(names)} volumes are empty"
            advice = "data.slices all takes them"
            if not kept:
                raise UserError(f"{found}: are these the right labels? ({advice})")
            self._notes.append(f"{found}, and these left out: {shown(empty)} ({advice})")

    @property
    def notes(self) -> list[str]:
        return self._notes

    def __getstate__(self) -> dict[str, Any]:
        """Other processes read volumes themselves."""
        return {**self.__dict__, "_kept": OrderedDict()}

    def _add(self, number: int, geometry: Geometry, rows: dict[str, dict[str, str]]) -> None:
        files, axis = self.files[number], self._axes[number]
        across, up = (place for place in range(3) if place != axis)
        sides = geometry.spacing[up], geometry.spacing[across]
        row = rows.get(files.volume_id) or rows.get(files.image.name) or {}
        columns = {**row, **(spacing_columns(*sides, "mm") if np.isfinite(sides).all() else {})}
        for index in self._slices(number, axis, geometry.ras_shape):
            self._places.append(_Place(number, axis, index))
            self._hws.append((geometry.ras_shape[up], geometry.ras_shape[across]))
            self.records.append(
                Record(
                    f"{files.volume_id}/{AXES[axis]}{index:04d}", files.image,
                    row.get("split", ""), files.volume_id, tuple(columns.items()),
                )
            )  # fmt: skip

    def _slices(self, number: int, axis: int, shape: tuple[int, ...]) -> list[int]:
        """Slices with an object, or all of them."""
        if self.settings.slices == "all":
            return list(range(shape[axis]))
        files = self.files[number]
        layers = read_volume_labels(files.labels, files.image).layers
        others = tuple(place for place in range(4) if place != axis + 1)
        return [int(index) for index in np.flatnonzero(layers.any(axis=others))]

    def read(self, index: int) -> Sample:
        place, record, settings = self._places[index], self.records[index], self.settings
        volume = self._volume(place.volume)
        image = volume.stack.picture(place.number)
        layers = volume.labels.layers
        seen = [slice_of(layer, place.axis, place.number) for layer in layers]
        labels = np.stack(seen).astype(np.int32)
        for value in settings.ignore_values:
            labels = np.where(labels == value, np.int32(0), labels)
        names = volume.labels.names | dict(settings.class_names)
        classes = {int(v): names.get(int(v), str(v)) for v in np.unique(labels) if v}
        if settings.labels == "binary":
            labels = (labels.max(axis=0, keepdims=True) > 0).astype(np.int32)
            classes = {1: names.get(1, "")}
        elif settings.labels == "instances":
            classes = {}
        if settings.with_components:
            labels, classes = split_components(labels, classes)
        return Sample(record.image_id, image, np.ascontiguousarray(labels), classes, record.group)

    def stored(self, index: int) -> NDArray[Any]:
        place = self._places[index]
        return self._volume(place.volume).stack.values(place.number)[..., None]

    def hw(self, index: int) -> tuple[int, int]:
        return self._hws[index]

    def _volume(self, number: int) -> _Volume:
        """A volume; those used last are kept, as far as the memory that is set aside goes."""
        if number not in self._kept:
            self._kept[number] = self._load(number)
        self._kept.move_to_end(number)
        while len(self._kept) > 1 and sum(v.num_bytes for v in self._kept.values()) > _MOST_BYTES:
            self._kept.popitem(last=False)
        return self._kept[number]

    def _load(self, number: int) -> _Volume:
        files, settings = self.files[number], replace(self.settings, axis=AXES[self._axes[number]])
        labels = read_volume_labels(files.labels, files.image)
        return _Volume(open_stack(files.image, settings), labels)

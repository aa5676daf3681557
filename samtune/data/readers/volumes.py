"""Volumes of scanners, read slice by slice: NIfTI, Analyze, NRRD, MetaImage and DICOM.

PATH/images/ID.nii.gz     PATH/labels/ID.nii.gz     a number for each class, 0 is background
PATH/images/ID/*.dcm      PATH/labels/ID.dcm        a DICOM series, at any depth below images/ID (or a
                                                    multi-frame file images/ID.dcm), with SEG or
                                                    RTSTRUCT, or any of the others
PATH/images/ID.nii.gz     PATH/labels/ID/*.nii.gz   a file for each structure, which gives it its name
PATH/ID_image.nii.gz      PATH/ID_label.nii.gz      the same side by side
PATH/imagesTr/ID_0000.*   PATH/labelsTr/ID.*        nnU-Net's: ID_0001, ... are other channels, and
                                                    dataset.json names classes or regions; imagesTs
                                                    with labelsTs is the test split
PATH/ID/ct.nii.gz         PATH/ID/segmentations/*   TotalSegmentator's: a file for each structure;
                                                    meta.csv has a row for each ID
PATH/manifest.csv         optional: a row for each ID, with a split or group column

Suffixes: .nii.gz, .nii, .img (with .hdr: NIfTI or Analyze), .nrrd, .nhdr, .mha, .mhd, .dcm; DICOM is
known by its content, segmentations of Slicer (.seg.nrrd) by their fields. Of several values a voxel
(channels, times) `bands` chooses up to three. A slice is seen with the body's front up and its right on
the left, as radiologists do; slices of one volume are one group, and the spacing comes with them.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.label_maps import keep_ignored
from samtune.data.manifest import Manifest
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record, spacing_columns
from samtune.data.volumes.finding import find_volumes, holds_volumes
from samtune.data.volumes.labels import (
    LabelRules,
    Labels,
    read_label_notes,
    read_volume_labels,
)
from samtune.data.volumes.placement import Geometry
from samtune.data.volumes.slices import (
    AXES,
    SliceStack,
    axis_notes,
    choose_axes,
    choose_channels,
    open_stack,
    shown,
    slice_of,
)
from samtune.data.volumes.voxels import read_geometry, read_volume_notes
from samtune.errors import UserError, require

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


class Volumes(Reader):
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

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.settings = settings or SourceSettings()
        require("nibabel", "medical")
        self._set = find_volumes(path)
        self.files = self._set.files
        if not self.files:
            raise UserError(
                f"{path} holds no volumes: expected images/ID.nii.gz with labels/ID.nii.gz"
            )
        manifest = Manifest(path, self._set.table)
        names = [files.volume_id for files in self.files]
        geometries = [read_geometry(files.image) for files in self.files]
        for files, geometry in zip(self.files, geometries, strict=True):
            choose_channels(files.channels, geometry, self.settings.reading)
        self._axes = choose_axes(self.settings.reading.axis, geometries)
        self._notes = axis_notes(names, geometries) if self.settings.reading.axis == "auto" else []
        by_windows = self.settings.reading.intensity_range is None
        self._notes += read_volume_notes([files.image for files in self.files], by_windows)
        self._notes += [note for files in self.files for note in read_label_notes(files.labels)]
        self.records: list[Record] = []
        self._places: list[_Place] = []
        self._hws: list[tuple[int, int]] = []
        self._kept: OrderedDict[int, _Volume] = OrderedDict()
        for number, geometry in enumerate(geometries):
            self._add(number, geometry, manifest)
        self._note_empty(names)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and holds_volumes(path)

    def _note_empty(self, names: list[str]) -> None:
        kept = {place.volume for place in self._places}
        if empty := [name for number, name in enumerate(names) if number not in kept]:
            found = f"the labels of {len(empty)} of {len(names)} volumes are empty"
            advice = "data.slices all takes them"
            if not kept:
                raise UserError(
                    f"{found}, such as {self.files[0].labels}: are these the right labels? ({advice})"
                )
            self._notes.append(f"{found}, and these left out: {shown(empty)} ({advice})")

    @property
    def notes(self) -> list[str]:
        return self._notes

    def __getstate__(self) -> dict[str, Any]:
        """Other processes read volumes themselves."""
        return {**self.__dict__, "_kept": OrderedDict()}

    def _add(self, number: int, geometry: Geometry, manifest: Manifest) -> None:
        files, axis = self.files[number], self._axes[number]
        across, up = (place for place in range(3) if place != axis)
        sides = geometry.spacing[up], geometry.spacing[across]
        spacing = spacing_columns(*sides, "mm") if np.isfinite(sides).all() else {}
        for index in self._slices(number, axis, geometry.ras_shape):
            self._places.append(_Place(number, axis, index))
            self._hws.append((geometry.ras_shape[up], geometry.ras_shape[across]))
            self.records.append(
                manifest.record(
                    f"{files.volume_id}/{AXES[axis]}{index:04d}",
                    files.image,
                    files.split,
                    name=files.volume_id,
                    group=files.volume_id,
                    columns=spacing,
                )
            )

    def _slices(self, number: int, axis: int, shape: tuple[int, ...]) -> list[int]:
        """Slices with an object, or all of them."""
        if self.settings.slices == "all":
            return list(range(shape[axis]))
        layers = self._read_labels(number).layers
        others = tuple(place for place in range(4) if place != axis + 1)
        return [int(index) for index in np.flatnonzero(layers.any(axis=others))]

    def load(self, index: int) -> Loaded:
        place, settings = self._places[index], self.settings
        volume = self._volume(place.volume)
        image = volume.stack.picture(place.number)
        layers = volume.labels.layers
        seen = [slice_of(layer, place.axis, place.number) for layer in layers]
        labels = np.stack(seen).astype(np.int32)
        names = self._set.about.class_names | volume.labels.names | dict(settings.class_names)
        classes = {int(v): names.get(int(v), str(v)) for v in np.unique(labels) if v}
        if settings.labels == "binary":
            labels = (labels.max(axis=0, keepdims=True) > 0).astype(np.int32)
            classes = {1: names.get(1, "")}
        elif settings.labels == "instances":
            classes = {}
        ignored = volume.labels.ignored
        if settings.keeps_ignored and ignored is not None:
            is_ignored = slice_of(ignored, place.axis, place.number)
            labels, classes = keep_ignored(labels, classes, is_ignored)
        return image, np.ascontiguousarray(labels), classes

    def stored(self, index: int) -> NDArray[Any]:
        place = self._places[index]
        values = self._volume(place.volume).stack.values(place.number)
        return values if values.ndim == 3 else values[..., None]

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
        files = self.files[number]
        reading = self.settings.reading.changed(axis=AXES[self._axes[number]])
        return _Volume(open_stack(files.channels, reading), self._read_labels(number))

    def _read_labels(self, number: int) -> Labels:
        files, settings = self.files[number], self.settings
        about = self._set.about
        rules = LabelRules(
            (*settings.ignore_values, *about.ignored), settings.with_foreign_labels, about.regions
        )
        return read_volume_labels(files.labels, files.image, rules, self._set.structures)

"""What can be told of a data set by looking at some of it, before anything is set."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from samtune.data.checks.look import Seen, look_at
from samtune.data.checks.modality import guess_modality
from samtune.data.datamodule import SamDataModule
from samtune.data.formats import recognise
from samtune.data.geo.finding import RASTER_SUFFIXES, find_objects_file
from samtune.data.objects import find_objects, object_mask
from samtune.data.settings import Format
from samtune.data.source import SPACING_COLUMNS, Record
from samtune.data.splits import SPLITS
from samtune.errors import UserError
from samtune.images.dicom import is_dicom, read_dicom_window
from samtune.images.pixels import ImageFile
from samtune.types import Sample

_LOOKED_AT = 24
# Columns by which images usually belong together, the strongest tie first.
_GROUP_COLUMNS = (
    "patient",
    "subject",
    "case",
    "group",
    "video",
    "sequence",
    "slide",
    "scene",
    "site",
    "city",
)


@dataclass(frozen=True)
class Survey:
    """Facts that settings are chosen by.

    Attributes:
        format: of the data.
        sizes: images by split.
        is_split: the data name splits themselves.
        seen: some images of the largest split, as they were looked at.
        modality: augmentation preset that fits, or empty.
        num_components: connected parts of an object, on average.
        values: how many kinds of objects (values of a mask) all those images have.
        is_interpolated: masks seem to hold grey levels between what they mean.
        columns: of the manifest.
        group_column, group_regex: what seems to tie images together; empty for nothing.
        num_groups: how many values that column has.
        is_grouped: the images that an evaluation is of are tied together without a setting.
        has_label_raster: objects of scenes are values of rasters, and no setting says what these mean.
        are_bands_told: nobody has to guess which channels are red, green and blue.
        has_window: DICOM files bring the window that they are shown by.
        notes: what the reader noted.
    """

    format: Format
    sizes: dict[str, int]
    is_split: bool
    seen: list[Seen]
    modality: str
    num_components: float
    values: int
    is_interpolated: bool
    columns: tuple[str, ...]
    group_column: str
    group_regex: str
    num_groups: int
    is_grouped: bool
    has_label_raster: bool
    are_bands_told: bool
    has_window: bool
    notes: tuple[str, ...]


def survey(data: SamDataModule, input_side: int) -> Survey:
    """Look at some images of the largest split.

    Args:
        data: as far as its settings are known.
        input_side: of the model's input, pixels.

    Raises:
        UserError: the data cannot be opened, or an image not be read (with `on_error: skip`: none).
    """
    sizes = {split: size for split, size in data.split_sizes().items() if size}
    split = max(SPLITS, key=lambda name: sizes.get(name, 0))
    source = data.whole_source(split)
    places = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)).tolist()
    readable, samples, seen = _read(data, split, places, input_side)
    is_interpolated = sum(image.is_interpolated for image in seen) > len(seen) / 2
    values = {place.object_id for sample in samples for place in find_objects(sample.labels)}
    notes = list(source.notes)
    if missing := len(places) - len(readable):
        notes.append(f"{missing} of {len(places)} images cannot be read and are left out")
    found = recognise(data.path) if data.format == "auto" else data.format
    records = [r for name in sizes for r in data.whole_source(name).records]
    evaluated = data.whole_source("test" if "test" in sizes else split).records
    columns = tuple(dict.fromkeys(name for record in records for name, _ in record.columns))
    columns = tuple(c for c in columns if c not in (*SPACING_COLUMNS, "id", "split"))
    column = _find_group_column(records, columns)
    return Survey(
        found, sizes, any(record.split for record in records), seen,
        guess_modality(source.records[readable[0]], samples, seen),
        _mean_components(samples, is_interpolated), len(values), is_interpolated, columns,
        column, find_group_regex([record.image_id for record in records]),
        len({dict(record.columns).get(column) for record in records}),
        any(_is_tied(record, source.is_part) for record in evaluated),
        found == "geo" and _has_label_raster(data, source.records[0].path),
        source.are_bands_told,
        any(map(_brings_window, {source.image_file(place) for place in readable})),
        tuple(notes),
    )  # fmt: skip


def _read(
    data: SamDataModule, split: str, places: list[int], input_side: int
) -> tuple[list[int], list[Sample], list[Seen]]:
    """Those of the images that can be read; one that cannot is an error unless it is to be skipped."""
    source = data.whole_source(split)
    readable, samples, seen = [], [], []
    for place in places:
        try:
            image = look_at(split, source, place, input_side, data.min_area, 0)
            samples.append(source.read(place))
        except UserError as error:
            if data.on_error == "fail":
                raise UserError(f"{error} (--data.on_error skip leaves such images out)") from error
            failure = error
        else:
            readable.append(place)
            seen.append(image)
    if not readable:
        raise UserError(f"none of {len(places)} images can be read: {failure}")
    return readable, samples, seen


def _mean_components(samples: Sequence[Sample], is_binary: bool) -> float:
    """Connected parts of an object, or of all above 0."""
    masks = [
        mask
        for labels in (sample.labels for sample in samples)
        for mask in (
            [labels.any(axis=0)]
            if is_binary
            else [object_mask(labels, place) for place in find_objects(labels)[:20]]
        )
    ]
    counts = [ndimage.label(mask, np.ones((3, 3)))[1] for mask in masks]
    return float(np.mean(counts)) if counts else 0.0


def _find_group_column(records: Sequence[Record], columns: Sequence[str]) -> str:
    """The manifest's column of the strongest tie that all images have; empty without one."""
    by_word = {name.lower(): name for name in reversed(columns)}
    rows = [dict(record.columns) for record in records]
    named = [by_word[word] for word in _GROUP_COLUMNS if word in by_word]
    is_told = (name for name in named if all(name in row for row in rows))
    return next((name for name in is_told if len({row[name] for row in rows}) > 1), "")


def _is_tied(record: Record, is_part: bool) -> bool:
    """Whether data say what an image belongs to; that a slice is of its volume says nothing yet."""
    if is_part:
        return record.group == dict(record.columns).get("group")
    return record.group not in ("", record.image_id)


def find_group_regex(names: list[str]) -> str:
    """A pattern that ties names like `p1_03` and `p1_07` together; empty if none does.

    Names must fall into several groups, of several images each, all by one number at their end.
    """
    pattern = r"^(.*?)[_\-. ]+[a-zA-Z]*\d+$"
    matches = [re.match(pattern, name) for name in names]
    groups = {match[1] for match in matches if match and match[1]}
    is_everywhere = bool(matches) and all(match and match[1] for match in matches)
    return pattern if is_everywhere and 2 <= len(groups) <= len(names) / 2 else ""


def _has_label_raster(data: SamDataModule, scene: Path) -> bool:
    settings = data.settings
    file = find_objects_file(scene, data.path, settings.objects)
    return settings.labels == "auto" and file.suffix.lower() in RASTER_SUFFIXES


def _brings_window(file: ImageFile) -> bool:
    return isinstance(file, Path) and is_dicom(file) and read_dicom_window(file) is not None

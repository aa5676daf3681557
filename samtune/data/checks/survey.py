"""What can be told of a data set by looking at some of it, before anything is set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from samtune.data.checks.grouping import Grouping, find_grouping
from samtune.data.checks.look import Seen, are_numbered, look_at
from samtune.data.checks.modality import guess_modality
from samtune.data.datamodule import SamDataModule
from samtune.data.formats import recognise
from samtune.data.geo.finding import find_objects_file
from samtune.data.geo.kinds import holds_vectors
from samtune.data.objects import find_objects, object_mask
from samtune.data.settings import Format
from samtune.data.splits import SPLITS
from samtune.errors import UserError
from samtune.images.pixels import file_window
from samtune.types import Sample

_LOOKED_AT = 24
# More values, each in about one piece, are no classes.
_MOST_CLASSES, _ONE_PIECE = 20, 1.2


@dataclass(frozen=True)
class Survey:
    """Facts that settings are chosen by.

    Attributes:
        format: of the data.
        sizes: images by split.
        seen: some images of the largest split, as they were looked at.
        modality: augmentation preset that fits, or empty.
        num_components: connected parts of an object, on average.
        values: how many kinds of objects (values of a mask) all those images have.
        are_numbered: values that are read as classes seem to be numbers of objects.
        is_interpolated: masks seem to hold grey levels between what they mean.
        grouping: what seems to tie images together.
        has_label_raster: objects of scenes are values of rasters, and no setting says what these mean.
        are_bands_told: nobody has to guess which channels are red, green and blue.
        has_window: DICOM files bring the window that they are shown by.
        notes: what the reader noted.
    """

    format: Format
    sizes: dict[str, int]
    seen: list[Seen]
    modality: str
    num_components: float
    values: int
    are_numbered: bool
    is_interpolated: bool
    grouping: Grouping
    has_label_raster: bool
    are_bands_told: bool
    has_window: bool
    notes: tuple[str, ...]


def survey(data: SamDataModule) -> Survey:
    """Look at some images of the largest split.

    Args:
        data: as far as its settings are known.

    Raises:
        UserError: the data cannot be opened, or an image not be read (with `on_error: skip`: none).
    """
    sizes = {split: size for split, size in data.split_sizes().items() if size}
    split = max(SPLITS, key=lambda name: sizes.get(name, 0))
    source = data.whole_source(split)
    places = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)).tolist()
    readable, samples, seen = _read(data, split, places)
    is_interpolated = sum(image.is_interpolated for image in seen) > len(seen) / 2
    values = {place.object_id for sample in samples for place in find_objects(sample.labels)}
    notes = list(source.notes)
    if missing := len(places) - len(readable):
        notes.append(f"{missing} of {len(places)} images cannot be read and are left out")
    found = recognise(data.path) if data.format == "auto" else data.format
    num_components = _mean_components(samples, is_interpolated)
    return Survey(
        found, sizes, seen,
        guess_modality(source.records[readable[0]], samples, seen),
        num_components, len(values),
        are_numbered(seen) or _are_single(seen, num_components, len(values)), is_interpolated,
        find_grouping({name: data.whole_source(name) for name in sizes}),
        found == "geo" and _has_label_raster(data, source.records[0].path),
        source.are_bands_told,
        any(file_window(file) for file in {source.image_file(place) for place in readable}),
        tuple(notes),
    )  # fmt: skip


def _read(
    data: SamDataModule, split: str, places: list[int]
) -> tuple[list[int], list[Sample], list[Seen]]:
    """Those of the images that can be read; one that cannot is an error unless it is to be skipped."""
    source = data.whole_source(split)
    readable, samples, seen = [], [], []
    for place in places:
        try:
            image = look_at(split, source, place, data.min_area)
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


def _are_single(seen: Sequence[Seen], num_components: float, num_values: int) -> bool:
    """Whether there are more values than classes usually are, called by numbers, each in one piece."""
    names = {name for image in seen for name in image.classes}
    is_by_number = all(name.isdecimal() for name in names) and bool(names)
    return is_by_number and num_values > _MOST_CLASSES and num_components < _ONE_PIECE


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


def _has_label_raster(data: SamDataModule, scene: Path) -> bool:
    settings = data.settings
    file = find_objects_file(scene, data.path, settings.objects)
    return settings.labels == "auto" and not holds_vectors(file)

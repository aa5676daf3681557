"""What the values of a label image mean: objects, classes, colours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samtune.data.objects import stack_layers
from samtune.data.settings import SourceSettings
from samtune.errors import UserError
from samtune.images.kinds import ImageFile
from samtune.images.labels import read_labels
from samtune.types import IGNORED_CLASS, LabelArray, MaskArray, Sample

LabelKind = Literal["instances", "semantic"]


def interpret_labels(
    values: NDArray[Any],
    settings: SourceSettings,
    usual: LabelKind,
    file: ImageFile,
    names: Mapping[int, str] = MappingProxyType({}),
) -> tuple[LabelArray, dict[int, str]]:
    """Turn the values of a label image into objects, as `settings.labels` says.

    Args:
        values: (H, W) integers, or (H, W, 3) colours.
        settings: how to read.
        usual: what `labels: auto` means here.
        file: what errors name.
        names: of classes, where `settings.class_names` has none.

    Returns:
        (1, H, W) labels, and the classes of what is in them.

    Raises:
        UserError: a value is below 0.
    """
    kind = usual if settings.labels == "auto" else settings.labels
    given = dict(settings.class_names)
    names = {**names, **given}
    if values.ndim == 3:
        values, colours = colours_to_classes(values)
        names = colours | names
    is_ignored = np.isin(values, settings.ignore_values)
    values = np.where(is_ignored, 0, values)
    if values.min(initial=0) < 0:
        raise UserError(
            f"{file} holds the negative value {values.min()}: name it in data.ignore_values"
        )
    classes: dict[int, str] = {}
    if kind == "binary":
        values, classes = (values > 0).astype(np.int32), {1: given.get(1, "")}
    elif kind == "semantic":
        classes = {int(v): names.get(int(v), str(v)) for v in np.unique(values) if v}
    labels = values[None]
    return (
        keep_ignored(labels, classes, is_ignored) if settings.keeps_ignored else (labels, classes)
    )


def keep_ignored(
    labels: LabelArray, classes: dict[int, str], is_ignored: MaskArray
) -> tuple[LabelArray, dict[int, str]]:
    """Labels (L, H, W) and classes with what is ignored as one more object."""
    if not is_ignored.any():
        return labels, classes
    number = int(labels.max()) + 1
    labels = labels.copy()
    labels[0][is_ignored] = number
    return labels, {**classes, number: IGNORED_CLASS}


def without_ignored(sample: Sample) -> tuple[Sample, MaskArray]:
    """A sample without what is ignored, and (H, W) where that is."""
    numbers = [number for number, name in sample.classes.items() if name == IGNORED_CLASS]
    if not numbers:
        return sample, np.zeros(sample.labels.shape[1:], np.bool_)
    is_ignored = np.isin(sample.labels, numbers)
    classes = {n: name for n, name in sample.classes.items() if n not in numbers}
    labels = np.where(is_ignored, 0, sample.labels).astype(sample.labels.dtype)
    where = np.asarray(is_ignored.any(0), np.bool_)
    return replace(sample, labels=labels, classes=classes), where


def read_object_masks(files: Sequence[ImageFile], hw: tuple[int, int]) -> LabelArray:
    """(L, H, W) labels of files with one object each, numbered from 1: everything above 0.

    Raises:
        UserError: one cannot be read, or is of another size.
    """

    def masks() -> Iterator[tuple[int, MaskArray]]:
        for number, file in enumerate(files, start=1):
            values = read_labels(file)
            check_size(values.shape[:2], hw, file)
            yield number, foreground(values)

    return stack_layers(masks(), hw)


def foreground(values: LabelArray) -> MaskArray:
    """Everything above 0, of whatever channel."""
    return np.asarray((values.max(axis=2) if values.ndim == 3 else values) > 0)


def colours_to_classes(values: LabelArray) -> tuple[LabelArray, dict[int, str]]:
    """(H, W, 3) colours -> (H, W) 24-bit class numbers, named like `#ff0000`; black is 0."""
    packed = (values[..., 0] << 16) + (values[..., 1] << 8) + values[..., 2]
    return packed.astype(np.int32), {int(v): f"#{int(v):06x}" for v in np.unique(packed)}


def check_size(found: tuple[int, ...], expected: tuple[int, ...], file: ImageFile) -> None:
    if tuple(found) != tuple(expected):
        raise UserError(
            f"{file} is {found[1]}x{found[0]} pixels, but its image is {expected[1]}x{expected[0]}"
        )

"""Objects in label maps: packing masks into layers, finding them, taking one out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samtune.types import LabelArray, MaskArray, ObjectKey, Sample

# Up to this id `ndimage.find_objects` is given the ids as they are; its answer is as long as the
# largest one.
_LARGEST_DENSE_ID = 1_000_000
_LABEL_TYPE = np.dtype(np.int32)


@dataclass(frozen=True)
class ObjectPlace:
    """Where an object of a sample is.

    Attributes:
        object_id: its value in the label map.
        layer: the layer that it lies on.
        rows, columns: its bounding box.
        area: pixels.
    """

    object_id: int
    layer: int
    rows: slice
    columns: slice
    area: int


def stack_layers(
    objects: Iterable[tuple[int, MaskArray]],
    hw: tuple[int, ...],
    dtype: np.dtype[Any] = _LABEL_TYPE,
) -> NDArray[Any]:
    """Pack (id, (H, W) mask) pairs into (L, H, W) labels, overlapping objects on other layers.

    Masks of volumes, (X, Y, Z), become (L, X, Y, Z). Beside the labels one mask is in memory at a
    time.

    Args:
        objects: what to pack.
        hw: of a mask.
        dtype: of the labels.
    """
    labels = np.zeros((1, *hw), dtype)
    for object_id, mask in objects:
        if not mask.any():
            continue
        (box,) = ndimage.find_objects(mask.view(np.uint8))
        inside = mask[box]
        free = (n for n, layer in enumerate(labels) if not layer[box][inside].any())
        place = next(free, len(labels))
        if place == len(labels):
            # in place, where a list of layers would be in memory twice; nothing else refers to them
            labels.resize((place + 1, *hw), refcheck=False)
        labels[place][box][inside] = object_id
    return labels


def number_objects(
    objects: list[tuple[str, MaskArray]], hw: tuple[int, int]
) -> tuple[LabelArray, dict[int, str]]:
    """Labels and classes of (class, (H, W) mask) pairs, numbered from 1.

    Args:
        objects: in the order of their numbers.
        hw: of the image.
    """
    labels = stack_layers(((n, mask) for n, (_, mask) in enumerate(objects, start=1)), hw)
    classes = {number: name for number, (name, _) in enumerate(objects, start=1)}
    return labels, classes


def find_objects(labels: LabelArray, min_area: int = 1) -> list[ObjectPlace]:
    """All objects of (L, H, W) labels with at least `min_area` pixels, by id."""
    places = []
    for number, layer in enumerate(labels):
        largest = int(layer.max(initial=0))
        if largest <= _LARGEST_DENSE_ID:
            ids, dense = np.arange(largest + 1), layer
        else:
            ids, dense = np.unique(np.append(layer, 0), return_inverse=True)
            dense = dense[:-1].reshape(layer.shape)
        areas = np.bincount(dense.ravel(), minlength=len(ids))
        for index, place in enumerate(ndimage.find_objects(dense), start=1):
            if place is not None and areas[index] >= min_area:
                rows, columns = place
                places.append(
                    ObjectPlace(int(ids[index]), number, rows, columns, int(areas[index]))
                )
    return sorted(places, key=lambda place: place.object_id)


def object_mask(labels: LabelArray, place: ObjectPlace) -> MaskArray:
    """The (H, W) mask of one object."""
    mask = np.zeros(labels.shape[1:], np.bool_)
    window = (place.rows, place.columns)
    mask[window] = labels[place.layer][window] == place.object_id
    return mask


def object_key(sample: Sample, place: ObjectPlace) -> ObjectKey:
    return ObjectKey(sample.image_id, place.object_id, sample.classes.get(place.object_id, ""))


def split_components(
    labels: LabelArray, classes: dict[int, str]
) -> tuple[LabelArray, dict[int, str]]:
    """Make every connected part (8-neighbourhood) of every object an object of its own."""
    parts: list[tuple[int, MaskArray]] = []
    names: dict[int, str] = {}
    for place in find_objects(labels):
        numbered, count = ndimage.label(object_mask(labels, place), np.ones((3, 3)))
        for number in range(1, count + 1):
            parts.append((len(parts) + 1, numbered == number))
            names[len(parts)] = classes.get(place.object_id, "")
    return stack_layers(parts, labels.shape[1:]), names

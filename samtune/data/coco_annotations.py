"""Annotations as COCO has them, made into labels: polygons, compressed and uncompressed RLE."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from samtune.data.objects import stack_layers
from samtune.data.settings import Crowds
from samtune.errors import UserError
from samtune.masks import polygons_to_mask, rle_to_mask
from samtune.types import LabelArray, MaskArray, Window

_LARGEST_ID = 2**31 - 1
# What stands for no outline.
_EMPTY: tuple[Any, ...] = (None, "", [], [[]], {})


class Mark(NamedTuple):
    """An annotation that is marked as a crowd: its image and category, and whether CVAT wrote it."""

    image: object
    category: object
    has_attributes: bool


def is_marked(value: Any) -> bool:
    """Whether the value of `iscrowd` is a yes: 1 or true, as a number or as text."""
    return str(value).strip().lower() not in ("0", "0.0", "", "false", "no", "none")


def marked_are_objects(marks: Sequence[Mark], total: int, crowds: Crowds) -> bool:
    """Whether annotations that a file marks as crowds are objects all the same.

    COCO means by `iscrowd: 1` a region of many objects, one for a category of an image. Tools that
    write every mask as run lengths set it for each: datumaro, and so CVAT, gives it to whatever is no
    polygon, beside `attributes`, which COCO's own files do not have.

    Args:
        marks: all that are marked.
        total: number of annotations, marked or not.
        crowds: what the user says.
    """
    if crowds != "auto":
        return crowds == "objects"
    places = {(repr(mark.image), repr(mark.category)) for mark in marks}
    return (
        len(marks) == total
        or any(mark.has_attributes for mark in marks)
        or len(places) < len(marks)
    )


def objects_among(annotations: list[dict[str, Any]], with_marked: bool) -> list[dict[str, Any]]:
    """Annotations with a segmentation that are no crowds, or those too where they are objects.

    Those with `ignore: 1`, as some tools mark what is neither object nor background, are none.
    """
    return [
        each for each in annotations
        if (with_marked or not is_marked(each.get("iscrowd")))
        and not is_marked(each.get("ignore"))
        and each.get("segmentation") not in _EMPTY
    ]  # fmt: skip


def marks_of(annotations: Iterable[dict[str, Any]]) -> list[Mark]:
    """Those of decoded annotations that are marked as crowds."""
    return [
        Mark(
            each.get("image_id"), each.get("category_id"), isinstance(each.get("attributes"), dict)
        )
        for each in annotations
        if is_marked(each.get("iscrowd"))
    ]


def decode_annotations(
    annotations: list[dict[str, Any]], hw: tuple[int, int], file: Path | str
) -> tuple[LabelArray, list[int]]:
    """Labels (L, H, W) of annotations, and the id that each of them has there.

    Raises:
        UserError: a segmentation cannot be decoded, or has another size than the image.
    """
    ids = _object_ids(annotations)
    masks = [_decode(annotation, hw, file) for annotation in annotations]
    return stack_layers(zip(ids, masks, strict=True), hw), ids


def _decode(annotation: dict[str, Any], hw: tuple[int, int], file: Path | str) -> MaskArray:
    shape, where = annotation["segmentation"], f"annotation {annotation.get('id')} of {file}"
    try:
        if not isinstance(shape, dict):
            if not all(isinstance(ring, list) and _are_numbers(ring) for ring in shape):
                raise ValueError(
                    "expected run lengths (counts and size), or a list of polygons, each a list x, y, "
                    "x, y, ..."
                )
            rings = [ring for ring in shape if len(ring) >= 6]
            if not rings:
                raise ValueError("none of its polygons has three corners")
            return polygons_to_mask(rings, hw)
        height, width = (int(side) for side in shape["size"])
        mask = rle_to_mask(shape) if (height, width) == hw else None
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise UserError(f"{where} has a segmentation that cannot be decoded: {error}") from error
    if mask is None:
        raise UserError(f"{where} is {width}x{height} pixels, but its image is {hw[1]}x{hw[0]}")
    return mask


def _are_numbers(ring: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in ring)


def _object_ids(annotations: list[dict[str, Any]]) -> list[int]:
    """The file's own ids, or 1..n where those do not fit a label map.

    `object_id`, which `samtune convert` writes, goes before `id`.
    """
    ids = [annotation.get("object_id", annotation.get("id")) for annotation in annotations]
    is_usable = all(isinstance(i, int) and 0 < i <= _LARGEST_ID for i in ids)
    if is_usable and len(set(ids)) == len(ids):
        return [int(i) for i in ids if i is not None]
    return list(range(1, len(ids) + 1))


def part_told(value: Any) -> Window | None:
    """The part (x, y, width, height) of an image that is to be read; `None` where none is named."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    # tools that write a file anew may make 3.0 of 3: were it overlooked, all of the image would be read
    if not all(type(each) in (int, float) and each >= 0 and each % 1 == 0 for each in value):
        return None
    x, y, width, height = map(int, value)
    return Window(y, x, height, width)


def objects_in(labels: LabelArray, part: Window) -> LabelArray:
    """Labels (L, h, w) of a part of an image: of the objects that lie in it by half at least."""
    cut = labels[:, *part.slices]
    inside, counts = np.unique(cut, return_counts=True)
    whole = dict(
        zip(*(each.tolist() for each in np.unique(labels, return_counts=True)), strict=True)
    )
    kept = [
        number for number, count in zip(inside.tolist(), counts.tolist(), strict=True)
        if 2 * count >= whole[number]
    ]  # fmt: skip
    return np.where(np.isin(cut, kept), cut, 0).astype(labels.dtype)

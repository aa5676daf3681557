"""COCO instance segmentation: polygons, compressed and uncompressed RLE, crowds, categories.

Format: https://cocodataset.org/#format-data. Crowd annotations are regions, not objects: they are
left out. Images with one `group` (a string or number, which `samtune data convert` writes) belong
together; `columns` (an object, which it writes too) are those of a manifest. Only the places of
annotations in the file are kept, so that millions of objects fit in memory and are handed to worker
processes cheaply.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from samtune.data.json_index import decode_json, find_spans, read_spans
from samtune.data.objects import split_components, stack_layers
from samtune.data.source import ReadSettings, Record, Source
from samtune.data.splits import words_for
from samtune.errors import UserError
from samtune.files import is_file
from samtune.geometry import polygons_to_mask, rle_to_mask
from samtune.types import LabelArray, MaskArray, Sample

_LARGEST_ID = 2**31 - 1
# What stands for no outline, and the bytes of the shortest one.
_EMPTY: tuple[Any, ...] = (None, "", [], [[]], {})
_SHORTEST = 8
_SHOWN = 10
_Id = int | float | str | None


class _Image(msgspec.Struct):
    id: _Id
    file_name: str
    height: int | float | None = None
    width: int | float | None = None
    sample_id: _Id = None
    group: Any = None
    columns: Any = None


class _Category(msgspec.Struct):
    id: _Id
    name: Any


class _Content(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw]
    categories: list[_Category] = []


class _Head(msgspec.Struct):
    """Of an annotation, what is known before it is asked for."""

    image_id: _Id
    category_id: _Id = None
    iscrowd: Any = 0
    segmentation: msgspec.Raw = msgspec.Raw()


class Coco(Source):
    """One COCO annotation file and its images.

    Args:
        annotations: the JSON file.
        settings: how to read.
        split: name of the split that this file is, if it is one.

    Raises:
        UserError: the file is not COCO, names images that do not exist or two by one id, or its
            annotations have categories that it does not list or ids of images of another type.
    """

    def __init__(
        self, annotations: Path, settings: ReadSettings | None = None, split: str = ""
    ) -> None:
        self.settings = settings or ReadSettings()
        self.file = annotations
        try:
            content, buffer = decode_json(annotations, _Content)
        except msgspec.ValidationError as error:
            raise UserError(
                f"{annotations} is not COCO: it lacks something or has it in another form: {error}"
            ) from error
        self._classes = {category.id: str(category.name) for category in content.categories}
        self._images = content.images
        if not self._images:
            raise UserError(f"{annotations} names no images")
        self._rows = _rows(self._images, annotations)
        owners, num_boxes = _owners(content, self._rows, annotations)
        self._notes = _notes_of(owners, num_boxes, annotations)
        order = np.argsort(owners, kind="stable")
        self._spans = find_spans(content.annotations, buffer)[order]
        self._first = np.searchsorted(owners[order], np.arange(len(self._images) + 1))
        root = _image_root(annotations, split, self._images[0].file_name)
        prefix = f"{split}/" if split else ""
        self.records = [
            Record(
                str(image.sample_id or prefix + image.file_name),
                root / image.file_name,
                split,
                str(image.group) if isinstance(image.group, str | int) else "",
                _columns(image.columns),
            )
            for image in self._images
        ]

    @property
    def notes(self) -> list[str]:
        return self._notes

    def read(self, index: int) -> Sample:
        record, settings = self.records[index], self.settings
        image = settings.read_image(record.path)
        height, width = image.shape[:2]
        entry = self._images[index]
        declared = (entry.height or height, entry.width or width)
        if declared != (height, width):
            raise UserError(
                f"{record.path} is {width}x{height} pixels, but {self.file} says "
                f"{declared[1]}x{declared[0]}"
            )
        annotations = self._annotations(self._rows[entry.id])
        labels, ids = decode_annotations(annotations, (height, width), self.file)
        classes = {
            number: self._class_name(annotation.get("category_id"))
            for number, annotation in zip(ids, annotations, strict=True)
        }
        if settings.with_components:
            labels, classes = split_components(labels, classes)
        return Sample(record.image_id, image, labels, classes, record.group)

    def _annotations(self, row: int) -> list[dict[str, Any]]:
        spans = self._spans[self._first[row] : self._first[row + 1]].tolist()
        return objects_among(read_spans(self.file, spans))

    def _class_name(self, category: Any) -> str:
        return self._classes.get(category, "") if isinstance(category, _Id) else ""


def objects_among(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Annotations with a segmentation that are no crowds."""
    return [
        each for each in annotations
        if not each.get("iscrowd") and each.get("segmentation") not in _EMPTY
    ]  # fmt: skip


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


def _rows(images: list[_Image], file: Path) -> dict[_Id, int]:
    """The row of each image by its id."""
    rows: dict[_Id, int] = {}
    for row, image in enumerate(images):
        first = images[rows.setdefault(image.id, row)]
        if first is not image:
            raise UserError(
                f"{file}: the images {first.file_name} and {image.file_name} both have the id "
                f"{image.id!r}: number them anew, for their annotations cannot be told apart"
            )
    return rows


def _owners(content: _Content, rows: dict[_Id, int], file: Path) -> tuple[NDArray[np.int64], int]:
    """For each annotation the row of its image, -1 without one; and how many have but a box."""
    decode = msgspec.json.Decoder(_Head).decode
    categories = {category.id for category in content.categories}
    owners, num_boxes = np.empty(len(content.annotations), np.int64), 0
    for number, annotation in enumerate(content.annotations):
        try:
            head = decode(annotation)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: entry {number} of 'annotations': {error}") from error
        owner = owners[number] = rows.get(head.image_id, -1)
        if owner < 0:
            _require_one_type(head.image_id, rows, f"{file}: entry {number} of 'annotations'")
        if categories and head.category_id is not None and head.category_id not in categories:
            known = ", ".join(repr(each) for each in list(categories)[:_SHOWN])
            raise UserError(
                f"{file}: entry {number} of 'annotations' has the category_id "
                f"{head.category_id!r}, which 'categories' does not list: it has {known}"
            )
        num_boxes += not head.iscrowd and len(memoryview(head.segmentation)) < _SHORTEST
    return owners, num_boxes


def _require_one_type(image_id: _Id, rows: dict[_Id, int], where: str) -> None:
    """Refuse the id of an image that is there as text but not as a number, or the other way."""
    other = next(iter(rows))
    if isinstance(image_id, str) != isinstance(other, str):
        raise UserError(
            f"{where} has the image_id {image_id!r}, but the ids of 'images' are such as {other!r}: "
            "write both as numbers or both as text"
        )


def _notes_of(owners: NDArray[np.int64], num_boxes: int, file: Path) -> list[str]:
    notes = []
    if num_boxes:
        notes.append(
            f"{num_boxes} of {len(owners)} annotations of {file} have no outline, only a box at "
            "most, and are left out: samtune prelabel makes masks for boxes"
        )
    if num_lost := int((owners < 0).sum()):
        notes.append(f"{num_lost} annotations of {file} are of images that it does not name")
    return notes


def _columns(columns: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(columns, dict):
        return ()
    return tuple((name, str(v)) for name, v in columns.items() if isinstance(v, str | int | float))


def _object_ids(annotations: list[dict[str, Any]]) -> list[int]:
    """The file's own ids, or 1..n where those do not fit a label map.

    `object_id`, which `samtune data convert` writes, goes before `id`.
    """
    ids = [annotation.get("object_id", annotation.get("id")) for annotation in annotations]
    is_usable = all(isinstance(i, int) and 0 < i <= _LARGEST_ID for i in ids)
    if is_usable and len(set(ids)) == len(ids):
        return [int(i) for i in ids if i is not None]
    return list(range(1, len(ids) + 1))


def _image_root(annotations: Path, split: str, file_name: str) -> Path:
    """The folder that the file names start from: beside the JSON, or one of the usual places."""
    folder = annotations.parent
    words = words_for(split)
    names = [*words, *(f"{w}2017" for w in words), "images", *(f"images/{w}" for w in words)]
    places = [folder, *(base / n for base in (folder, folder.parent) for n in names), folder.parent]
    for place in places:
        if is_file(place / file_name):
            return place
    raise UserError(
        f"the image {file_name} of {annotations} was not found under {folder} or {folder.parent}"
    )

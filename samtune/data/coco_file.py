"""One COCO annotation file: its images and categories, and where each annotation lies in it.

Only the places of annotations are kept, so that millions of objects fit in memory.
Format: https://cocodataset.org/#format-data
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from samtune.data.coco_annotations import Mark, is_marked
from samtune.data.json_index import Buffer, decode_json, first_character
from samtune.data.left_out import LeftOut
from samtune.errors import UserError

# The bytes of the shortest outline.
_SHORTEST = 8
_SHOWN = 10
Id = int | float | str | None


class Image(msgspec.Struct):
    """An image as the file names it; `Coco` says what samtune's own fields mean."""

    id: Id
    file_name: str = ""
    coco_url: str = ""
    height: int | float | None = None
    width: int | float | None = None
    sample_id: Id = None
    group: Any = None
    columns: Any = None
    part: Any = None


class Category(msgspec.Struct):
    """A category: its name may be any value, which is taken as text."""

    id: Id
    name: Any


class Content(msgspec.Struct):
    """What of a file is read at once; annotations are decoded when their image is asked for."""

    images: list[Image]
    annotations: list[msgspec.Raw]
    categories: list[Category] = []


class _Head(msgspec.Struct):
    """Of an annotation, what is known before it is asked for."""

    image_id: Id
    category_id: Id = None
    iscrowd: Any = 0
    ignore: Any = 0
    segmentation: msgspec.Raw = msgspec.Raw()
    attributes: Any = None


def read_coco(file: Path) -> tuple[Content, Buffer]:
    """Parse a file; its annotations stay as they are written, in the bytes that come with them.

    Raises:
        UserError: it is not COCO, or names no images, or one without a name.
    """
    try:
        content, buffer = decode_json(file, Content)
    except msgspec.ValidationError as error:
        raise UserError(
            f"{file} is not COCO: it lacks something or has it in another form: {error}"
        ) from error
    if not content.images:
        raise UserError(f"{file} names no images")
    for image in content.images:
        image.file_name = image.file_name or image.coco_url  # of LVIS
        if not image.file_name:
            raise UserError(f"{file}: the image {image.id} has no file_name")
    return content, buffer


def class_names(categories: list[Category], file: Path) -> dict[Id, str]:
    """Names of categories by their ids.

    Raises:
        UserError: two have one id.
    """
    names: dict[Id, str] = {}
    for category in categories:
        first = names.setdefault(category.id, str(category.name))
        if first != str(category.name):
            raise UserError(
                f"{file}: the categories {first} and {category.name} both have the id {category.id!r}: "
                "number them anew, for their annotations cannot be told apart"
            )
    return names


def rows_by_id(images: list[Image], file: Path) -> dict[Id, int]:
    """The row of each image by its id.

    Raises:
        UserError: two have one id.
    """
    rows: dict[Id, int] = {}
    for row, image in enumerate(images):
        first = images[rows.setdefault(image.id, row)]
        if first is not image:
            raise UserError(
                f"{file}: the images {first.file_name} and {image.file_name} both have the id "
                f"{image.id!r}: number them anew, for their annotations cannot be told apart"
            )
    return rows


def owners_of(
    content: Content, rows: dict[Id, int], file: Path, left_out: LeftOut
) -> tuple[NDArray[np.int64], list[Mark]]:
    """For each annotation the row of its image, -1 without one; and those marked as crowds.

    What else is no object is counted.

    Raises:
        UserError: an entry has another form, the id of an image of another type, or a category that
            the file does not list.
    """
    decode = msgspec.json.Decoder(_Head).decode
    categories = {category.id for category in content.categories}
    owners, marks = np.empty(len(content.annotations), np.int64), list[Mark]()
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
        if head.ignore and is_marked(head.ignore):
            left_out.add("annotation", "with ignore 1", number)
        elif head.iscrowd and is_marked(head.iscrowd):
            has_attributes = isinstance(head.attributes, dict)
            marks.append(Mark(head.image_id, head.category_id, has_attributes))
        elif len(memoryview(head.segmentation)) < _SHORTEST:
            left_out.add(
                "annotation",
                "without an outline, with a box at most (samtune prelabel makes masks for boxes)",
            )
    return owners, marks


def _require_one_type(image_id: Id, rows: dict[Id, int], where: str) -> None:
    """Refuse the id of an image that is there as text but not as a number, or the other way."""
    other = next(iter(rows))
    if isinstance(image_id, str) != isinstance(other, str):
        raise UserError(
            f"{where} has the image_id {image_id!r}, but the ids of 'images' are such as {other!r}: "
            "write both as numbers or both as text"
        )


def holds_images(file: Path) -> bool:
    """Whether a JSON file holds images and annotations; of a damaged one whoever reads it says so."""
    try:
        decode_json(file, Content)
    except msgspec.ValidationError:
        return False
    except UserError:
        return first_character(file) == "{"
    return True

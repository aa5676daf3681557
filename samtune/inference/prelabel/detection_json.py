"""Detections in JSON: COCO's results, or a whole COCO file with boxes or keypoints.

Formats: https://cocodataset.org/#format-results, https://cocodataset.org/#format-data.
"""

from pathlib import Path
from typing import Any

from samtune.data.coco_annotations import is_marked, marked_are_objects, marks_of
from samtune.errors import UserError
from samtune.inference.prelabel.detections import (
    Detection,
    Detections,
    Numbers,
    RowError,
    box_of_size,
    finite_numbers,
    score_of,
)
from samtune.parsing import read_json

UNNAMED = "object"


def read_json_detections(file: Path, images_json: Path | None, min_score: float) -> Detections:
    """Read a list of results, or images with annotations.

    Args:
        file: the detections.
        images_json: a COCO file whose `images` (and `categories`) the ids of results refer to.
        min_score: detections with a lower score are left out.

    Raises:
        UserError: the file is neither, or holds nothing.
    """
    content = read_json(file)
    entries, index = content, {}
    if isinstance(content, dict):
        entries, index = content.get("annotations"), content
    if images_json is not None:
        index = read_json(images_json)
        if not isinstance(index, dict) or not isinstance(index.get("images"), list):
            raise UserError(f"{images_json} names no images: expected a COCO file with 'images'")
    if not isinstance(entries, list) or not entries:
        raise UserError(
            f"{file} holds no detections: expected COCO's results (a list of bbox, category_id, score "
            "and image_id or file_name), or a COCO file with images and annotations"
        )
    found, categories = Detections(), _categories(index)
    names = _image_names(index, found)
    numbers = _numbers(entries)
    marks = marks_of(entry for entry in entries if isinstance(entry, dict))
    with_marked = marked_are_objects(marks, len(entries), "auto")
    for place, entry in enumerate(entries):
        image = _image_name(entry, names)
        where = f"entry {place}" if isinstance(content, list) else f"annotation {numbers[place]}"
        try:
            detection = _detection(entry, numbers[place], where, image, categories, with_marked)
            found.keep(detection, min_score)
        except RowError as error:
            found.reject(where, image, error)
    found.categories = list(categories.values())
    return found


def _detection(
    entry: Any, number: int, where: str, image: str, categories: dict[int, dict[str, Any]],
    with_marked: bool,
) -> Detection:  # fmt: skip
    if not isinstance(entry, dict):
        raise RowError("no object of JSON", entry)
    if not image:
        raise RowError("names no image", {k: entry.get(k) for k in ("image_id", "file_name")})
    if is_marked(entry.get("iscrowd")) and not with_marked:
        raise RowError("a crowd's region, not an object")
    box, points = _shape(entry)
    score = score_of(entry.get("score"))
    category = _category(entry.get("category_id"), categories)
    return Detection(number, where, image, category, score, box, points)


def _shape(entry: dict[str, Any]) -> tuple[Numbers | None, tuple[Numbers, ...]]:
    """The box, or else the keypoints that are labelled."""
    if entry.get("bbox"):
        return box_of_size(*finite_numbers(entry["bbox"], (4,), "bbox")), ()
    keypoints = entry.get("keypoints")
    if not isinstance(keypoints, list) or not keypoints or len(keypoints) % 3:
        raise RowError("neither bbox nor keypoints")
    numbers = finite_numbers(keypoints, (len(keypoints),), "keypoints")
    labelled = [numbers[n : n + 2] for n in range(0, len(numbers), 3) if numbers[n + 2] > 0]
    if not labelled:
        raise RowError("no keypoint is labelled")
    return None, tuple(labelled)


def _category(value: Any, categories: dict[int, dict[str, Any]]) -> int:
    """The id of a class; one that the file does not name gets its number as a name."""
    if value is None:
        value = next((n for n, each in categories.items() if each["name"] == UNNAMED), None)
        if value is None:
            value = max(categories, default=0) + 1
            categories[value] = {"id": value, "name": UNNAMED}
    if not isinstance(value, int) or isinstance(value, bool):
        raise RowError("category_id is no whole number", value)
    categories.setdefault(value, {"id": value, "name": str(value)})
    return value


def _categories(index: dict[str, Any]) -> dict[int, dict[str, Any]]:
    entries = index.get("categories")
    found = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("id"), int):
            category = {"id": entry["id"], "name": _text(entry.get("name", entry["id"]))}
            if "supercategory" in entry:
                category["supercategory"] = _text(entry["supercategory"])
            found[entry["id"]] = category
    return found


def _text(value: Any) -> str:
    """As text that can be written; JSON can hold halves of characters."""
    return str(value).encode("utf-8", "replace").decode()


def _image_names(index: dict[str, Any], found: Detections) -> dict[int | str, str]:
    """Names of images by their ids; sizes and ids are noted."""
    names: dict[int | str, str] = {}
    entries = index.get("images")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            continue
        number, name = entry.get("id"), entry["file_name"]
        if isinstance(number, int | str):
            names[number] = name
        if isinstance(number, int):
            found.image_ids[name] = number
        height, width = entry.get("height"), entry.get("width")
        if isinstance(height, int) and isinstance(width, int) and height > 0 < width:
            found.image_hws[name] = height, width
    return names


def _image_name(entry: Any, names: dict[int | str, str]) -> str:
    """What an entry calls its image; where no ids have names, an id stands for itself."""
    if not isinstance(entry, dict):
        return ""
    if isinstance(entry.get("file_name"), str):
        return str(entry["file_name"])
    number = entry.get("image_id")
    if not isinstance(number, int | str):
        return ""
    return names.get(number, f"image_id {number}" if names else str(number))


def _numbers(entries: list[Any]) -> list[int]:
    """The file's own ids, or 1..n where they are not all there and different."""
    ids = [entry.get("id") if isinstance(entry, dict) else None for entry in entries]
    numbers = [n for n in ids if isinstance(n, int) and not isinstance(n, bool) and n > 0]
    is_usable = len(numbers) == len(set(numbers)) == len(entries)
    return numbers if is_usable else list(range(1, len(entries) + 1))

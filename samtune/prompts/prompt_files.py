"""Prompts from files: our own JSON, or the boxes of a COCO file.

JSON: a list of objects, each `{"image": "a.png", "box": [x0, y0, x1, y1]}` or with
`"points": [[x, y], ...]` and, if some are negative, `"labels": [1, 0, ...]`; box and points may
stand together; `"name"` is optional, and so is `"id"`, the object's number in the ground truth that an
evaluation is to measure the prompt against. Objects of volumes have `"slice"` in place of `"image"`
(`inference/volumes/seeds.py`). All in pixels of the original image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from samtune.errors import UserError
from samtune.parsing import read_json
from samtune.types import Prompt
from samtune.wording import counted


@dataclass(frozen=True)
class PromptedImage:
    """An image and the objects to segment in it.

    Attributes:
        path: the image file.
        prompts: one for each object, original frame.
        names: of the objects.
        object_ids: in the ground truth, as far as the file tells.
    """

    path: Path
    prompts: list[Prompt]
    names: list[str]
    object_ids: list[int | None] = field(default_factory=list)


def read_prompts(file: Path, images: list[Path]) -> list[PromptedImage]:
    """Read a JSON or COCO file of prompts.

    Args:
        file: the file.
        images: where the named images are: files (matched by name) or folders; without any, names
            are taken relative to the file.

    Raises:
        UserError: the file is malformed, or names an image that is not there.
    """
    content = read_json(file)
    is_coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
    entries = _coco_entries(content, file) if is_coco else content
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{file} holds no prompts: expected a list of objects, or COCO")
    grouped: dict[Path, PromptedImage] = {}
    for number, entry in enumerate(entries):
        where = f"{file}, entry {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise UserError(f"{where}: expected an object with 'image'")
        path = _find_image(entry["image"], file, images)
        image = grouped.setdefault(path, PromptedImage(path, [], []))
        image.prompts.append(build_prompt(entry.get("points"), entry.get("labels"),
                                          entry.get("box"), where))  # fmt: skip
        image.names.append(str(entry.get("name", len(image.prompts))))
        image.object_ids.append(_object_id(entry, where))
    return list(grouped.values())


def _object_id(entry: dict[str, Any], where: str) -> int | None:
    if "object" in entry:
        raise UserError(f"{where}: 'object' is called 'id' now: rename it")
    value = entry.get("id")
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise UserError(f"{where}: 'id' is {value!r}: give the object's id, a whole number")


def build_prompt(points: Any, labels: Any, box: Any, where: str) -> Prompt:
    """Make a prompt of plain numbers.

    Args:
        points: list of [x, y], or `None`.
        labels: one for each point; `None` makes them positive.
        box: [x0, y0, x1, y1], or `None`.
        where: begins the message of an error.

    Raises:
        UserError: the numbers do not make a prompt.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large is infinite then, and refused
            coords = None if points is None else np.asarray(points, np.float32).reshape(-1, 2)
            corners = None if box is None else np.asarray(box, np.float32).reshape(4)
        if coords is not None and labels is None:
            labels = [1] * len(coords)
        marks = None if coords is None else np.asarray(labels, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        given = box if points is None else points if box is None else [points, box]
        raise UserError(
            f"{where}: found {given}; points are [[x, y], ...], a box is [x0, y0, x1, y1]"
        ) from error
    if not all(part is None or np.isfinite(part).all() for part in (coords, corners)):
        given = [part.tolist() for part in (coords, corners) if part is not None]
        raise UserError(f"{where}: {given} are not all finite numbers: give pixels of the image")
    if coords is None and corners is None:
        raise UserError(f"{where}: there is neither 'points' nor 'box'")
    if coords is not None and not len(coords) and corners is None:
        raise UserError(f"{where}: 'points' is empty")
    if marks is not None and not np.isin(marks, (0, 1)).all():
        raise UserError(f"{where}: labels are 1 (in the object) and 0 (outside it)")
    if marks is not None and coords is not None and marks.shape != (len(coords),):
        raise UserError(
            f"{where}: {counted(len(coords), 'point')}, but {counted(marks.size, 'label')}"
        )
    if corners is not None and not (corners[0] <= corners[2] and corners[1] <= corners[3]):
        raise UserError(
            f"{where}: the box {corners.tolist()} is not x0,y0,x1,y1 with x0 <= x1 and y0 <= y1"
        )
    return Prompt(coords, None if marks is None else marks.astype(np.int64), corners)


def prompt_of_points(points: Sequence[Sequence[float]], where: str) -> Prompt:
    """The prompt of points x, y or x, y, label; without a label they are of the object.

    Raises:
        UserError: the numbers do not make a prompt.
    """
    if any(len(point) not in (2, 3) for point in points):
        raise UserError(f"{where}: a point is X,Y or X,Y,LABEL")
    labels = [point[2] if len(point) == 3 else 1 for point in points]
    return build_prompt([list(point[:2]) for point in points], labels, None, where)


def _coco_entries(content: dict[str, Any], file: Path) -> list[dict[str, Any]]:
    """COCO boxes (x, y, width, height) as entries with inclusive corners."""
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        classes = {c["id"]: c["name"] for c in content.get("categories", [])}
        annotations = list(content["annotations"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{file} is no COCO file: {error} in images or categories") from error
    entries = []
    for number, annotation in enumerate(annotations):
        try:
            image, box = names[annotation["image_id"]], annotation["bbox"]
            x, y, width, height = (float(value) for value in box)
            class_name = classes.get(annotation.get("category_id"), "")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            name = annotation.get("id", number) if isinstance(annotation, dict) else number
            raise UserError(
                f"{file}: annotation {name} has no bbox or no known image_id, or a category_id that is "
                "none; a bbox is four numbers"
            ) from error
        entries.append(
            {
                "image": image,
                "box": [x, y, x + max(width - 1, 0), y + max(height - 1, 0)],
                "name": class_name,
            }
        )
    return entries


def _find_image(name: str, file: Path, images: list[Path]) -> Path:
    places = [p / name if p.is_dir() else p for p in images] or [file.parent / name]
    for place in places:
        if place.is_file() and place.name == Path(name).name:
            return place
    raise UserError(f"{file} names the image {name}, which is not among those given")

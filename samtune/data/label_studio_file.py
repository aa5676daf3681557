"""Label Studio's JSON: which annotation of a task counts, its images, and which results are of which.

A task has one image, several (T1 and T2 of one slice), or pages. A result names the image that it is of
by `to_name`, the name of an `Image` tag; which key of the task's data that tag shows stands in the
project's labelling configuration alone, which an export does not hold. So the names are compared, or
the configuration is read where somebody has put it beside the file. Pages are told by `item_index`.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from samtune.data.left_out import LeftOut
from samtune.errors import UserError
from samtune.images.kinds import IMAGE_SUFFIXES
from samtune.parsing import read_xml

AREAS = ("polygon", "rectangle", "ellipse", "brush", "magicwand", "bitmask")
# What a result may be besides a shape.
_NO_SHAPES = (
    "", "choices", "taxonomy", "textarea", "rating", "number", "datetime", "labels", "pairwise",
    "ranker", "relation",
)  # fmt: skip
_SHOWN = re.compile(r"\$(\w+)")
_NUMBER = re.compile(r"\d+$")


class Annotation(msgspec.Struct):
    """What one annotator made of a task."""

    result: msgspec.Raw
    was_cancelled: bool | None = False
    ground_truth: bool | None = False


class Task(msgspec.Struct):
    """A row of the project."""

    data: dict[str, Any]
    annotations: list[Annotation]
    id: int | str | None = None
    predictions: Any = None


class Head(msgspec.Struct):
    """Of a result, what says which image it is of."""

    type: Any = None
    to_name: Any = None
    item_index: Any = None

    @property
    def kind(self) -> str:
        """`polygon`, `brush`, `choices`, ..."""
        name = str(self.type or "").lower()
        return name if name == "labels" else name.removesuffix("labels")


@dataclass(frozen=True)
class Link:
    """An image that a task names.

    Attributes:
        key: of the task's data.
        page: its place in a list of pages; `None` for an image alone.
        text: a path or an address.
    """

    key: str
    page: int | None
    text: str


def choose_annotations(tasks: Iterable[Task], left_out: LeftOut) -> list[tuple[Task, Annotation]]:
    """Of each task the annotation that is starred, or else the first; those skipped do not count."""
    chosen = []
    for task in tasks:
        counting = [each for each in task.annotations if not each.was_cancelled]
        if not counting:
            why = "marked as skipped" if task.annotations else "without an annotation"
            also = " (but predictions)" if task.predictions else ""
            left_out.add("task", f"{why}{also}", f"task {task.id}")
            continue
        starred = (each for each in counting if each.ground_truth)
        chosen.append((task, next(starred, counting[0])))
        left_out.add(
            "further annotation", "of tasks that have several (the starred one is read, or the first)",
            f"one of task {task.id}", len(counting) - 1,
        )  # fmt: skip
    return chosen


def heads_of(results: msgspec.Raw) -> list[Head]:
    """Of damaged results none, for they are named when they are read."""
    try:
        return msgspec.json.decode(results, type=list[Head])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def count_no_areas(heads: Iterable[Head], task: Task, left_out: LeftOut) -> None:
    """Count shapes without an area."""
    for head in heads:
        if head.kind not in (*AREAS, *_NO_SHAPES):
            left_out.add("result", f"without an area, of the kind {head.kind},", f"task {task.id}")


def links_of(task: Task) -> list[Link]:
    """All images that a task names; one called `image` first."""
    found = [link for key, value in task.data.items() for link in _links_in(key, value)]
    return sorted(found, key=lambda link: link.key != "image")


def _links_in(key: str, value: Any) -> list[Link]:
    if isinstance(value, str):
        return [Link(key, None, value)] if _is_image(value) else []
    pages = value if isinstance(value, list) else []
    texts = [next((t for t in _texts(page) if _is_image(t)), "") for page in pages]
    return [Link(key, number, text) for number, text in enumerate(texts) if text]


def _texts(page: Any) -> list[str]:
    values = page.values() if isinstance(page, dict) else [page]
    return [value for value in values if isinstance(value, str)]


def _is_image(link: str) -> bool:
    return path_in(link).lower().endswith(IMAGE_SUFFIXES)


def path_in(link: str) -> str:
    """The path in a link, such as /data/upload/7/0a1b2c3d-name.png; empty without one.

    Links that Label Studio makes for clouds (/tasks/7/presign/?fileuri=...) hold it in base64.
    """
    try:
        parts = urlsplit(link)
        asked = parse_qs(parts.query)
        if parts.path.endswith("/local-files/") and "d" in asked:
            return asked["d"][0]
        if "fileuri" in asked:
            return unquote(urlsplit(base64.b64decode(asked["fileuri"][0]).decode()).path)
    except ValueError:
        return ""
    return unquote(parts.path)


def keys_of_names(names: Iterable[str], keys: Iterable[str], file: Path) -> dict[str, str]:
    """The key of the data that each `to_name` shows.

    Args:
        names: that results have.
        keys: that images lie under, one called `image` first.
        file: the export.

    Raises:
        UserError: it cannot be told.
    """
    known, told = dict.fromkeys(keys), _configured(file.parent)
    found = {name: told[name] for name in names if told.get(name) in known}
    rest = [name for name in dict.fromkeys(names) if name not in found]
    if len(known) == 1:
        return found | dict.fromkeys(rest, next(iter(known)))
    for name in rest:
        key = _key_like(name, list(known))
        if key is None and len(rest) == 1 and "image" in known:
            key = "image"
        if key is None or key in found.values():
            raise UserError(
                f"{file}: tasks have images under {', '.join(known)}, and which of them results of "
                f"'{name}' are of cannot be told: put the project's labelling configuration (Settings, "
                f"Labeling Interface, Code) beside it as {file.parent / 'config.xml'}"
            )
        found[name] = key
    return found


def _key_like(name: str, keys: list[str]) -> str | None:
    """The one key that a name is, or holds, or is part of, or shares its last number with."""
    small = name.lower()
    tests = (
        lambda key: key == small,
        lambda key: key in small or small in key,
        lambda key: _end_of(small) and _end_of(small) == _end_of(key),
    )
    for test in tests:
        fitting = [key for key in keys if test(key.lower())]
        longest = [key for key in fitting if len(key) == max(map(len, fitting))]
        if len(longest) == 1:
            return longest[0]
    return None


def _end_of(name: str) -> str:
    """The number that a name ends with; empty without one."""
    number = _NUMBER.search(name)
    return number[0] if number else ""


def _configured(folder: Path) -> dict[str, str]:
    """Keys by the names of the Image tags of a labelling configuration in a folder."""
    file = folder / "config.xml"
    if not file.is_file():
        return {}
    shown = {
        tag.get("name", ""): _SHOWN.search(tag.get("value") or tag.get("valueList") or "")
        for tag in read_xml(file).iter()
        if tag.tag.lower() == "image"
    }
    return {name: key[1] for name, key in shown.items() if key}


def page_of(index: Any, name: Any, num_pages: int) -> int:
    """The page that a result is of: by its index, or by the number that its image's name ends with.

    Args:
        index: the result's `item_index`.
        name: its `to_name`: a Repeater calls the images of its pages page_0, page_1, ...
        num_pages: of the task.
    """
    if isinstance(index, int):
        return index
    number = _end_of(str(name or ""))
    return int(number) if num_pages > 1 and number else 0

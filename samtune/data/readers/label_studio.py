"""Label Studio's JSON export: a list of tasks, each of images with the results of its annotators.

PATH/NAME.json      polygons, rectangles and ellipses (turned or not) in percent; brush strokes, areas
                    of the magic wand, and bitmasks
PATH/images/...     the images under their own names; or beside the JSON
PATH/config.xml     optional: the labelling configuration, where names do not tell which of the
                    several images of a task a result is of

Of each task the starred annotation is read (ground truth), or else the first that was not skipped.
Images of one task, and its pages, belong together. What is not read, such as key points and tasks
without an annotation, is counted.
What else a task's `data` holds becomes columns, so that `split` or `patient` can be named there.
Formats: https://labelstud.io/guide/export, https://labelstud.io/tags/brushlabels,
https://labelstud.io/tags/bitmasklabels
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from samtune.data.annotation_shapes import (
    Points,
    box_corners,
    ellipse_corners,
    fill,
    rotated,
)
from samtune.data.brush_code import decode_bitmask, decode_brush
from samtune.data.json_index import decode_json, find_spans, first_character, read_spans
from samtune.data.label_studio_file import (
    AREAS,
    Annotation,
    Link,
    Task,
    choose_annotations,
    count_no_areas,
    heads_of,
    keys_of_names,
    links_of,
    page_of,
    path_in,
)
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.objects import number_objects
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.errors import UserError
from samtune.files import ends_of, files_ending, find_file, is_file, plain_parts
from samtune.types import MaskArray

_Plain = str | int | float
# What Label Studio puts before the name of a file that is uploaded.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


@dataclass(frozen=True)
class _Picture:
    """An image of a task, and which results are of it: of these names, on this page.

    Attributes:
        results: number of its task's annotation.
        link: as the task names it.
        path: where it is, or is to be put.
        names: that results of it have as `to_name`; empty where no result of any task has one.
        num_pages: images of its task.
    """

    results: int
    link: Link
    path: Path
    names: tuple[str, ...]
    num_pages: int


class LabelStudio(Reader):
    """Images and results of a Label Studio export.

    Args:
        path: the JSON file, or a folder that holds one.
        settings: how to read.

    Raises:
        UserError: the file is no such export, has no annotation, or none of its images is there.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.settings = settings or SourceSettings()
        self.file = path if path.is_file() else label_studio_file(path) or path / "*.json"
        try:
            tasks, buffer = decode_json(self.file, list[Task])
        except msgspec.ValidationError as error:
            raise UserError(
                f"{self.file} is no export of Label Studio: {error} (export as 'JSON', not 'JSON-MIN')"
            ) from error
        self._left_out = LeftOut()
        chosen = choose_annotations(tasks, self._left_out)
        if not chosen:
            raise UserError(f"{self.file} has no task with an annotation")
        self._spans = find_spans([annotation.result for _, annotation in chosen], buffer)
        self._pictures = self._find_pictures(chosen)
        if not any(is_file(each.path) for each in self._pictures):
            raise UserError(self._not_found(0))
        self.records = self._records([task for task, _ in chosen])

    def _find_pictures(self, chosen: list[tuple[Task, Annotation]]) -> list[_Picture]:
        """The images that results are of."""
        heads = [heads_of(annotation.result) for _, annotation in chosen]
        links = [links_of(task) for task, _ in chosen]
        names = [str(h.to_name) for its in heads for h in its if h.kind in AREAS]
        keys = [link.key for its in links for link in its]
        keys.sort(key=lambda key: key != "image")
        by_name = keys_of_names(names, keys, self.file) if keys else {}
        shown = set(by_name.values()) or set(keys[:1])
        pictures = []
        for number, (task, _) in enumerate(chosen):
            its = [link for link in links[number] if link.key in shown]
            if not its:
                raise UserError(f"{self.file}: task {task.id} has no image among its data")
            count_no_areas(heads[number], task, self._left_out)
            for link in its:
                own = tuple(name for name, key in by_name.items() if key == link.key)
                path = _find_image(link, self.file)
                pictures.append(_Picture(number, link, path, own, len(its)))
            pages = {link.page for link in its}
            if None not in pages:
                for head in heads[number]:
                    place = page_of(head.item_index, head.to_name, len(its))
                    if head.kind in AREAS and place not in pages:
                        self._left_out.add("result", "of a page that its task lacks", place)
        return pictures

    def _records(self, tasks: list[Task]) -> list[Record]:
        manifest = Manifest(self.file.parent)
        times = Counter(each.path for each in self._pictures)
        images = Counter(each.results for each in self._pictures)
        records = []
        for each in self._pictures:
            task = tasks[each.results]
            columns = {
                key: str(value)
                for key, value in task.data.items()
                if isinstance(value, _Plain) and key != each.link.key
            }
            columns |= manifest.row(each.path.stem, each.path)
            name = each.path.relative_to(self.file.parent).as_posix().removeprefix("images/")
            records.append(
                Record(
                    name if times[each.path] == 1 else f"{task.id}/{name}", each.path,
                    columns.get("split", ""),
                    f"task {task.id}" if images[each.results] > 1 else "",
                    tuple(columns.items()),
                )
            )  # fmt: skip
        return records

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() == ".json" and first_character(path) == "["
        return label_studio_file(path) is not None

    @property
    def notes(self) -> list[str]:
        return self._left_out.notes(self.file)

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        if not is_file(record.path):
            raise UserError(self._not_found(index))
        image = settings.reading.read(record.path)
        hw = (image.shape[0], image.shape[1])
        picture = self._pictures[index]
        (results,) = read_spans(self.file, [self._spans[picture.results].tolist()])
        objects = _objects(results, hw, f"{self.file}, {record.path.name}", picture)
        return image, *number_objects(objects, hw)

    def _not_found(self, index: int) -> str:
        picture, folder = self._pictures[index], self.file.parent
        return (
            f"the image {picture.link.text} of {self.file} is not there: put {picture.path.name} "
            f"beside the file or into {folder / 'images'}"
        )


def label_studio_file(folder: Path) -> Path | None:
    """The one JSON file of a folder that is a list; `None` if there is none, or are several."""
    files = [file for file in files_ending(folder, ".json") if first_character(file) == "["]
    return files[0] if len(files) == 1 else None


def _find_image(link: Link, file: Path) -> Path:
    """Where an image is, or is to be put: the longest end of its link that is a file here."""
    *folders, name = plain_parts(path_in(link.text))
    names = dict.fromkeys((name, _UPLOADED.sub("", name)))
    ends = [(*end[:-1], each) for end in ends_of((*folders, name)) for each in names]
    places = [(*base, *end) for end in ends for base in ((), ("images",))]
    expected = file.parent / "images" / list(names)[-1]
    return find_file(file.parent, places) or expected


def _objects(
    results: Any, hw: tuple[int, int], where: str, picture: _Picture
) -> list[tuple[str, MaskArray]]:
    """(label, mask) of each result of an image that is an area; choices and texts are none."""
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise UserError(f"{where}: 'result' is no list of results")
    apart = {r.get("id"): r["value"].get("labels") for r in results if _type(r) == "labels"}
    found = []
    for number, result in enumerate(results):
        kind = _type(result).removesuffix("labels")
        if not _is_of(result, picture):
            continue
        if kind in AREAS:
            names = result["value"].get(f"{kind}labels") or apart.get(result.get("id")) or [""]
            name = ", ".join(map(str, names)) if isinstance(names, list) else str(names)
            found.append((name, _mask(kind, result, hw, f"{where}, result {number}")))
    return found


def _is_of(result: dict[str, Any], picture: _Picture) -> bool:
    """Whether a result is of an image, and not of another one of its task."""
    names, page = picture.names, picture.link.page
    if names and str(result.get("to_name")) not in names:
        return False
    place = page_of(result.get("item_index"), result.get("to_name"), picture.num_pages)
    return page is None or place == page


def _type(result: dict[str, Any]) -> str:
    """The type of a result that has a value; empty for others."""
    return str(result.get("type")).lower() if isinstance(result.get("value"), dict) else ""


def _mask(kind: str, result: dict[str, Any], hw: tuple[int, int], where: str) -> MaskArray:
    said = (result.get("original_height", hw[0]), result.get("original_width", hw[1]))
    if said != hw:
        raise UserError(
            f"{where} was drawn on {said[1]}x{said[0]} pixels, but the image is {hw[1]}x{hw[0]}"
        )
    if result.get("image_rotation"):
        raise UserError(f"{where} was drawn on an image turned in Label Studio: turn it back there")
    try:
        if kind in ("brush", "magicwand"):
            return decode_brush(result["value"]["rle"], hw)
        if kind == "bitmask":
            return decode_bitmask(result["value"]["imageDataURL"], hw)
        corners = _corners(kind, result["value"], hw)
    except KeyError as error:
        raise UserError(f"{where} lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where} is damaged: {error}") from error
    return fill(corners, hw, where)


def _corners(kind: str, value: dict[str, Any], hw: tuple[int, int]) -> Points:
    """Corners in pixels; a rectangle turns about its first corner, an ellipse about its centre."""
    share = np.array([hw[1], hw[0]]) / 100
    if kind == "polygon":
        return np.asarray(np.array(value["points"], np.float64).reshape(-1, 2) * share)
    x, y = (float(side) for side in np.array([value["x"], value["y"]], np.float64) * share)
    sides = ("width", "height") if kind == "rectangle" else ("radiusX", "radiusY")
    a, b = (float(side) for side in np.array([value[name] for name in sides], np.float64) * share)
    shape = box_corners(x, y, x + a, y + b) if kind == "rectangle" else ellipse_corners(x, y, a, b)
    return rotated(shape, float(value.get("rotation") or 0), (x, y))

"""Label Studio's JSON export: a list of tasks, each an image with the results of its annotators.

PATH/NAME.json      polygons, rectangles and ellipses (turned or not) in percent, and brush strokes
PATH/images/...     the images under their own names; or beside the JSON

Of each task the first annotation that was not cancelled is taken; tasks without one are left out, and
so are results that have no area, such as key points.
What else a task's `data` holds becomes columns, so that `split` or `patient` can be named there.
Formats: https://labelstud.io/guide/export, https://labelstud.io/tags/brushlabels
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import numpy as np

from samtune.data.annotation_shapes import (
    Points,
    box_corners,
    ellipse_corners,
    fill,
    rotated,
    told_as_left_out,
)
from samtune.data.json_index import decode_json, find_spans, first_character, read_spans
from samtune.data.manifest import Manifest
from samtune.data.objects import number_objects
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.errors import UserError
from samtune.files import find_file, is_file, plain_parts
from samtune.images.pixels import IMAGE_SUFFIXES
from samtune.types import MaskArray

_AREAS = ("polygon", "rectangle", "ellipse", "brush")
_Plain = str | int | float
_NO_AREAS = ("keypoint", "vector", "cuboid")
_OTHERS = ("bitmask",)
# What Label Studio puts before the name of a file that is uploaded.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


class _Annotation(msgspec.Struct):
    result: msgspec.Raw
    was_cancelled: bool | None = False


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[_Annotation]
    id: int | str | None = None


class _Result(msgspec.Struct):
    type: Any = None


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
            tasks, buffer = decode_json(self.file, list[_Task])
        except msgspec.ValidationError as error:
            raise UserError(
                f"{self.file} is no export of Label Studio: {error} (export as 'JSON', not 'JSON-MIN')"
            ) from error
        chosen = [(task, annotation) for task in tasks if (annotation := _choose(task))]
        if not chosen:
            raise UserError(f"{self.file} has no task with an annotation")
        self._spans = find_spans([annotation.result for _, annotation in chosen], buffer)
        self._left_out = Counter(
            k for _, annotation in chosen for k in _no_areas(annotation.result)
        )
        self._images = [_find_image(task, self.file) for task, _ in chosen]
        if not any(is_file(image) for _, image in self._images):
            raise UserError(self._not_found(0))
        manifest = Manifest(self.file.parent)
        times = Counter(image for _, image in self._images)
        self.records: list[Record] = []
        for (task, _), (link, image) in zip(chosen, self._images, strict=True):
            columns = {
                k: str(v) for k, v in task.data.items() if isinstance(v, _Plain) and v != link
            }
            columns |= manifest.row(image.stem, image)
            name = image.relative_to(self.file.parent).as_posix().removeprefix("images/")
            self.records.append(
                Record(
                    name if times[image] == 1 else f"{task.id}/{name}", image,
                    columns.get("split", ""), columns=tuple(columns.items()),
                )
            )  # fmt: skip

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() == ".json" and first_character(path) == "["
        return label_studio_file(path) is not None

    @property
    def notes(self) -> list[str]:
        return told_as_left_out(self._left_out, self.file)

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        if not is_file(record.path):
            raise UserError(self._not_found(index))
        image = settings.reading.read(record.path)
        hw = (image.shape[0], image.shape[1])
        (results,) = read_spans(self.file, [self._spans[index].tolist()])
        objects = _objects(results, hw, f"{self.file}, {record.path.name}")
        return image, *number_objects(objects, hw)

    def _not_found(self, index: int) -> str:
        link, image = self._images[index]
        folder = self.file.parent
        return (
            f"the image {link} of {self.file} is not there: put {image.name} beside the file or "
            f"into {folder / 'images'}"
        )


def label_studio_file(folder: Path) -> Path | None:
    """The one JSON file of a folder that is a list; `None` if there is none, or are several."""
    files = [file for file in folder.glob("*.json") if first_character(file) == "["]
    return files[0] if len(files) == 1 else None


def _choose(task: _Task) -> _Annotation | None:
    return next((each for each in task.annotations if not each.was_cancelled), None)


def _no_areas(results: msgspec.Raw) -> list[str]:
    """Kinds of results without an area; of damaged ones none, for they are named when read."""
    try:
        found = msgspec.json.decode(results, type=list[_Result])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    kinds = (str(each.type).lower().removesuffix("labels") for each in found)
    return [kind for kind in kinds if kind in _NO_AREAS]


def _find_image(task: _Task, file: Path) -> tuple[str, Path]:
    """A task's link to its image, and where that is, or is to be put.

    A link is a path (`/data/upload/7/0a1b2c3d-name.png`, `/data/local-files/?d=folder/name.png`) or
    an address; the longest end of it that is a file here is taken.
    """
    links = [v for v in (task.data.get("image"), *task.data.values()) if isinstance(v, str)]
    paths = [(link, _path_in(link)) for link in links]
    fitting = [pair for pair in paths if pair[1].lower().endswith(IMAGE_SUFFIXES)]
    if not fitting:
        raise UserError(f"{file}: task {task.id} has no image among its data")
    link, path = fitting[0]
    *folders, name = plain_parts(path)
    names = dict.fromkeys((name, _UPLOADED.sub("", name)))
    ends = [(*folders[n:], each) for n in range(len(folders) + 1) for each in names]
    places = [(*base, *end) for end in ends for base in ((), ("images",))]
    expected = file.parent / "images" / list(names)[-1]
    return link, find_file(file.parent, places) or expected


def _path_in(link: str) -> str:
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    local = parse_qs(parts.query).get("d") if parts.path.endswith("/local-files/") else None
    return local[0] if local else unquote(parts.path)


def _objects(results: Any, hw: tuple[int, int], where: str) -> list[tuple[str, MaskArray]]:
    """(label, mask) of each result that is an area; choices, texts and relations are none."""
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise UserError(f"{where}: 'result' is no list of results")
    apart = {r.get("id"): r["value"].get("labels") for r in results if _type(r) == "labels"}
    found = []
    for number, result in enumerate(results):
        kind = _type(result).removesuffix("labels")
        if kind in _OTHERS:
            raise UserError(f"{where}, result {number} is a {kind}: expected {', '.join(_AREAS)}")
        if kind in _AREAS:
            names = result["value"].get(f"{kind}labels") or apart.get(result.get("id")) or [""]
            name = str(names[0]) if isinstance(names, list) else str(names)
            found.append((name, _mask(kind, result, hw, f"{where}, result {number}")))
    return found


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
        if kind == "brush":
            return decode_brush(result["value"]["rle"], hw)
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


def decode_brush(code: list[int], hw: tuple[int, int]) -> MaskArray:
    """Where a brush stroke is not transparent, (H, W).

    The code is that of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack, a string
    of bits: 32 for the number of values, 5 for the bits of a value less 1, four times 4 for the bits of
    a length less 1. Then runs: a bit that says whether one value is repeated, 2 that choose among the
    four, the length less 1, and the value or values. Values are red, green, blue and alpha in turn.

    Raises:
        ValueError: it is damaged, or not of this size.
    """
    bits = np.unpackbits(np.array(code, np.uint8))
    place = 0

    def take(number: int) -> int:
        nonlocal place
        place += number
        if place > len(bits):
            raise ValueError("its run-length code is cut off")
        return int("".join(map(str, bits[place - number : place].tolist())), 2)

    total, width = take(32), take(5) + 1
    if total != 4 * hw[0] * hw[1]:
        raise ValueError(f"its run-length code is of {total} values, not {hw[1]}x{hw[0]}x4")
    lengths = [take(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, np.bool_), 0
    while done < total:
        is_run = take(1)
        end = done + take(lengths[take(2)]) + 1
        if end > total:
            raise ValueError("its run-length code is longer than it says")
        if is_run:
            values[done:end] = take(width) > 0
        else:
            number = width * (end - done)
            place += number
            if place > len(bits):
                raise ValueError("its run-length code is cut off")
            values[done:end] = bits[place - number : place].reshape(-1, width).any(axis=1)
        done = end
    return values.reshape(*hw, 4)[..., 3].copy()

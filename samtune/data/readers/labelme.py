"""labelme: a JSON file with shapes beside each image.

PATH/a.json     shapes with label, points and type (polygon, rectangle, circle, mask); those of one
                group_id are one object; a rectangle has two opposite corners, or all four
                (X-AnyLabeling), as what is turned has (rotation, oriented_rectangle, quadrilateral)
PATH/a.png      the image that `imagePath` names, beside the JSON or elsewhere in PATH; or only
                inside the JSON, as `imageData`

Points, lines and cuboids have no area; shapes whose labels the tools reserve (`__ignore__`,
`_background_`, X-AnyLabeling's `AUTOLABEL_ADD`, ...) are no objects: both are left out, and counted.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from samtune.data.annotation_shapes import (
    box_corners,
    ellipse_corners,
    fill,
    join_groups,
)
from samtune.data.json_index import decode_json
from samtune.data.label_maps import foreground
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.objects import number_objects
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import split_folders
from samtune.errors import UserError
from samtune.files import files_ending, find_called
from samtune.images.kinds import EncodedImage, ImageFile, is_picture
from samtune.images.labels import read_labels
from samtune.parsing import read_json
from samtune.types import MaskArray

_NO_AREAS = ("point", "line", "linestrip", "points", "cuboid")
# Least points of each shape; four corners make a rectangle that is turned.
_LEAST = {
    "polygon": 3, "rectangle": 2, "rotation": 3, "oriented_rectangle": 3, "quadrilateral": 3,
    "circle": 2, "mask": 1,
}  # fmt: skip
# Labels that mean something to the tools themselves: regions to ignore, background, prompts.
_RESERVED = re.compile(r"__.*__|_background_|AUTOLABEL_\w+")


class Labelme(Reader):
    """A folder of labelme's files; folders in it called `train`, `val`, `test` are splits.

    Args:
        path: the folder.
        settings: how to read.

    Raises:
        UserError: there are no such files.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.path, self.settings = path, settings or SourceSettings()
        self.files = labelme_files(path)
        if not self.files:
            raise UserError(f"{path} holds no JSON files of labelme")
        manifest, splits = Manifest(path), split_folders(path)
        self.records: list[Record] = []
        self._left_out = LeftOut()
        for file in self.files:
            prefix = f"{file.parent.name}/" if file.parent != path else ""
            split, content = splits.get(file.parent, ""), read_json(file)
            for shape in content["shapes"]:
                if isinstance(shape, dict) and (why := _why_left_out(shape)):
                    self._left_out.add("shape", why, file.name)
            image = _find_image(file, str(content.get("imagePath") or ""), path) or file
            self.records.append(
                manifest.record(f"{prefix}{file.stem}", image, split, name=file.stem)
            )

        self._left_out.add_all("image", "without a JSON file", self._without_json(path))
        self._left_out.add_all(
            "other JSON file", "(or in a folder that is no split)", _others(path, self.files)
        )

    def _without_json(self, path: Path) -> Iterator[str]:
        """Images where annotated ones lie, that no JSON names."""
        named = {record.path for record in self.records}
        for folder in sorted({each.parent for each in (*self.files, *named)}):
            for file in sorted(folder.iterdir()):
                if is_picture(file) and file not in named:
                    yield file.relative_to(path).as_posix()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and is_labelme_folder(path)

    @property
    def notes(self) -> list[str]:
        return self._left_out.notes(self.path)

    def load(self, index: int) -> Loaded:
        record, file = self.records[index], self.files[index]
        content = read_json(file)
        image = self.settings.reading.read(self._image(index, content))
        hw = (image.shape[0], image.shape[1])
        declared = (content.get("imageHeight") or hw[0], content.get("imageWidth") or hw[1])
        if declared != hw:
            raise UserError(
                f"{record.path} is {hw[1]}x{hw[0]} pixels, but {file} says {declared[1]}x{declared[0]}"
            )
        objects = _objects(content.get("shapes"), hw, file)
        return image, *number_objects(objects, hw)

    def _image(self, index: int, content: dict[str, Any]) -> ImageFile:
        """The file beside the JSON, or what lies inside it."""
        path, file = self.records[index].path, self.files[index]
        if path != file:
            return path
        if not content.get("imageData"):
            raise UserError(
                f"{file} names the image {content.get('imagePath')}, which is not there, or not in "
                f"{self.path}: data.path is to be the folder that holds both"
            )
        return _encoded(content["imageData"], f"the imageData of {file}")

    def image_file(self, index: int) -> ImageFile:
        return self._image(index, read_json(self.files[index]))


def labelme_files(folder: Path) -> list[Path]:
    """JSON files with `shapes`, in the folder or in its folders by split; else in any folder in it."""
    own = [f for p in (folder, *split_folders(folder)) for f in _json_files(p) if _is_labelme(f)]
    return own or [f for p in _folders_in(folder) for f in _json_files(p) if _is_labelme(f)]


def _others(folder: Path, files: list[Path]) -> Iterator[str]:
    """JSON files that are not among labelme's, also in folders that are no splits."""
    known = set(files)
    for file in sorted(f for place in (folder, *_folders_in(folder)) for f in _json_files(place)):
        if file not in known:
            yield file.relative_to(folder).as_posix()


def is_labelme_folder(folder: Path) -> bool:
    """Whether the first JSON file of a folder, or of its folders by split, is labelme's."""
    places = (folder, *_folders_in(folder))
    first = next((file for place in places for file in _json_files(place)), None)
    return first is not None and _is_labelme(first)


def _json_files(folder: Path) -> list[Path]:
    return files_ending(folder, ".json")


def _folders_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir())


class _Shapes(msgspec.Struct):
    shapes: list[msgspec.Raw]


def _is_labelme(file: Path) -> bool:
    try:
        decode_json(file, _Shapes)
    except (UserError, msgspec.ValidationError):
        return False
    return True


def _find_image(file: Path, named: str, folder: Path) -> Path | None:
    """The image where the JSON names it, if that is inside the folder, or beside the JSON."""
    parts = named.replace("\\", "/")
    inside = Path(os.path.relpath(file.parent / parts, folder))
    places = [file.parent / Path(parts).name]
    if ".." not in inside.parts:
        places.insert(0, folder / inside)
    return next((found for place in places if (found := find_called(place))), None)


def _why_left_out(shape: dict[str, Any]) -> str:
    """Why a shape is no object; empty where it is one."""
    if _kind(shape) in _NO_AREAS:
        return f"without an area, of the kind {_kind(shape)},"
    label = str(shape.get("label") or "")
    return f"of the reserved label {label}" if _RESERVED.fullmatch(label) else ""


def _kind(shape: dict[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")


def _objects(shapes: Any, hw: tuple[int, int], file: Path) -> list[tuple[str, MaskArray]]:
    """(label, mask) of each object; shapes of one group are one."""
    found = []
    for number, shape in enumerate(shapes or []):
        where = f"{file}, shape {number}"
        if not isinstance(shape, dict):
            raise UserError(f"{where} is no shape")
        if _why_left_out(shape):
            continue
        group = shape.get("group_id")
        if group is not None and not isinstance(group, int | str):
            raise UserError(f"{where}: its group_id {group} is no number")
        found.append((str(shape.get("label") or ""), group, _shape_mask(shape, hw, where)))
    return join_groups(found)


def _shape_mask(shape: dict[str, Any], hw: tuple[int, int], where: str) -> MaskArray:
    kind = _kind(shape)
    try:
        points = np.asarray(shape["points"], np.float64).reshape(-1, 2)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: its points are no list of [x, y]") from error
    if kind not in _LEAST:
        raise UserError(f"{where} is a {kind}: expected {', '.join(_LEAST)}")
    if len(points) < _LEAST[kind] or not np.isfinite(points).all():
        raise UserError(
            f"{where}: a {kind} needs {_LEAST[kind]} finite points, found {len(points)}"
        )
    if kind == "rectangle" and len(points) not in (2, 4):
        raise UserError(f"{where}: a rectangle has 2 or 4 corners, found {len(points)}")
    if kind == "mask":
        return _pasted(shape.get("mask"), points[0], hw, where)
    if kind == "rectangle" and len(points) == 2:
        points = box_corners(*points[0], *points[1])
    elif kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        points = ellipse_corners(points[0, 0], points[0, 1], radius, radius)
    return fill(points, hw, where)


def _pasted(data: Any, corner: np.ndarray, hw: tuple[int, int], where: str) -> MaskArray:
    """A mask of its own (base64 of a PNG), laid down with its top-left pixel at `corner`."""
    values = read_labels(_encoded(data, f"{where}: its mask"))
    part = foreground(values)
    mask = np.zeros(hw, np.bool_)
    x, y = (int(value) for value in corner)
    window = mask[max(0, y) : y + part.shape[0], max(0, x) : x + part.shape[1]]
    window |= part[max(0, -y) :, max(0, -x) :][: window.shape[0], : window.shape[1]]
    return mask


def _encoded(data: Any, name: str) -> EncodedImage:
    try:
        return EncodedImage(name, base64.b64decode(data))
    except (binascii.Error, TypeError, ValueError) as error:
        raise UserError(f"{name} is no image: {error}") from error

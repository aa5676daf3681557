"""CVAT for images 1.1: one XML file with the shapes of all images.

PATH/annotations.xml                   polygon, box, ellipse (turned or not) and mask
PATH/images/SUBSET/NAME                the images; or under images/, or beside the XML

Shapes of one label and `group_id` are one object. Objects are numbered from back to front
(`z_order`), and are whole where others cover them.
Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

import xml.etree.ElementTree as Xml
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.annotation_shapes import (
    Points,
    box_corners,
    ellipse_corners,
    fill,
    join_groups,
    rotated,
    told_as_left_out,
)
from samtune.data.manifest import Manifest
from samtune.data.objects import number_objects
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import split_called
from samtune.errors import UserError
from samtune.files import find_file, is_file, plain_parts
from samtune.types import MaskArray

_AREAS = ("polygon", "box", "ellipse", "mask")
_SIDES = ("height", "width")
_NO_AREAS = ("polyline", "points", "cuboid", "skeleton")


@dataclass(frozen=True)
class _Shape:
    """One element of an image: its kind and its attributes."""

    kind: str
    values: dict[str, str]


class Cvat(Reader):
    """Images and shapes of a CVAT export.

    Args:
        path: the XML file, or the folder that holds `annotations.xml`.
        settings: how to read.

    Raises:
        UserError: the file is damaged or no export of images, or none of its images is there.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.settings = settings or SourceSettings()
        self.file = path if path.is_file() else path / "annotations.xml"
        folder = self.file.parent
        manifest = Manifest(folder)
        self.records: list[Record] = []
        self._images: list[dict[str, str]] = []
        self._shapes: list[list[_Shape]] = []
        self._left_out: Counter[str] = Counter()
        for element in _images_of(self.file):
            name, subset = element.get("name", ""), element.get("subset", "")
            parts = plain_parts(name)
            if not parts:
                raise UserError(f"{self.file}: image {len(self.records)} has no name")
            places = [("images", subset), ("images",), (subset,), ()]
            found = find_file(folder, [(*place, *parts) for place in places])
            self.records.append(
                manifest.record(
                    f"{subset}/{name}" if subset else name,
                    found or folder.joinpath(*parts),
                    split_called(subset),
                )
            )
            self._images.append(dict(element.attrib))
            self._left_out.update(each.tag for each in element if each.tag in _NO_AREAS)
            shapes = [_Shape(each.tag, dict(each.attrib)) for each in element if each.tag in _AREAS]
            self._shapes.append(sorted(shapes, key=lambda shape: _depth(shape, self.file)))
        if not self.records:
            raise UserError(f"{self.file} names no images")
        if not any(is_file(record.path) for record in self.records):
            raise UserError(
                f"the image {self.records[0].path.name} of {self.file} was not found under {folder} "
                f"or {folder / 'images'}: put the images there (CVAT: save images)"
            )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return (
            path.suffix.lower() == ".xml"
            if path.is_file()
            else (path / "annotations.xml").is_file()
        )

    @property
    def notes(self) -> list[str]:
        return told_as_left_out(self._left_out, self.file)

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        image = settings.reading.read(record.path)
        hw = (image.shape[0], image.shape[1])
        said = [
            self._images[index].get(name, str(side)) for name, side in zip(_SIDES, hw, strict=True)
        ]
        if said != [str(side) for side in hw]:
            raise UserError(
                f"{record.path} is {hw[1]}x{hw[0]} pixels, but {self.file} says {said[1]}x{said[0]}"
            )
        shapes = []
        for number, shape in enumerate(self._shapes[index]):
            where = f"{self.file}, {shape.kind} {number} of {record.path.name}"
            values = shape.values
            mask = _mask(shape, hw, where)
            shapes.append((values.get("label", ""), _group(values), mask))
        return image, *number_objects(join_groups(shapes), hw)


class _WithoutTypes(Xml.TreeBuilder):
    """Refuses document types, through which a small file can grow without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise UserError("it declares a document type, which CVAT never writes")


def _images_of(file: Path) -> list[Xml.Element]:
    try:
        with file.open("rb") as content:
            parser = Xml.XMLParser(target=_WithoutTypes())  # noqa: S314
            root: Xml.Element = Xml.parse(content, parser).getroot()  # noqa: S314
    except FileNotFoundError:
        raise UserError(f"there is no {file}") from None
    except (OSError, Xml.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{file} cannot be read as XML: {error}") from error
    if root.tag != "annotations":
        raise UserError(f"{file} is no file of CVAT: found <{root.tag}>, expected <annotations>")
    if root.find("track") is not None:
        raise UserError(f"{file} holds tracks of a video: export as 'CVAT for images 1.1'")
    return root.findall("image")


def _group(values: dict[str, str]) -> str | None:
    group = values.get("group_id", "0")
    return None if group == "0" else group


def _depth(shape: _Shape, file: Path) -> int:
    try:
        return int(shape.values.get("z_order", "0"))
    except ValueError:
        raise UserError(f"{file}: the z_order {shape.values['z_order']} is no number") from None


def _mask(shape: _Shape, hw: tuple[int, int], where: str) -> MaskArray:
    try:
        if shape.kind == "mask":
            return _pasted(shape.values, hw)
        corners = _corners(shape)
    except KeyError as error:
        raise UserError(f"{where} lacks {error}") from error
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where} is damaged: {error}") from error
    return fill(corners, hw, where)


def _corners(shape: _Shape) -> Points:
    values = shape.values
    if shape.kind == "polygon":
        pairs = [pair.split(",") for pair in values["points"].split(";")]
        return np.array([[float(x), float(y)] for x, y in pairs])
    degrees = float(values.get("rotation", "0"))
    if shape.kind == "box":
        x0, y0, x1, y1 = (float(values[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
        return rotated(box_corners(x0, y0, x1, y1), degrees, ((x0 + x1) / 2, (y0 + y1) / 2))
    x, y, radius_x, radius_y = (float(values[name]) for name in ("cx", "cy", "rx", "ry"))
    return rotated(ellipse_corners(x, y, radius_x, radius_y), degrees, (x, y))


def _pasted(values: dict[str, Any], hw: tuple[int, int]) -> MaskArray:
    """A mask of its own: runs along the rows of its box, the first one outside the object."""
    left, top, width, height = (int(values[name]) for name in ("left", "top", "width", "height"))
    runs = [int(run) for run in values["rle"].split(",")]
    if min(left, top, width, height, *runs) < 0:
        raise ValueError("a number is below 0")
    if top + height > hw[0] or left + width > hw[1]:
        raise ValueError(f"its box of {width}x{height} at {left},{top} leaves the image")
    if sum(runs) != width * height:
        raise ValueError(f"its runs sum to {sum(runs)}, not to {width}x{height}")
    mask = np.zeros(hw, np.bool_)
    part = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[top : top + height, left : left + width] = part.reshape(height, width)
    return mask

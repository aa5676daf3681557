"""CVAT for images 1.1 and CVAT for video 1.1: one XML file with the shapes of all images.

PATH/annotations.xml                   polygon, box, ellipse (turned or not) and mask
PATH/images/SUBSET/NAME                the images; or under images/, or beside the XML
PATH/images/frame_000012.PNG           of a video: the frames by their numbers, or images in order

An object of a video is a track: CVAT writes its shape for every frame that it is seen in. Frames
without a shape are images without an object.
Shapes of one label and `group_id` are one object. Objects are numbered from back to front
(`z_order`), and are whole where others cover them.
Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

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
)
from samtune.data.cvat_file import CvatImage, CvatShape, images_of, whole_number
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.objects import number_objects
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record, require_own_files
from samtune.data.splits import split_called
from samtune.errors import UserError
from samtune.files import ends_of, find_file, is_file, plain_parts
from samtune.types import MaskArray

_SIDES = ("height", "width")


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
        self._images: list[CvatImage] = []
        self._left_out = LeftOut()
        for image in images_of(self.file, self._left_out):
            parts = plain_parts(image.name)
            if not parts:
                raise UserError(f"{self.file}: image {len(self.records)} has no name")
            places = [("images", image.subset), ("images",), (image.subset,), ()]
            found = find_file(folder, [(*p, *end) for end in ends_of(parts) for p in places])
            self.records.append(
                manifest.record(
                    f"{image.subset}/{image.name}" if image.subset else image.name,
                    found or folder.joinpath(*parts),
                    split_called(image.subset),
                )
            )
            image.shapes.sort(key=lambda shape: _depth(shape, self.file))
            self._images.append(image)
        if not self.records:
            raise UserError(f"{self.file} names no images")
        require_own_files(self.records, self.file)
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
        return self._left_out.notes(self.file)

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        image = settings.reading.read(record.path)
        hw = (image.shape[0], image.shape[1])
        said = [
            self._images[index].said.get(name, str(side))
            for name, side in zip(_SIDES, hw, strict=True)
        ]
        if said != [str(side) for side in hw]:
            raise UserError(
                f"{record.path} is {hw[1]}x{hw[0]} pixels, but {self.file} says {said[1]}x{said[0]}"
            )
        shapes = []
        for number, shape in enumerate(self._images[index].shapes):
            where = f"{self.file}, {shape.kind} {number} of {record.path.name}"
            values = shape.values
            mask = _mask(shape, hw, where)
            shapes.append((values.get("label", ""), _group(values), mask))
        return image, *number_objects(join_groups(shapes), hw)


def _group(values: dict[str, str]) -> str | None:
    group = values.get("group_id", "0")
    return None if group == "0" else group


def _depth(shape: CvatShape, file: Path) -> int:
    return whole_number(shape.values.get("z_order", "0"), "z_order", file)


def _mask(shape: CvatShape, hw: tuple[int, int], where: str) -> MaskArray:
    try:
        if shape.kind == "mask":
            return _pasted(shape.values, hw)
        corners = _corners(shape)
    except KeyError as error:
        raise UserError(f"{where} lacks {error}") from error
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where} is damaged: {error}") from error
    return fill(corners, hw, where)


def _corners(shape: CvatShape) -> Points:
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

"""Pascal VOC segmentation, as the challenge, CVAT and labelme write it.

PATH/JPEGImages/ID.jpg
PATH/SegmentationObject/ID.png           a number for each object
PATH/SegmentationClass/ID.png            a number for each class; one of the two folders is enough
PATH/ImageSets/Segmentation/SPLIT.txt    optional: the IDs of each split, one a line
PATH/labelmap.txt, PATH/class_names.txt  optional: names (and colours) of classes, else VOC's own

Masks have palettes, or are coloured as palettes would show them; 255 is void, and no object.
Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.label_maps import check_size, interpret_labels
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import split_called
from samtune.errors import UserError
from samtune.files import files_ending
from samtune.images.kinds import is_picture, picture_id
from samtune.images.labels import read_labels
from samtune.images.pixels import read_pixels
from samtune.parsing import read_lines
from samtune.types import ImageArray, LabelArray

_VOID = 255
_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
_KINDS = ("SegmentationObject", "SegmentationClass")


@dataclass(frozen=True)
class _Names:
    """Names of classes by number where masks hold numbers, and where they hold colours."""

    in_order: dict[int, str]
    by_colour: dict[int, str]
    are_coloured: bool


class Voc(Reader):
    """Images with masks of objects, of classes, or of both.

    Args:
        path: the folder described at the top of this module, or one that holds `VOC2012` or
            `VOCdevkit/VOC2012`.
        settings: how to read. Without SegmentationObject each class of an image is one object.

    Raises:
        UserError: there are no images, or one that is listed is missing or has no mask.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.settings = settings or SourceSettings()
        self.path = voc_folder(path) or path
        self._objects, self._kinds = (_mask_files(self.path, kind) for kind in _KINDS)
        if not self._objects and not self._kinds:
            raise UserError(f"{self.path} has no masks *.png in {' or '.join(_KINDS)}")
        self._names = _read_names(self.path)
        images = _by_id(self.path / "JPEGImages", is_picture)
        manifest = Manifest(self.path)
        self.records: list[Record] = []
        for name, split in self._listed() or [(name, "") for name in images if self._has(name)]:
            if name not in images:
                raise UserError(f"there is no image {self.path / 'JPEGImages' / name}.jpg")
            self.records.append(manifest.record(name, images[name], split, name=name))
        self._left_out = LeftOut()
        named = {record.image_id for record in self.records}
        for name in (name for name in images if name not in named):
            why = "in no list" if self._has(name) else "without a mask"
            self._left_out.add("image", why, name)
        alone = sorted({*self._objects, *self._kinds} - images.keys())
        self._left_out.add_all("mask", "without an image", alone)
        if not self.records:
            raise UserError(f"no image of {self.path / 'JPEGImages'} has a mask of its name")

    @property
    def notes(self) -> list[str]:
        return self._left_out.notes(self.path)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return voc_folder(path) is not None

    def _has(self, name: str) -> bool:
        return name in self._objects or name in self._kinds

    def _listed(self) -> list[tuple[str, str]]:
        """Ids and their splits; lists of other names, such as `trainval`, name none."""
        splits: dict[str, str] = {}
        files = files_ending(self.path / "ImageSets" / "Segmentation", ".txt")
        for file in files:
            split = split_called(file.stem)
            for line in read_lines(file):
                if not self._has(line):
                    raise UserError(
                        f"{file} lists {line}, which has no mask in SegmentationObject or "
                        "SegmentationClass: take it out of the list"
                    )
                if split and splits.get(line, split) not in ("", split):
                    raise UserError(f"{line} stands in two lists of {file.parent}")
                splits[line] = split or splits.get(line, "")
        return list(splits.items())

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        image = settings.reading.read(record.path)
        objects, kinds = self._objects.get(record.image_id), self._kinds.get(record.image_id)
        if objects is not None and (kinds is None or settings.labels in ("auto", "instances")):
            values, _ = self._read_mask(objects, image)
            labels, classes = interpret_labels(values, settings, "instances", objects)
            if kinds is not None:
                values, names = self._read_mask(kinds, image)
                found = _most_frequent(labels[0], values)
                classes = {number: names.get(value, str(value)) for number, value in found.items()}
        else:
            assert kinds is not None, "a record has a mask"
            values, names = self._read_mask(kinds, image)
            labels, classes = interpret_labels(values, settings, "semantic", kinds, names)
        return image, labels, classes

    def _read_mask(self, file: Path, image: ImageArray) -> tuple[LabelArray, dict[int, str]]:
        """Numbers of objects or classes without void, and the names of such numbers as classes."""
        values = read_pixels(file) if self._names.are_coloured else read_labels(file)
        check_size(values.shape[:2], image.shape[:2], file)
        is_coloured = values.ndim == 3 and values.shape[2] == 3
        numbers = _numbers_of_colours(values) if is_coloured else values.reshape(image.shape[:2])
        names = self._names.by_colour if is_coloured else self._names.in_order
        names = names | dict(self.settings.class_names)
        return np.where(numbers == _VOID, 0, numbers).astype(np.int32), names


def voc_folder(path: Path) -> Path | None:
    """The folder with `JPEGImages` and masks: the path itself, or where VOC's own archives put it."""
    places = [path, *sorted(path.glob("VOC20*")), *sorted(path.glob("VOCdevkit/VOC20*"))]
    return next((p for p in places if (p / "JPEGImages").is_dir() and any(_mask_folders(p))), None)


def _mask_folders(path: Path, *kinds: str) -> list[Path]:
    """Folders of masks; older versions of labelme keep arrays under the usual name."""
    names = [f"{kind}{end}" for kind in kinds or _KINDS for end in ("", "PNG")]
    return [path / name for name in names if (path / name).is_dir()]


def _mask_files(path: Path, kind: str) -> dict[str, Path]:
    return {
        k: v for folder in _mask_folders(path, kind) for k, v in _by_id(folder, _is_png).items()
    }


def _is_png(file: Path) -> bool:
    return file.suffix.lower() == ".png"


def _by_id(folder: Path, is_wanted: Callable[[Path], bool]) -> dict[str, Path]:
    """Files by their path in the folder, without suffix."""
    files = sorted(file for file in folder.rglob("*") if is_wanted(file))
    return {(f.relative_to(folder).parent / picture_id(f)).as_posix(): f for f in files}


def _read_names(path: Path) -> _Names:
    if (file := path / "labelmap.txt").is_file():  # NAME:RED,GREEN,BLUE:PARTS:ACTIONS
        rows = [line.split(":") for line in read_lines(file) if not line.startswith("#")]
        try:
            colours = np.array([[int(c) for c in row[1].split(",")] for row in rows], np.int32)
            numbers = _numbers_of_colours(colours.reshape(-1, 3)).tolist()
        except (IndexError, ValueError, OverflowError) as error:
            raise UserError(
                f"{file} is no label map: expected lines NAME:RED,GREEN,BLUE:: ({error})"
            ) from error
        names = [row[0] for row in rows]
        return _Names(dict(enumerate(names)), dict(zip(numbers, names, strict=True)), True)
    file = path / "class_names.txt"
    numbered = dict(enumerate(read_lines(file) if file.is_file() else _CLASSES))
    return _Names(numbered, numbered, False)


def _numbers_of_colours(colours: NDArray[Any]) -> NDArray[np.int32]:
    """Numbers of (..., 3) colours in VOC's palette, continued to 24 bits.

    The palette (VOCcode/VOClabelcolormap.m of the devkit) deals the bits of a number to red, green
    and blue in turn, the lowest to the highest; so every colour has one number.
    """
    numbers = np.zeros(colours.shape[:-1], np.int32)
    for bit in range(24):
        numbers |= (colours[..., bit % 3].astype(np.int32) >> (7 - bit // 3) & 1) << bit
    return numbers


def _most_frequent(labels: NDArray[np.int32], kinds: NDArray[np.int32]) -> dict[int, int]:
    """The class that most pixels of each object have; objects without one are left out."""
    seen = (labels > 0) & (kinds > 0)
    pairs = np.stack([labels[seen], kinds[seen]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(counts, kind="stable")
    return {int(number): int(kind) for number, kind in found[order]}

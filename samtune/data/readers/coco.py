"""COCO instance segmentation: polygons, compressed and uncompressed RLE, crowds, categories.

Format: https://cocodataset.org/#format-data. Crowd annotations are regions, not objects, and are left
out, unless `marked_are_objects` tells that a tool marks objects so; either is told. Images with one
`group` (a string or number, which `samtune convert` writes) belong together; `columns` (an object, also
of its making) are those of a manifest. Of an image with a `part` (x, y, width, height, which `samtune
open` writes where another image shows the rest) no more than that is read, with the objects that lie in
it by half at least; one without pixels is left out. Only the places of annotations in the file are
kept, so that millions of objects fit in memory and are handed to worker processes cheaply.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.coco_annotations import (
    Mark,
    decode_annotations,
    marked_are_objects,
    objects_among,
    objects_in,
    part_told,
)
from samtune.data.coco_file import Id, class_names, owners_of, read_coco, rows_by_id
from samtune.data.coco_layout import coco_files, find_image, image_root, json_files
from samtune.data.json_index import find_spans, read_spans
from samtune.data.left_out import LeftOut
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.data.source import Joined, Record, Source, require_own_files
from samtune.data.splits import split_source, with_groups
from samtune.errors import UserError
from samtune.types import Window


class Coco(Reader):
    """One COCO annotation file and its images.

    Args:
        annotations: the JSON file.
        settings: how to read.
        split: name of the split that this file is, if it is one.

    Raises:
        UserError: the file is not COCO, names images that do not exist or two by one id, or its
            annotations have categories that it does not list or ids of images of another type.
    """

    def __init__(
        self, annotations: Path, settings: SourceSettings | None = None, split: str = ""
    ) -> None:
        self.settings = settings or SourceSettings()
        self.file = annotations
        content, buffer = read_coco(annotations)
        self._classes = class_names(content.categories, annotations)
        self._images = content.images
        self._parts = [part_told(image.part) for image in self._images]
        self.is_part = any(part is not None for part in self._parts)
        self._places = [
            place for place, part in enumerate(self._parts) if part is None or min(part.hw) > 0
        ]
        self._rows = rows_by_id(self._images, annotations)
        left_out = LeftOut()
        owners, marks = owners_of(content, self._rows, annotations, left_out)
        self._with_marked = marked_are_objects(marks, len(owners), self.settings.crowds)
        self._notes = self._told(owners, marks, left_out)
        order = np.argsort(owners, kind="stable")
        self._spans = find_spans(content.annotations, buffer)[order]
        self._first = np.searchsorted(owners[order], np.arange(len(self._images) + 1))
        root = image_root(annotations, split, self._images)
        prefix = f"{split}/" if split else ""
        self.records = [
            Record(
                str(image.sample_id or prefix + image.file_name),
                find_image(root, image.file_name),
                split,
                str(image.group) if isinstance(image.group, str | int) else "",
                _columns(image.columns),
            )
            for image in (self._images[place] for place in self._places)
        ]
        require_own_files(self.records, annotations)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix.lower() == ".json" if path.is_file() else bool(coco_files(path))

    @classmethod
    def open(cls, path: Path, settings: SourceSettings, splits: SplitSettings) -> dict[str, Source]:
        """One file is divided; files that are splits already stay apart."""
        if path.is_file():
            return split_source(cls(path, settings), splits)
        files = coco_files(path)
        if not files:
            raise UserError(f"{path} holds no COCO file (*.json)")
        rest = (file.name for file in json_files(path) if file not in set().union(*files.values()))
        left_out = LeftOut()
        if "" in files:
            left_out.add_all("JSON file", "without images and annotations", rest)
            parts = [cls(file, settings) for file in files[""]]
            parts[0]._notes += left_out.notes(path)
            _require_distinct(parts)
            return split_source(parts[0] if len(parts) == 1 else Joined(parts), splits)
        left_out.add_all("JSON file", "named after no split", rest)
        sources = {name: cls(file, settings, name) for name, (file,) in files.items()}
        for source in sources.values():
            source._notes += left_out.notes(path)
        if "train" not in sources:
            raise UserError(f"{path} holds {', '.join(sources)} but no train.json")
        given = with_groups(sources, splits)
        if "val" in sources:
            return given
        others = {name: source for name, source in given.items() if name != "train"}
        return {**split_source(sources["train"], splits), **others}

    @property
    def notes(self) -> list[str]:
        return self._notes

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        image = settings.reading.read(record.path)
        height, width = image.shape[:2]
        entry = self._images[self._places[index]]
        declared = (entry.height or height, entry.width or width)
        if declared != (height, width):
            raise UserError(
                f"{record.path} is {width}x{height} pixels, but {self.file} says "
                f"{declared[1]}x{declared[0]}"
            )
        annotations = self._annotations(self._rows[entry.id])
        labels, ids = decode_annotations(annotations, (height, width), self.file)
        classes = {
            number: self._class_name(annotation.get("category_id"))
            for number, annotation in zip(ids, annotations, strict=True)
        }
        part = self._part_of(index, (height, width))
        if part is not None:
            image, labels = image[part.slices], objects_in(labels, part)
        return image, labels, classes

    def hw(self, index: int) -> tuple[int, int]:
        whole = super().hw(index)
        part = self._part_of(index, whole)
        return part.hw if part else whole

    def stored(self, index: int) -> NDArray[Any]:
        values = super().stored(index)
        part = self._part_of(index, (values.shape[0], values.shape[1]))
        return values[part.slices] if part else values

    def _part_of(self, index: int, hw: tuple[int, int]) -> Window | None:
        """The part of an image of this size that is read; `None` is all."""
        part = self._parts[self._places[index]]
        if part and (part.y + part.height > hw[0] or part.x + part.width > hw[1]):
            told, where = self._images[self._places[index]].part, self.records[index].path
            raise UserError(
                f"{self.file}: the part {told} (x, y, width, height) reaches out of {where}, which has "
                f"{hw[1]}x{hw[0]} pixels"
            )
        return part

    def _annotations(self, row: int) -> list[dict[str, Any]]:
        spans = self._spans[self._first[row] : self._first[row + 1]].tolist()
        return objects_among(read_spans(self.file, spans), self._with_marked)

    def _told(self, owners: NDArray[np.int64], marks: list[Mark], left_out: LeftOut) -> list[str]:
        """What is left out, and how what is marked as crowds is read where no setting says it."""
        left_out.add(
            "annotation", "of images that it does not name", number=int((owners < 0).sum())
        )
        if not self._with_marked:
            left_out.add(
                "annotation", "with iscrowd 1 (data.crowds objects reads them)", number=len(marks)
            )
        left_out.add(
            "image",
            "of which no part is used: others show the same",
            number=len(self._images) - len(self._places),
        )
        notes = left_out.notes(self.file)
        if marks and self._with_marked and self.settings.crowds == "auto":
            notes.append(
                f"{self.file}: {len(marks)} of {len(owners)} annotations have iscrowd 1, but are read "
                "as objects, for some tools (CVAT) mark every mask so (data.crowds says otherwise)"
            )
        return notes

    def _class_name(self, category: Any) -> str:
        return self._classes.get(category, "") if isinstance(category, Id) else ""


def _require_distinct(parts: Sequence[Coco]) -> None:
    """Refuse images that several files hold: which objects they have could not be told."""
    files: dict[str, Path] = {}
    for part in parts:
        for record in part.records:
            if (first := files.setdefault(record.image_id, part.file)) != part.file:
                raise UserError(
                    f"the image {record.image_id} is in {first} and in {part.file}: these are no parts "
                    "of one data set: take one of them away, or name the file as data.path"
                )


def _columns(columns: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(columns, dict):
        return ()
    return tuple((name, str(v)) for name, v in columns.items() if isinstance(v, str | int | float))

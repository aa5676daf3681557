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

import msgspec
import numpy as np
from numpy.typing import NDArray

from samtune.data.coco_annotations import (
    Mark,
    decode_annotations,
    is_marked,
    marked_are_objects,
    objects_among,
    objects_in,
    part_told,
)
from samtune.data.json_index import decode_json, find_spans, first_character, read_spans
from samtune.data.left_out import LeftOut
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.data.source import Joined, Record, Source, require_own_files
from samtune.data.splits import split_folders, split_source, splits_in, with_groups, words_for
from samtune.errors import UserError
from samtune.files import ends_of, files_ending, find_file, is_file, plain_parts
from samtune.types import Window

# The bytes of the shortest outline.
_SHORTEST = 8
# The other annotation files that COCO itself comes with.
_NOT_INSTANCES = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
_SHOWN = 10
_Id = int | float | str | None


class _Image(msgspec.Struct):
    id: _Id
    file_name: str = ""
    coco_url: str = ""
    height: int | float | None = None
    width: int | float | None = None
    sample_id: _Id = None
    group: Any = None
    columns: Any = None
    part: Any = None


class _Category(msgspec.Struct):
    id: _Id
    name: Any


class _Content(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw]
    categories: list[_Category] = []


class _Head(msgspec.Struct):
    """Of an annotation, what is known before it is asked for."""

    image_id: _Id
    category_id: _Id = None
    iscrowd: Any = 0
    ignore: Any = 0
    segmentation: msgspec.Raw = msgspec.Raw()
    attributes: Any = None


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
        try:
            content, buffer = decode_json(annotations, _Content)
        except msgspec.ValidationError as error:
            raise UserError(
                f"{annotations} is not COCO: it lacks something or has it in another form: {error}"
            ) from error
        self._classes = _class_names(content.categories, annotations)
        self._images = content.images
        if not self._images:
            raise UserError(f"{annotations} names no images")
        for image in self._images:
            image.file_name = image.file_name or image.coco_url  # of LVIS
            if not image.file_name:
                raise UserError(f"{annotations}: the image {image.id} has no file_name")
        self._parts = [part_told(image.part) for image in self._images]
        self.is_part = any(part is not None for part in self._parts)
        self._places = [
            place for place, part in enumerate(self._parts) if part is None or min(part.hw) > 0
        ]
        self._rows = _rows(self._images, annotations)
        left_out = LeftOut()
        owners, marks = _owners(content, self._rows, annotations, left_out)
        self._with_marked = marked_are_objects(marks, len(owners), self.settings.crowds)
        self._notes = self._told(owners, marks, left_out)
        order = np.argsort(owners, kind="stable")
        self._spans = find_spans(content.annotations, buffer)[order]
        self._first = np.searchsorted(owners[order], np.arange(len(self._images) + 1))
        root = _image_root(annotations, split, self._images)
        prefix = f"{split}/" if split else ""
        self.records = [
            Record(
                str(image.sample_id or prefix + image.file_name),
                _find_image(root, image.file_name),
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
        rest = (file.name for file in _json_files(path) if file not in set().union(*files.values()))
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
        return self._classes.get(category, "") if isinstance(category, _Id) else ""


def _class_names(categories: list[_Category], file: Path) -> dict[_Id, str]:
    names: dict[_Id, str] = {}
    for category in categories:
        first = names.setdefault(category.id, str(category.name))
        if first != str(category.name):
            raise UserError(
                f"{file}: the categories {first} and {category.name} both have the id {category.id!r}: "
                "number them anew, for their annotations cannot be told apart"
            )
    return names


def _rows(images: list[_Image], file: Path) -> dict[_Id, int]:
    """The row of each image by its id."""
    rows: dict[_Id, int] = {}
    for row, image in enumerate(images):
        first = images[rows.setdefault(image.id, row)]
        if first is not image:
            raise UserError(
                f"{file}: the images {first.file_name} and {image.file_name} both have the id "
                f"{image.id!r}: number them anew, for their annotations cannot be told apart"
            )
    return rows


def _owners(
    content: _Content, rows: dict[_Id, int], file: Path, left_out: LeftOut
) -> tuple[NDArray[np.int64], list[Mark]]:
    """For each annotation the row of its image, -1 without one; and those marked as crowds.

    What else is no object is counted.
    """
    decode = msgspec.json.Decoder(_Head).decode
    categories = {category.id for category in content.categories}
    owners, marks = np.empty(len(content.annotations), np.int64), list[Mark]()
    for number, annotation in enumerate(content.annotations):
        try:
            head = decode(annotation)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: entry {number} of 'annotations': {error}") from error
        owner = owners[number] = rows.get(head.image_id, -1)
        if owner < 0:
            _require_one_type(head.image_id, rows, f"{file}: entry {number} of 'annotations'")
        if categories and head.category_id is not None and head.category_id not in categories:
            known = ", ".join(repr(each) for each in list(categories)[:_SHOWN])
            raise UserError(
                f"{file}: entry {number} of 'annotations' has the category_id "
                f"{head.category_id!r}, which 'categories' does not list: it has {known}"
            )
        if head.ignore and is_marked(head.ignore):
            left_out.add("annotation", "with ignore 1", number)
        elif head.iscrowd and is_marked(head.iscrowd):
            has_attributes = isinstance(head.attributes, dict)
            marks.append(Mark(head.image_id, head.category_id, has_attributes))
        elif len(memoryview(head.segmentation)) < _SHORTEST:
            left_out.add(
                "annotation",
                "without an outline, with a box at most (samtune prelabel makes masks for boxes)",
            )
    return owners, marks


def _require_one_type(image_id: _Id, rows: dict[_Id, int], where: str) -> None:
    """Refuse the id of an image that is there as text but not as a number, or the other way."""
    other = next(iter(rows))
    if isinstance(image_id, str) != isinstance(other, str):
        raise UserError(
            f"{where} has the image_id {image_id!r}, but the ids of 'images' are such as {other!r}: "
            "write both as numbers or both as text"
        )


def _columns(columns: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(columns, dict):
        return ()
    return tuple((name, str(v)) for name, v in columns.items() if isinstance(v, str | int | float))


def _image_root(annotations: Path, split: str, images: list[_Image]) -> Path:
    """The folder that the file names start from: beside the JSON, or one of the usual places.

    Of a CVAT export that is images/SUBSET, whatever the subset is called.

    Raises:
        UserError: no image is in any of them, or the first that is lies in two folders of images/.
    """
    folder = annotations.parent
    words = words_for(split)
    names = [*words, *(f"{w}2017" for w in words), "images", *(f"images/{w}" for w in words)]
    subset = annotations.stem.removeprefix("instances_")
    names.append(f"images/{subset}")
    places = [folder, *(base / n for base in (folder, folder.parent) for n in names), folder.parent]
    inner = [each for base in (folder, folder.parent) for each in _folders_in(base / "images")]
    for image in images:
        if found := next((p for p in places if is_file(p / image.file_name)), None):
            return found
        if among := [place for place in inner if is_file(place / image.file_name)]:
            if len(among) > 1:
                raise UserError(
                    f"the image {image.file_name} of {annotations} is in {among[0]} and in "
                    f"{among[1]}: give the file names their folders, or call the file as one of them"
                )
            return among[0]
    named = (p for p in (*places, *inner) if is_file(_find_image(p, images[0].file_name)))
    if found := next(named, None):
        return found
    raise UserError(
        f"the image {images[0].file_name} of {annotations} was not found under {folder} or "
        f"{folder.parent}"
    )


def _find_image(root: Path, name: str) -> Path:
    """Where an image is, or is to be put: at the longest end of its name that is a file here.

    Names may be paths of another machine, or of Windows, or addresses.
    """
    place = root / name
    return place if is_file(place) else find_file(root, ends_of(plain_parts(name))) or place


def _folders_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.glob("*") if each.is_dir())


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


def coco_files(folder: Path) -> dict[str, list[Path]]:
    """COCO files of a folder by split, one each; or all of them under an empty key.

    Found are `train.json`, `annotations/instances_train2017.json` and `train/_annotations.coco.json`.
    COCO's own files of captions, keypoints and stuff hold no instances and are passed over. Where no
    name mentions a split, files are parts of one data set, such as the batches of a labelling tool.

    Raises:
        UserError: two files claim one split.
    """
    files = _json_files(folder)
    own = splits_in(file.stem for file in files)
    names = {file: own.get(file.stem, "") for file in files}
    for inside, split in split_folders(folder).items():
        if (file := inside / "_annotations.coco.json").is_file():
            names[file] = split
    by_split: dict[str, Path] = {}
    for file, split in names.items():
        if split in by_split:
            raise UserError(f"{by_split[split]} and {file} both name the split '{split}'")
        if split:
            by_split[split] = file
    if by_split:
        return {split: [file] for split, file in by_split.items()}
    parts = files if len(files) == 1 else [file for file in files if _has_images(file)]
    return {"": parts} if parts else {}


def _has_images(file: Path) -> bool:
    """Whether a JSON file holds images and annotations; of a damaged one whoever reads it says so."""
    try:
        decode_json(file, _Content)
    except msgspec.ValidationError:
        return False
    except UserError:
        return first_character(file) == "{"
    return True


def _json_files(folder: Path) -> list[Path]:
    """JSON files that may hold instances."""
    files = sorted((*files_ending(folder, ".json"), *files_ending(folder / "annotations", ".json")))
    return [file for file in files if not file.stem.startswith(_NOT_INSTANCES)] or files

"""Tar shards, read in place: SA-1B's layout and webdataset's.

PATH/sa_000000.tar      sa_1.jpg with sa_1.json      {"annotations": [{"segmentation": RLE}, ...]}
                        a.jpg with a.seg.png         a number for each object; or a.png, a.labels.png
                        a.jpg with a.mask.png        a number or colour for each class
PATH/train-0000.tar, PATH/train/0000.tar             optional: splits in the name of shard or folder

Nothing is unpacked: the headers are read once, images and masks from their place when they are asked
for. Formats: https://github.com/facebookresearch/segment-anything#dataset, https://webdataset.github.io
"""

import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.coco_annotations import (
    decode_annotations,
    marked_are_objects,
    marks_of,
    objects_among,
)
from samtune.data.label_maps import LabelKind, check_size, interpret_labels
from samtune.data.left_out import LeftOut
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import file_splits, split_folders
from samtune.errors import UserError
from samtune.files import files_ending, is_hidden
from samtune.images.kinds import IMAGE_SUFFIXES, LONGEST_BEGINNING, EncodedImage, content_suffix
from samtune.images.labels import read_labels
from samtune.types import LabelArray
from samtune.wording import counted

log = logging.getLogger(__name__)

# Ends of names, the longer before the shorter; of those of one image the first is its partner.
_LABELS = (".seg.png", ".labels.png", ".mask.png", ".json")
_PARTNERS = (".seg.png", ".labels.png", ".mask.png", ".png", ".json")
# What `tarfile` raises on a damaged file; sizes that it claims are asked for, and names may be nested.
_DAMAGED = (tarfile.TarError, OSError, ValueError, OverflowError, MemoryError, RecursionError)
_Span = tuple[int, int]


class Shards(Reader):
    """Images with their objects in tar files.

    Args:
        path: one tar, or a folder of tars, or of folders `train`, `val`, `test` of tars.
        settings: how to read.

    Raises:
        UserError: a tar is damaged or truncated, or an image has no partner.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.path, self.settings = path, settings or SourceSettings()
        self._left_out, self._is_told = LeftOut(), False
        files = [path] if path.is_file() else shard_files(path)
        if not files:
            raise UserError(f"{path} holds no shards *.tar")
        self.records: list[Record] = []
        self._names: list[tuple[str, str]] = []
        spans: list[tuple[_Span, _Span]] = []
        for file, split in zip(files, file_splits(path, files), strict=True):
            folder = "" if file.parent in (path, path.parent) else file.parent.name
            shard = f"{folder}/{file.stem}".removeprefix("/")
            for key, parts in sorted(self._index(file).items()):
                image, labels = _pair(key, list(parts), file)
                others = (f"{key}{each}" for each in parts if each not in (image, labels))
                self._left_out.add_all("file", "beside an image and its labels", others)
                self.records.append(Record(f"{shard}/{key}", file, split))
                self._names.append((f"{key}{image}", f"{key}{labels}"))
                spans.append((parts[image], parts[labels]))
        if not self.records:
            raise UserError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}) in its tars")
        self._spans: NDArray[np.int64] = np.array(spans, np.int64)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix.lower() == ".tar" if path.is_file() else bool(shard_files(path))

    def _index(self, file: Path) -> dict[str, dict[str, _Span]]:
        """Places of images and labels by their name and its ending."""
        found: dict[str, dict[str, _Span]] = {}
        for name, span in _walk(file):
            ending = next((e for e in (*_LABELS, *IMAGE_SUFFIXES) if name.lower().endswith(e)), "")
            if is_hidden(Path(name)):
                continue
            if ending:
                parts = found.setdefault(name[: -len(ending)].removeprefix("./"), {})
                if ending in parts:
                    raise UserError(f"{file} holds {name} twice: which is meant cannot be told")
                parts[ending] = span
            elif content_suffix(_read(file, (span[0], min(span[1], LONGEST_BEGINNING)))):
                self._left_out.add("image", "whose name does not end as images do", name)
        return found

    @property
    def notes(self) -> list[str]:
        return self._left_out.notes(self.path)

    def load(self, index: int) -> Loaded:
        settings = self.settings
        labels_file = self._member(index, 1)
        image = settings.reading.read(self.image_file(index))
        hw = (image.shape[0], image.shape[1])
        name = labels_file.name
        if name.endswith(".json"):
            labels, classes, num_left_out = _annotated(labels_file, hw, settings)
            self._tell_left_out(labels_file, num_left_out)
        else:
            values = read_labels(labels_file)
            check_size(values.shape[:2], hw, labels_file)
            kind: LabelKind = "semantic" if name.endswith(".mask.png") else "instances"
            labels, classes = interpret_labels(values, settings, kind, labels_file)
        return image, labels, classes

    def _tell_left_out(self, file: EncodedImage, number: int) -> None:
        """Once, as they are met: looking into all files when a set is opened would take hours."""
        if number and not self._is_told:
            self._is_told = True
            log.warning(
                "%s: %s without a segmentation, or of a crowd, left out, as such are everywhere "
                "(--data.crowds objects takes crowds)", file, counted(number, "annotation"),
            )  # fmt: skip

    def image_file(self, index: int) -> EncodedImage:
        return self._member(index, 0)

    def _member(self, index: int, part: int) -> EncodedImage:
        """The image (0) or its labels (1)."""
        record, (start, size) = self.records[index], self._spans[index, part].tolist()
        content = _read(record.path, (start, size))
        return EncodedImage(f"{record.path}, {self._names[index][part]}", content)


def _read(file: Path, span: _Span) -> bytes:
    try:
        with file.open("rb") as stream:
            stream.seek(span[0])
            return stream.read(span[1])
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def shard_files(folder: Path) -> list[Path]:
    """Tars of a folder, or of its folders by split."""
    places = (folder, *split_folders(folder))
    return [file for place in places for file in files_ending(place, ".tar") if file.is_file()]


def _walk(file: Path) -> Iterator[tuple[str, _Span]]:
    """Name, first byte and size of each file in a tar.

    `tarfile` takes damage between members for the end, runs backwards where a size is below 0, and
    keeps every header.
    """
    size, before = file.stat().st_size, -1
    try:
        with tarfile.open(file, "r:") as tar:
            while (member := tar.next()) is not None:
                end = member.offset_data + member.size
                if member.offset <= before or member.size < 0 or (member.isreg() and end > size):
                    raise tarfile.ReadError(f"{member.name} does not lie within it")
                before = member.offset
                tar.members = []  # type: ignore[attr-defined]
                if member.isreg() and not member.issparse():
                    yield member.name, (member.offset_data, member.size)
            with file.open("rb") as rest:
                rest.seek(tar.offset)
                if any(rest.read(tarfile.BLOCKSIZE)):
                    raise tarfile.ReadError(f"no header of a member at byte {tar.offset}")
    except _DAMAGED as error:
        reason = str(error) or "it claims more than memory holds"
        raise UserError(f"{file} is no whole tar without compression: {reason}") from error


def _pair(key: str, endings: list[str], file: Path) -> tuple[str, str]:
    """The ending of an image, and that of its labels."""
    images = sorted((e for e in endings if e in IMAGE_SUFFIXES), key=lambda e: e == ".png")
    image = images[0] if images else ""
    labels = next((e for e in _PARTNERS if e in endings and e != image), "")
    if not image or not labels:
        expected = ", ".join(_PARTNERS if image else IMAGE_SUFFIXES)
        raise UserError(f"{file}: {key}{endings[0]} has no partner: expected {key} with {expected}")
    return image, labels


def _annotated(
    file: EncodedImage, hw: tuple[int, int], settings: SourceSettings
) -> tuple[LabelArray, dict[int, str], int]:
    """Labels, classes, and the number of annotations that are left out."""
    try:
        content = json.loads(file.content)
        annotations = content["annotations"]
        marks = marks_of(annotations)
        with_marked = marked_are_objects(marks, len(annotations), settings.crowds)
        kept = objects_among(annotations, with_marked)
        names = {each["id"]: str(each["name"]) for each in content.get("categories", ())}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} holds no annotations as SA-1B has them: {error}") from error
    labels, ids = decode_annotations(kept, hw, str(file))
    names |= dict(settings.class_names)
    classes = [_class_of(annotation, names) for annotation in kept]
    return labels, dict(zip(ids, classes, strict=True)), len(annotations) - len(kept)


def _class_of(annotation: dict[str, Any], names: dict[Any, str]) -> str:
    """The class of an annotation: a number, or a text; empty where it says none."""
    keys = ("category_id", "category", "category_name")
    value = next((v for key in keys if isinstance(v := annotation.get(key), int | str)), "")
    return names.get(value, str(value))

"""YOLO segmentation: a text file of polygons beside each image, and a `data.yaml`.

PATH/data.yaml                 names of the classes; train, val, test: folders, or lists of image files
PATH/.../images/.../a.png      PATH/.../labels/.../a.txt     a line for each object: class x y x y ...
PATH/classes.txt               instead of data.yaml: names of the classes (Label Studio), without splits

Coordinates are shares of width and height. A line is one object, whose polygon is filled by even and
odd crossings, so that bridges without width may join its parts and holes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.annotation_shapes import fill
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.objects import number_objects
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import SPLITS, split_called
from samtune.errors import UserError
from samtune.files import (
    ends_of,
    files_ending,
    find_called,
    find_file,
    is_file,
    is_folder,
    plain_parts,
)
from samtune.images.kinds import is_picture
from samtune.parsing import read_lines, read_yaml
from samtune.types import MaskArray

_SUFFIXES = (".yaml", ".yml")
_NAMES = "classes.txt"
# Text files that may lie beside label files.
_NO_LABELS = (_NAMES, "train.txt", "val.txt", "valid.txt", "test.txt")


class Yolo(Reader):
    """Images and polygons of a YOLO segmentation data set.

    Args:
        path: its folder, or its YAML file, or classes.txt.
        settings: how to read.

    Raises:
        UserError: the YAML file is missing or malformed, or there are no images.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.settings = settings or SourceSettings()
        self.file = path if path.is_file() else yolo_file(path)
        is_list = self.file.name == _NAMES
        content = {"names": read_lines(self.file)} if is_list else _read_yaml(self.file)
        self._classes = _class_names(content.get("names", {}), self.file)
        root = self.file.parent / str(content.get("path") or ".")
        root = root if is_folder(root) else self.file.parent
        files = {
            split: _image_files(root, places, self.file, split)
            for split in SPLITS
            if (places := _places_of(split, content))
        }
        if is_list:
            files = {"": _image_files(root, "images", self.file, "")}
        self.records = _records(files, Manifest(self.file.parent))
        if not self.records:
            raise UserError(f"{self.file} names no images under train, val or test")
        self._require_own_labels()
        self._notes = list(self._compare(files))

    def _require_own_labels(self) -> None:
        """Refuse two pictures with one label file: of which it is cannot be told."""
        first: dict[Path, Path] = {}
        for record in self.records:
            other = first.setdefault(label_file(record.path), record.path)
            if other != record.path:
                raise UserError(
                    f"{other} and {record.path} share a name and so the labels "
                    f"{label_file(record.path)}: rename one"
                )

    def _compare(self, files: dict[str, list[Path]]) -> Iterator[str]:
        """What is to be told of lists without images, and of images and labels without the other."""
        if files.get("test") == []:
            yield (
                f"{self.file} names a folder or list under test that holds no images, or is not there"
            )
        labels = {label_file(record.path) for record in self.records}
        bare = [r.image_id for r in self.records if not is_file(label_file(r.path))]
        if bare:
            yield (
                f"{len(bare)} of {len(self.records)} images of {self.file} have no label file, and "
                f"count as images without an object, such as {bare[0]}"
            )
        left_out = LeftOut()
        folders = sorted({file.parent for file in labels})
        found = (file for folder in folders for file in files_ending(folder, ".txt"))
        left_out.add_all(
            "label file",
            "without an image",
            (file.name for file in found if file not in labels and file.name not in _NO_LABELS),
        )
        yield from left_out.notes(self.file)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() in _SUFFIXES or path.name == _NAMES
        is_told = any((path / name).is_file() for name in ("data.yaml", "dataset.yaml"))
        return is_told or _holds_only_texts(path / "labels")

    @property
    def notes(self) -> list[str]:
        return self._notes

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        image = settings.reading.read(record.path)
        file = label_file(record.path)
        hw = (image.shape[0], image.shape[1])
        polygons = _read_polygons(file, hw) if file.exists() else []
        objects = [(self._class_name(value, file), mask) for value, mask in polygons]
        return image, *number_objects(objects, hw)

    def _class_name(self, value: int, file: Path) -> str:
        if value < 0 or (self._classes and value not in self._classes):
            known = f"{min(self._classes)} to {max(self._classes)}" if self._classes else "from 0"
            raise UserError(
                f"{file} holds the class {value}, but the names of {self.file} are numbered {known}"
            )
        return self._classes.get(value, str(value))


def yolo_file(folder: Path) -> Path:
    """The YAML file of a YOLO data set; without one, the list of its classes.

    Raises:
        UserError: there is neither, or more than one YAML file.
    """
    files = files_ending(folder, (".yaml", ".yml"))
    named = [file for file in files if file.stem in ("data", "dataset")] or files
    if not named and (folder / _NAMES).is_file():
        return folder / _NAMES
    if not named:
        raise UserError(
            f"{folder} holds no data.yaml of YOLO: expected one with names (of the "
            "classes), train and val (folders of images), or a list of the classes in classes.txt"
        )
    if len(named) > 1:
        raise UserError(f"{folder} has {len(named)} YAML files: name the right one in data.path")
    return named[0]


def _holds_only_texts(folder: Path) -> bool:
    """Whether there are text files in a folder, or in its folders, and nothing else."""
    places = (folder, *(each for each in folder.glob("*") if each.is_dir()))
    files = [file for place in places for file in place.glob("*") if file.is_file()]
    return bool(files) and all(file.suffix.lower() == ".txt" for file in files)


def label_file(image: Path) -> Path:
    """Where YOLO keeps the polygons of an image: the last folder `images` is `labels` there."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    labels = Path(*parts).with_suffix(".txt")
    return find_called(labels) or labels


def _read_yaml(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise UserError(f"{file} is no YOLO data set: it lacks names, train and val")
    return content


def _class_names(names: Any, file: Path) -> dict[int, str]:
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict) and all(str(number).isdecimal() for number in names):
        return {int(number): str(name) for number, name in names.items()}
    raise UserError(f"{file}: 'names' is neither a list nor numbers with names")


def _places_of(split: str, content: dict[str, Any]) -> Any:
    """What the file says under the first of the words for a split (Roboflow's is `valid`)."""
    keys = (key for key in content if split_called(str(key)) == split and content[key])
    return next((content[key] for key in keys), None)


def _image_files(root: Path, places: Any, file: Path, split: str) -> list[Path]:
    """Images of one split: of folders, or listed in text files; `test` may be missing (Roboflow)."""
    found: list[Path] = []
    for entry in places if isinstance(places, list) else [places]:
        place = root / str(entry)
        if not is_folder(place) and not is_file(place) and str(entry).startswith("../"):
            place = root / str(entry)[3:]  # Roboflow writes ../train/images
        if is_folder(place):
            files = sorted(place.rglob("*"))
            found += [each for each in files if is_picture(each)]
        elif is_file(place):
            found += _listed(place)
        elif split != "test":
            raise UserError(f"{file} names {entry}, which is not there (looked at {place})")
    return found


def _listed(file: Path) -> list[Path]:
    """The images of a list: where it says, or at the longest end of that path which is a file here.

    Lists hold paths from where training is started (CVAT's begin with data/), or of another machine.
    """
    folder, found, lines = file.parent, list[Path](), read_lines(file)
    missing = []
    for line in lines:
        place = folder / line
        if not is_file(place):
            place = find_file(folder, ends_of(plain_parts(line))) or place
        found.append(place)
        if not is_file(place):
            missing.append(line)
    if missing:
        raise UserError(
            f"{file} names {missing[0]}, which is not there, nor at the end of that path in {folder} "
            f"({len(missing)} of {len(lines)} images are missing)"
        )
    return found


def _records(files: dict[str, list[Path]], manifest: Manifest) -> list[Record]:
    """Images by their names without suffix; by split too where names come twice."""
    names = [file.stem for part in files.values() for file in part]
    is_unique = len(set(names)) == len(names)
    return [
        manifest.record(file.stem if is_unique else f"{split}/{file.stem}", file, split)
        for split, part in files.items()
        for file in part
    ]


def _read_polygons(file: Path, hw: tuple[int, int]) -> list[tuple[int, MaskArray]]:
    """(class, mask) of each line."""
    objects = []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            value, *shares = (float(part) for part in line.split())
        except ValueError:
            raise UserError(f"{where}: expected numbers: a class, then x y x y ...") from None
        if len(shares) == 4:
            raise UserError(f"{where} is a box: YOLO's labels for segmentation are polygons")
        if len(shares) < 6 or len(shares) % 2 or not value.is_integer():
            raise UserError(
                f"{where}: {len(shares)} numbers behind the class; expected x and y of three corners "
                "or more (and no confidence, as predictions have it)"
            )
        corners = np.array(shares).reshape(-1, 2) * (hw[1], hw[0])
        objects.append((int(value), fill(corners, hw, where)))
    return objects

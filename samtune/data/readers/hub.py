"""Data sets of Hugging Face: saved on disk, as parquet, or by their name on the hub.

PATH/dataset_dict.json, PATH/train/*.arrow        `save_to_disk` of a DatasetDict, or of a Dataset
PATH/train-0000.parquet, PATH/data/*.parquet      splits in the names of files or folders
hf:OWNER/NAME                                     downloaded once, into the library's own cache

One column holds the images; another one label images (`mask`, `annotation`, ...: classes; `instances`,
`labels`, ...: objects), or lists of masks, one for each object, whose classes a list beside them may
name (`categories`). Other plain columns (`patient`, `split`) count as those of a manifest, classes by
their names. What else holds pictures, and splits without masks, are counted. Rows stay on disk and are
mapped into memory when read; of parquet the library keeps a copy in its cache.
Format: https://huggingface.co/docs/datasets/image_dataset
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtune.data.arrow import require_sound
from samtune.data.label_maps import LabelKind, check_size, interpret_labels, read_object_masks
from samtune.data.left_out import LeftOut
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import file_splits, split_folders, splits_in
from samtune.errors import UserError, first_line, require
from samtune.files import files_ending
from samtune.images.kinds import EncodedImage, ImageFile
from samtune.images.labels import read_labels

_IMAGES = ("image", "images", "img", "pixel_values", "picture", "photo")
_OBJECTS = (
    "instances", "instance_masks", "instance_mask", "instance", "instance_map", "objects", "masks",
    "labels",
)  # fmt: skip
_CLASSES = (
    "mask", "label", "annotation", "annotations", "segmentation", "segmentation_mask", "semantic_mask",
    "semantic_segmentation", "segmentation_map", "label_map", "gt", "ground_truth",
)  # fmt: skip
# Of lists with the class of each of a list of masks
_NAMES = (
    "categories", "category", "classes", "class_names", "class_labels", "labels", "label",
)  # fmt: skip
# Kinds of columns that hold a text or a number
_PLAIN = ("Value", "ClassLabel")
_NAME = re.compile(r"hf:([\w.-]+(?:/[\w.-]+)?)")


@dataclass(frozen=True)
class _Columns:
    """What the columns of a table are; `others` hold pictures as well, and are not read."""

    image: str
    labels: str
    names: str = ""
    others: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.image, self.labels, self.names)))


class Hub(Reader):
    """Rows of a Hugging Face data set with an image and its masks.

    Args:
        path: a folder as described at the top of this module, a parquet file, or `hf:OWNER/NAME`.
        settings: how to read. `labels: auto` goes by the name of the column.

    Raises:
        UserError: it cannot be opened, or its columns of images and masks cannot be told.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.path, self.settings = path, settings or SourceSettings()
        self._tables = {name: rows.with_format("arrow") for name, rows in _open(path).items()}
        self._left_out = LeftOut()
        self._columns = self._choose_all()
        self.records: list[Record] = []
        self._places: list[tuple[str, int]] = []
        splits = splits_in(self._tables)
        for table in self._columns:
            for number, columns in enumerate(_plain_columns(self._tables[table])):
                name, split = f"{table}/{number:06d}".removeprefix("/"), splits.get(table, "")
                self.records.append(Record(name, path, split, columns=tuple(columns.items())))
                self._places.append((table, number))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() == ".parquet"
        return is_hub_name(path) or holds_rows(path)

    def _choose_all(self) -> dict[str, "_Columns"]:
        """The columns of each table; a table without masks is left out where others have some."""
        found = {name: _choose_columns(rows.features) for name, rows in self._tables.items()}
        chosen = {name: columns for name, columns in found.items() if columns is not None}
        if not chosen:
            features = next(iter(self._tables.values())).features
            listed = ", ".join(f"{name} ({_kind(each, name)})" for name, each in features.items())
            raise UserError(
                f"{self.path} has no columns of images and masks that can be told by name: found "
                f"{listed}; rename them to image and mask (or instances) with `rename_column`"
            )
        for name, rows in self._tables.items():
            if name not in chosen:
                self._left_out.add("row", "of a split without masks", name, len(rows))
                continue
            why = f"of pictures beside {chosen[name].image} and {chosen[name].labels}"
            self._left_out.add_all("column", why, chosen[name].others)
        return chosen

    @property
    def notes(self) -> list[str]:
        return self._left_out.notes(self.path)

    def load(self, index: int) -> Loaded:
        settings, columns = self.settings, self._columns[self._places[index][0]]
        image_column, labels_column = columns.image, columns.labels
        row = self._row(index, columns.read)
        image = settings.reading.read(self._file(index, image_column, row[image_column]))
        hw = (image.shape[0], image.shape[1])
        content, classes = row[labels_column], dict[int, str]()
        if isinstance(content, list):
            files = [self._file(index, f"{labels_column}[{n}]", c) for n, c in enumerate(content)]
            labels = read_object_masks(files, hw)
            classes = self._named(index, columns, row, len(files))
        else:
            file = self._file(index, labels_column, content)
            values = read_labels(file)
            check_size(values.shape[:2], hw, file)
            usual: LabelKind = "instances" if labels_column.lower() in _OBJECTS else "semantic"
            labels, classes = interpret_labels(values, settings, usual, file)
        return image, labels, classes

    def image_file(self, index: int) -> ImageFile:
        column = self._columns[self._places[index][0]].image
        return self._file(index, column, self._row(index, (column,))[column])

    def _named(
        self, index: int, columns: "_Columns", row: dict[str, Any], number: int
    ) -> dict[int, str]:
        """The class of each of so many masks of a row, where a column names them."""
        if not columns.names:
            return {}
        feature = self._tables[self._places[index][0]].features[columns.names].feature
        values = [_text(value, feature) for value in row[columns.names] or ()]
        if len(values) != number:
            raise UserError(
                f"row {self.records[index].image_id} of {self.path} has {number} masks, but "
                f"{len(values)} {columns.names}: expected one for each"
            )
        given = {str(value): name for value, name in self.settings.class_names}
        return {n: given.get(value, value) for n, value in enumerate(values, start=1)}

    def _row(self, index: int, columns: tuple[str, ...]) -> dict[str, Any]:
        split, number = self._places[index]
        try:
            row = self._tables[split][number]
            return {name: row[name][0].as_py() for name in columns}
        except Exception as error:  # the library raises whatever the bytes make it do
            reason = first_line(error)
            raise UserError(f"row {number} of {self.path} cannot be read: {reason}") from error

    def _file(self, index: int, column: str, content: Any) -> ImageFile:
        name = f"{column} of row {self.records[index].image_id} of {self.path}"
        if isinstance(content, bytes):
            return EncodedImage(name, content)
        if isinstance(content, dict) and content.get("bytes") is not None:
            return EncodedImage(name, content["bytes"])
        if isinstance(content, dict) and content.get("path"):
            folder = self.path if self.path.is_dir() else self.path.parent
            return Path(folder, content["path"])  # where an absolute one stays as it is
        raise UserError(f"{name} is empty: leave such rows out (`filter`)")


def is_hub_name(path: Path) -> bool:
    """Whether a path is a name on the hub, `hf:OWNER/NAME`."""
    return str(path).startswith("hf:")


def holds_rows(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`, or holds parquet files."""
    is_saved = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return is_saved or (folder / "dataset_dict.json").is_file() or bool(_parquet_files(folder))


def _parquet_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    places = (path, path / "data", *split_folders(path))
    return [file for place in places for file in files_ending(place, ".parquet")]


def _open(path: Path) -> dict[str, Any]:
    """Rows by split."""
    datasets = require("datasets", "hub")
    name = _NAME.fullmatch(str(path))
    if is_hub_name(path) and not name:
        raise UserError(f"data.path is {path}: a name on the hub is hf:OWNER/NAME")
    try:
        if name:
            found = datasets.load_dataset(name[1])
        elif files := _parquet_files(path):
            by_split: dict[str, list[str]] = {}
            for file, split in zip(files, file_splits(path, files), strict=True):
                by_split.setdefault(split, []).append(str(file))
            return {split: datasets.Dataset.from_parquet(part) for split, part in by_split.items()}
        else:
            require_sound(path)
            found = datasets.load_from_disk(str(path))
    except UserError:
        raise
    except Exception as error:  # the library raises whatever the bytes make it do
        raise UserError(
            f"{path} cannot be opened as a data set of Hugging Face: {first_line(error)}"
        ) from error
    return dict(found) if isinstance(found, dict) else {"": found}


def _choose_columns(features: Any) -> _Columns | None:
    """The columns of a table; `None` where images and masks cannot be told by name."""
    singles = [name for name, feature in features.items() if _is_image(feature, name)]
    inner = {name: getattr(feature, "feature", None) for name, feature in features.items()}
    lists = [name for name, feature in inner.items() if _is_image(feature, name)]
    images = _named(singles, _IMAGES)
    others = [name for name in (*singles, *lists) if name not in images[:1]]
    labels = _named(others, (*_OBJECTS, *_CLASSES)) or (others if len(others) == 1 else [])
    if not images or not labels:
        return None
    values = [n for n, each in inner.items() if type(each).__name__ in _PLAIN and n not in lists]
    names = _named(values, _NAMES) if labels[0] in lists else []
    rest = [name for name in others if name != labels[0]]
    return _Columns(images[0], labels[0], (names or [""])[0], tuple(rest))


def _named(columns: list[str], names: tuple[str, ...]) -> list[str]:
    """Columns with one of these names, in the order of the names."""
    return [column for name in names for column in columns if column.lower() == name]


def _is_image(feature: Any, column: str) -> bool:
    """An Image, or what is left of one in parquet without the library's own description.

    That may be bytes alone, which are one by the name of their column.
    """
    is_struct = isinstance(feature, dict) and set(feature) == {"bytes", "path"}
    is_bytes = "binary" in str(getattr(feature, "dtype", ""))
    is_called = column.lower() in (*_IMAGES, *_OBJECTS, *_CLASSES)
    return type(feature).__name__ == "Image" or is_struct or (is_bytes and is_called)


def _kind(feature: Any, column: str) -> str:
    if _is_image(feature, column):
        return "Image"
    return getattr(feature, "dtype", None) or type(feature).__name__


def _plain_columns(rows: Any) -> list[dict[str, str]]:
    """Texts and numbers of each row."""
    features = {
        name: feature for name, feature in rows.features.items()
        if type(feature).__name__ in _PLAIN and "binary" not in str(feature.dtype)
    }  # fmt: skip
    if not features:
        return [{} for _ in range(len(rows))]
    found = rows.select_columns(list(features))[:].to_pylist()
    return [{name: _text(value, features[name]) for name, value in row.items()} for row in found]


def _text(value: Any, feature: Any) -> str:
    """A value as text, a class by its name; empty for none."""
    if value is None or value != value or (type(feature).__name__ == "ClassLabel" and value < 0):
        return ""
    return feature.int2str(value) if type(feature).__name__ == "ClassLabel" else str(value)

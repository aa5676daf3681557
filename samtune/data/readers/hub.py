"""Data sets of Hugging Face: saved on disk, as parquet, or by their name on the hub.

PATH/dataset_dict.json, PATH/train/*.arrow        `save_to_disk` of a DatasetDict, or of a Dataset
PATH/train-0000.parquet, PATH/data/*.parquet      splits in the names of files or folders
hf:OWNER/NAME                                     downloaded once, into the library's own cache

One column holds the images; another one label images (`mask`, `annotation`, ...: classes; `instances`,
`labels`, ...: objects), or lists of masks, one for each object. Other plain columns (`patient`,
`split`) count as those of a manifest. Rows stay on disk and are mapped into memory when read; of
parquet the library keeps a copy in its cache.
Format: https://huggingface.co/docs/datasets/image_dataset
"""

import re
from pathlib import Path
from typing import Any

from samtune.data.arrow import require_sound
from samtune.data.label_maps import LabelKind, check_size, interpret_labels, read_object_masks
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import file_splits, split_folders, splits_in
from samtune.errors import UserError, first_line, require
from samtune.images.pixels import EncodedImage, ImageFile, read_labels

_IMAGES = ("image", "images", "img", "pixel_values", "picture", "photo")
_OBJECTS = (
    "instances", "instance_masks", "instance_mask", "instance", "instance_map", "objects", "masks",
    "labels",
)  # fmt: skip
_CLASSES = (
    "mask", "label", "annotation", "annotations", "segmentation", "segmentation_mask", "semantic_mask",
    "semantic_segmentation", "segmentation_map", "label_map", "gt", "ground_truth",
)  # fmt: skip
_NAME = re.compile(r"hf:([\w.-]+(?:/[\w.-]+)?)")


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
        self._columns = {
            name: _choose_columns(rows.features, path) for name, rows in self._tables.items()
        }
        self.records: list[Record] = []
        self._places: list[tuple[str, int]] = []
        splits = splits_in(self._tables)
        for table, rows in self._tables.items():
            for number, columns in enumerate(_plain_columns(rows)):
                name, split = f"{table}/{number:06d}".removeprefix("/"), splits.get(table, "")
                self.records.append(Record(name, path, split, columns=tuple(columns.items())))
                self._places.append((table, number))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() == ".parquet"
        return is_hub_name(path) or holds_rows(path)

    def load(self, index: int) -> Loaded:
        settings = self.settings
        image_column, labels_column = self._columns[self._places[index][0]]
        row = self._row(index, (image_column, labels_column))
        image = settings.reading.read(self._file(index, image_column, row[image_column]))
        hw = (image.shape[0], image.shape[1])
        content, classes = row[labels_column], dict[int, str]()
        if isinstance(content, list):
            files = [self._file(index, f"{labels_column}[{n}]", c) for n, c in enumerate(content)]
            labels = read_object_masks(files, hw)
        else:
            file = self._file(index, labels_column, content)
            values = read_labels(file)
            check_size(values.shape[:2], hw, file)
            usual: LabelKind = "instances" if labels_column.lower() in _OBJECTS else "semantic"
            labels, classes = interpret_labels(values, settings, usual, file)
        return image, labels, classes

    def image_file(self, index: int) -> ImageFile:
        column = self._columns[self._places[index][0]][0]
        return self._file(index, column, self._row(index, (column,))[column])

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
            return Path(content["path"])
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
    return [file for place in places for file in sorted(place.glob("*.parquet"))]


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


def _choose_columns(features: Any, path: Path) -> tuple[str, str]:
    """Names of the column of images and of that of masks."""
    singles = [name for name, feature in features.items() if _is_image(feature, name)]
    lists = [
        name
        for name, feature in features.items()
        if _is_image(getattr(feature, "feature", None), name)
    ]
    images = _named(singles, _IMAGES)
    others = [name for name in (*singles, *lists) if name not in images[:1]]
    labels = _named(others, (*_OBJECTS, *_CLASSES)) or (others if len(others) == 1 else [])
    if not images or not labels:
        found = ", ".join(f"{name} ({_kind(feature, name)})" for name, feature in features.items())
        raise UserError(
            f"{path} has no columns of images and masks that can be told by name: found {found}; "
            "rename them to image and mask (or instances) with `rename_column`"
        )
    return images[0], labels[0]


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
    kinds = ("Value", "ClassLabel")
    names = [
        name for name, feature in rows.features.items()
        if type(feature).__name__ in kinds and "binary" not in str(feature.dtype)
    ]  # fmt: skip
    if not names:
        return [{} for _ in range(len(rows))]
    found = rows.select_columns(names)[:].to_pylist()
    return [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in found
    ]

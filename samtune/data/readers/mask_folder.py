"""A folder of images with masks beside them.

PATH/images/ID.png      PATH/labels/ID.png         instances: a number for each object
                        PATH/masks/ID.png          classes: a number or colour for each class
                        PATH/masks/ID/*.png        one file for each object
PATH/manifest.csv       optional: a row for each ID (or file name), with a split or group column
PATH/{train,val,test}/images ...                   optional: splits as folders
"""

import csv
from pathlib import Path

import numpy as np

from samtune.data.image_io import IMAGE_SUFFIXES, read_labels
from samtune.data.objects import split_components, stack_layers
from samtune.data.source import ReadSettings, Record, Source
from samtune.errors import UserError
from samtune.types import ImageArray, LabelArray, MaskArray, Sample

SPLIT_FOLDERS = ("train", "val", "test")
_MASK_FOLDERS = ("labels", "masks")
_MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


class MaskFolder(Source):
    """Images and masks that share their names.

    Args:
        path: the folder described at the top of this module.
        settings: how to read; `labels: auto` takes masks under `labels/` as instances, those under
            `masks/` as classes (or as one object where they hold one value besides 0).

    Raises:
        UserError: there are no images or no masks, or an image has no mask.
    """

    def __init__(self, path: Path, settings: ReadSettings | None = None) -> None:
        self.path = path
        self.settings = settings or ReadSettings()
        self.records: list[Record] = []
        self._masks: list[Path] = []
        rows = read_manifest(path)
        folders = [(path / split, split) for split in SPLIT_FOLDERS if (path / split).is_dir()]
        for folder, split in folders or [(path, "")]:
            self._add_folder(folder, split, rows)

    def _add_folder(self, folder: Path, split: str, rows: dict[str, dict[str, str]]) -> None:
        images, masks = folder / "images", _mask_folder(folder)
        files = sorted(f for f in images.glob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise UserError(f"{images} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        by_stem: dict[str, Path] = {}
        for file in files:
            if file.stem in by_stem:
                raise UserError(f"{by_stem[file.stem]} and {file} share a name and so a mask")
            by_stem[file.stem] = file
            row = rows.get(file.stem) or rows.get(file.name) or {}
            if rows and not row:
                continue
            self._masks.append(_find_mask(masks, file))
            image_id = f"{split}/{file.stem}" if split else file.stem
            self.records.append(
                Record(image_id, file, split or row.get("split", ""), columns=tuple(row.items()))
            )
        if not self.records:
            raise UserError(f"no image of {images} is named in {folder / 'manifest.csv'}")

    def read(self, index: int) -> Sample:
        record, settings = self.records[index], self.settings
        image = settings.read_image(record.path)
        labels, classes = self._read_objects(self._masks[index], image)
        if settings.with_components:
            labels, classes = split_components(labels, classes)
        return Sample(record.image_id, image, labels, classes, record.group)

    def _read_objects(self, mask: Path, image: ImageArray) -> tuple[LabelArray, dict[int, str]]:
        hw = image.shape[:2]
        if mask.is_dir():
            files = sorted(f for f in mask.iterdir() if f.suffix.lower() in _MASK_SUFFIXES)
            parts = [(number, read_labels(f), f) for number, f in enumerate(files, start=1)]
            for _, values, file in parts:
                _check_size(values.shape[:2], hw, file)
            return stack_layers(((n, _foreground(v)) for n, v, _ in parts), hw), {}
        values = read_labels(mask)
        _check_size(values.shape[:2], hw, mask)
        return self._interpret(values, mask)

    def _interpret(self, values: LabelArray, mask: Path) -> tuple[LabelArray, dict[int, str]]:
        """Turn mask values into objects, as `settings.labels` says."""
        kind, names = self.settings.labels, dict(self.settings.class_names)
        if kind == "auto":
            kind = "instances" if mask.parent.name == "labels" else "semantic"
        if values.ndim == 3:
            values, colours = _colours_to_classes(values)
            names = colours | names
        for value in self.settings.ignore_values:
            values = np.where(values == value, 0, values)
        if values.min(initial=0) < 0:
            raise UserError(
                f"{mask} holds the negative value {values.min()}: name it in data.ignore_values"
            )
        if kind == "binary":
            return (values > 0)[None].astype(np.int32), {1: names.get(1, "")}
        if kind == "instances":
            return values[None], {}
        return values[None], {int(v): names.get(int(v), str(v)) for v in np.unique(values) if v}


def _foreground(values: LabelArray) -> MaskArray:
    """Everything above 0, of whatever channel."""
    return np.asarray((values.max(axis=2) if values.ndim == 3 else values) > 0)


def _colours_to_classes(values: LabelArray) -> tuple[LabelArray, dict[int, str]]:
    """(H, W, 3) colours -> (H, W) 24-bit class numbers, named like `#ff0000`; black is 0."""
    packed = (values[..., 0] << 16) + (values[..., 1] << 8) + values[..., 2]
    return packed.astype(np.int32), {int(v): f"#{int(v):06x}" for v in np.unique(packed)}


def _check_size(found: tuple[int, ...], expected: tuple[int, ...], file: Path) -> None:
    if tuple(found) != tuple(expected):
        raise UserError(
            f"{file} is {found[1]}x{found[0]} pixels, but its image is {expected[1]}x{expected[0]}"
        )


def _mask_folder(folder: Path) -> Path:
    for name in _MASK_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise UserError(f"{folder} has no folder {' or '.join(_MASK_FOLDERS)} beside images")


def _find_mask(folder: Path, image: Path) -> Path:
    candidates = [folder / image.stem, *(folder / f"{image.stem}{s}" for s in _MASK_SUFFIXES)]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise UserError(f"{image} has no mask: expected {folder / image.stem}.png or a folder of masks")


def read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of `folder/manifest.csv` by their first column; empty without that file."""
    file = folder / "manifest.csv"
    if not file.exists():
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            key = (reader.fieldnames or [""])[0]
            return {row[key]: {k: v or "" for k, v in row.items() if k} for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as CSV: {error}") from error

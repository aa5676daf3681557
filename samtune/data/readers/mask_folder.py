"""A folder of images with masks beside them.

PATH/images/ID.png      PATH/labels/ID.png         instances: a number for each object
                        PATH/masks/ID.png          classes: a number or colour for each class
                        PATH/masks/ID/*.png        one file for each object
PATH/manifest.csv       optional: a row for each ID (or file name), with a split or group column
PATH/{train,val,test}/images ...                   optional: splits as folders (`valid`, `dev`, ...)
"""

import csv
import re
from glob import escape
from pathlib import Path

from samtune.data.image_io import IMAGE_SUFFIXES, read_labels
from samtune.data.label_maps import LabelKind, check_size, foreground, interpret_labels
from samtune.data.objects import split_components, stack_layers
from samtune.data.source import ReadSettings, Record, Source
from samtune.data.splits import split_called, split_folders
from samtune.errors import UserError
from samtune.types import ImageArray, LabelArray, Sample

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
        for folder, split in (image_folders(path) or {path: ""}).items():
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
            image_id = f"{folder.name}/{file.stem}" if split else file.stem
            self.records.append(
                Record(image_id, file, split or row.get("split", ""), columns=tuple(row.items()))
            )
        if not self.records:
            raise UserError(
                f"no image of {images} is named in the first column of {self.path / 'manifest.csv'}: "
                f"it names {next(iter(rows))}, the images are called {files[0].name}"
            )

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
                check_size(values.shape[:2], hw, file)
            return stack_layers(((n, foreground(v)) for n, v, _ in parts), hw), {}
        values = read_labels(mask)
        check_size(values.shape[:2], hw, mask)
        kind: LabelKind = "instances" if mask.parent.name == "labels" else "semantic"
        return interpret_labels(values, self.settings, kind, mask)


def image_folders(path: Path) -> dict[Path, str]:
    """Folders by split; one that is called as a split alone is one even if its images are missing."""
    found = split_folders(path).items()
    return {f: split for f, split in found if (f / "images").is_dir() or split_called(f.name)}


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
    like = sorted(file.name for file in folder.glob(f"{escape(image.stem)}*"))
    names = like or sorted(file.name for file in folder.iterdir())
    found = ", ".join(names[:3]) or "nothing"
    raise UserError(
        f"{image} has no mask: expected {folder / image.stem}.png (or {', '.join(_MASK_SUFFIXES[1:])}, "
        f"without loss and without a suffix to the name), or a folder of masks; {folder} holds {found}"
    )


def read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of `folder/manifest.csv` by their first column; empty without that file."""
    file = folder / "manifest.csv"
    if not file.exists():
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            key = (reader.fieldnames or [""])[0]
            if len(reader.fieldnames or ()) == 1 and re.search(r"[;\t|]", key):
                wanted = re.sub(r"[;\t|]", ",", key)
                raise UserError(
                    f"{file} has the one column '{key}': expected commas between them, '{wanted}'"
                )
            return {row[key]: {k: v or "" for k, v in row.items() if k} for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as CSV: {error}") from error

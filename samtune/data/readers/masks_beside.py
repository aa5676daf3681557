"""A folder of images, each with its mask beside it, as cellpose and Roboflow write them.

PATH/a.tif      PATH/a_masks.tif, a_cp_masks.png       instances: a number for each object
                PATH/a_labels.tif, a_label.png
PATH/a_img.png  PATH/a_masks.png                       the same, as in cellpose's own data set
                PATH/a_mask.png                        classes: a number or colour for each class
PATH/_classes.csv                                      optional: numbers and names (Roboflow)
PATH/manifest.csv                                      optional: a row for each image
PATH/{train,val,test}/ ...                             optional: splits as folders (`valid`, `dev`, ...)

cellpose's a_seg.npy is a pickle, which can run code when it is opened: it is not.
"""

import csv
from pathlib import Path

from samtune.data.label_maps import LabelKind, check_size, interpret_labels
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.reader import Loaded, Reader
from samtune.data.readers.mask_folder import require_own_masks
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import split_folders
from samtune.data.value_names import mean_classes, name_notes, read_value_names
from samtune.errors import UserError
from samtune.files import name_key
from samtune.images.kinds import is_mask, is_picture, picture_id
from samtune.images.labels import read_labels
from samtune.parsing import read_lines

# What the name of a mask has more than its image's, and what its values usually are.
_ENDINGS: dict[str, LabelKind] = {
    "_cp_masks": "instances", "_masks": "instances", "_labels": "instances", "_label": "instances",
    "_mask": "semantic",
}  # fmt: skip
_PICKLE = "_seg.npy"
# What the name of an image may have more, where its mask's has another ending instead
_IMAGE = "_img"
_SAVE_MASKS = "in cellpose save the masks as PNG or TIFF"


class MasksBeside(Reader):
    """Images and the masks that are called as they are, with an ending.

    Args:
        path: the folder described at the top of this module.
        settings: how to read; `labels: auto` goes by the ending.

    Raises:
        UserError: no image has a mask, or two have the same.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.path, self.settings = path, settings or SourceSettings()
        self.records: list[Record] = []
        self._masks: list[tuple[Path, LabelKind]] = []
        self._names: dict[Path, dict[int, str]] = {}
        self._left_out = LeftOut()
        if not path.is_dir():
            raise UserError(f"{path} is no folder: expected one with images and their masks")
        manifest = Manifest(path)
        for folder, split in {path: "", **split_folders(path)}.items():
            self._add_folder(folder, split, manifest)
        masks = [mask for mask, _ in self._masks]
        require_own_masks([r.path for r in self.records], masks)
        column = self.settings.class_column
        self._of_files = {mask: read_value_names(mask, column) for mask in masks}
        if not self.records:
            only = f"; *{_PICKLE} is a pickle, which is not opened: {_SAVE_MASKS}"
            raise UserError(
                f"{path} holds no image with a mask beside it: expected a.png and a_masks.png, say"
                + (only if any(path.glob(f"*{_PICKLE}")) else "")
            )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        folders = (path, *split_folders(path)) if path.is_dir() else ()
        return any(_pairs(_images_by_stem(f)) or any(f.glob(f"*{_PICKLE}")) for f in folders)

    def _add_folder(self, folder: Path, split: str, manifest: Manifest) -> None:
        images = _images_by_stem(folder)
        pairs = _pairs(images)
        masks = {mask for found in pairs.values() for mask, _ in found}
        self._names[folder] = _class_names(folder)
        for stem, files in images.items():
            if stem in pairs and len(files) > 1:
                raise UserError(f"{files[0]} and {files[1]} share a name and so a mask")
            if stem in pairs:
                name = f"{folder.name}/{stem}" if split else stem
                self.records.append(manifest.record(name, files[0], split))
                self._masks.append(pairs[stem][0])
                self._left_out.add_all(
                    "second mask", "of an image", (m for m, _ in pairs[stem][1:])
                )
            elif (folder / f"{stem}{_PICKLE}").exists():
                why = f"with {_PICKLE} alone (a pickle, not opened: {_SAVE_MASKS})"
                self._left_out.add("image", why, files[0])
            elif files[0] not in masks:
                self._left_out.add_all("image", "without a mask", files)

    @property
    def notes(self) -> list[str]:
        named = name_notes(self._of_files.values(), self.settings)
        return self._left_out.notes(self.path) + named

    def load(self, index: int) -> Loaded:
        record, (mask, usual) = self.records[index], self._masks[index]
        image = self.settings.reading.read(record.path)
        values = read_labels(mask)
        check_size(values.shape[:2], image.shape[:2], mask)
        names = self._of_files[mask].names | self._names[record.path.parent]
        kind = "semantic" if mean_classes(self._of_files.values(), self.settings) else usual
        return image, *interpret_labels(values, self.settings, kind, mask, names)


def _images_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Pictures of a folder, masks among them."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if is_picture(file):
            found.setdefault(picture_id(file), []).append(file)
    return found


def _pairs(images: dict[str, list[Path]]) -> dict[str, list[tuple[Path, LabelKind]]]:
    """The masks of each image that has some, that of the first ending first."""
    names: dict[str, list[str]] = {}
    for stem in images:
        names.setdefault(name_key(stem), []).append(stem)
    found = {
        stem: [
            (mask, kind)
            for ending, kind in _ENDINGS.items()
            for name in dict.fromkeys((stem, stem.removesuffix(_IMAGE)))
            for mask in _called(f"{name}{ending}", images, names)
            if is_mask(mask)
        ]
        for stem in images
    }
    return {stem: masks for stem, masks in found.items() if masks}


def _called(name: str, images: dict[str, list[Path]], names: dict[str, list[str]]) -> list[Path]:
    """Pictures of a name; else of the only one that is the same but for capitals and accents."""
    alike = names.get(name_key(name), [])
    return images.get(name) or (images[alike[0]] if len(alike) == 1 else [])


def _class_names(folder: Path) -> dict[int, str]:
    """Names of classes by number, of Roboflow's file; none without it.

    Raises:
        UserError: a line is no number with a name.
    """
    file = folder / "_classes.csv"
    lines = read_lines(file)[1:] if file.is_file() else []
    try:
        return {int(number): name.strip() for number, name in csv.reader(lines)}
    except (ValueError, csv.Error) as error:
        raise UserError(f"{file}: expected lines NUMBER,NAME below a head ({error})") from error

"""A folder of images with masks beside them.

PATH/images/ID.png      PATH/labels/ID.png         instances: a number for each object
                        PATH/masks/ID.png          classes: a number or colour for each class
                        PATH/masks/ID/*.png        one file for each object
PATH/masks/ID.tif.aux.xml                          optional: names of classes, as GIS write them
PATH/manifest.csv       optional: a row for each ID (or file name), with a split or group column
PATH/{train,val,test}/images ...                   optional: splits as folders (`valid`, `dev`, ...)
"""

from collections.abc import Iterator
from glob import escape
from pathlib import Path

from samtune.data.label_maps import LabelKind, check_size, interpret_labels, read_object_masks
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import split_called, split_folders
from samtune.data.value_names import mean_classes, name_notes, read_value_names
from samtune.errors import UserError
from samtune.files import find_file, is_hidden, name_key
from samtune.images.kinds import IMAGE_SUFFIXES, MASK_SUFFIXES, is_mask, is_picture, picture_id
from samtune.images.labels import read_labels
from samtune.types import ImageArray, LabelArray

_MASK_FOLDERS = ("labels", "masks")
_OME = ".ome"


class MaskFolder(Reader):
    """Images and masks that share their names.

    Args:
        path: the folder described at the top of this module.
        settings: how to read; `labels: auto` takes masks under `labels/` as instances, those under
            `masks/` as classes (or as one object where they hold one value besides 0).

    Raises:
        UserError: there are no images or no masks, or an image has no mask.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.path = path
        self.settings = settings or SourceSettings()
        self.records: list[Record] = []
        self._masks: list[Path] = []
        rows, left_out = Manifest(path), list[Path]()
        for folder, split in (image_folders(path) or {path: ""}).items():
            left_out += self._add_folder(folder, split, rows)
        self._notes = list(self._compare(rows.rows, left_out))
        column = self.settings.class_column
        self._names = {m: read_value_names(m, column) for m in self._masks if m.is_file()}
        self._are_classes = mean_classes(self._names.values(), self.settings)
        self._notes += name_notes(self._names.values(), self.settings)
        without = LeftOut()
        without.add_all("mask", "without an image", self._masks_alone(left_out))
        without.add_all("file", "among the images that is none", self._no_images())
        self._notes += without.notes(path)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return has_folder(path, "images") and has_folder(path, *_MASK_FOLDERS)

    def _add_folder(self, folder: Path, split: str, manifest: Manifest) -> list[Path]:
        """Add the images that the manifest names; the others are returned."""
        images, masks = folder / "images", _mask_folder(folder)
        files = sorted(f for f in images.glob("*") if not f.is_dir() and is_picture(f))
        if not files:
            found = ", ".join(sorted(each.name for each in images.glob("*"))[:3]) or "nothing"
            raise UserError(
                f"{images} holds no images ({', '.join(IMAGE_SUFFIXES)}): found {found}"
            )
        by_stem, left_out = dict[str, Path](), list[Path]()
        for file in files:
            if (stem := picture_id(file)) in by_stem:
                raise UserError(f"{by_stem[stem]} and {file} share a name and so a mask")
            by_stem[stem] = file
            if manifest.rows and not manifest.row(stem, file):
                left_out.append(file)
                continue
            self._masks.append(_find_mask(masks, file))
            image_id = f"{folder.name}/{stem}" if split else stem
            self.records.append(manifest.record(image_id, file, split, name=stem))
        require_own_masks([record.path for record in self.records], self._masks)
        if not self.records:
            raise UserError(
                f"no image of {images} is named in the first column of {self.path / 'manifest.csv'}: "
                f"it names {next(iter(manifest.rows))}, the images are called {files[0].name}"
            )
        return left_out

    def _compare(self, rows: dict[str, dict[str, str]], left_out: list[Path]) -> Iterator[str]:
        """What is to be told of images without a row, and of rows without an image."""
        manifest, number = self.path / "manifest.csv", len(left_out) + len(self.records)
        if left_out:
            yield (
                f"{len(left_out)} of {number} images have no row in {manifest} and are left out, such "
                f"as {left_out[0]}"
            )
        named = {name for r in self.records for name in (picture_id(r.path), r.path.name)}
        if unknown := [image for image in rows if image not in named]:
            of = f"{len(unknown)} of {len(rows)} rows of {manifest}"
            yield f"{of} name no image, such as {unknown[0]!r}"

    def _masks_alone(self, left_out: list[Path]) -> Iterator[str]:
        """Masks, and folders of masks, that are of no image."""
        images = (*left_out, *(record.path for record in self.records))
        names = {name_key(name) for image in images for name in _names_of(image)}
        for folder in sorted({mask.parent for mask in self._masks}):
            for file in sorted(folder.iterdir()):
                is_one = file.is_dir() or is_mask(file)
                if is_one and not {name_key(file.stem), name_key(file.name)} & names:
                    yield file.relative_to(self.path).as_posix()

    def _no_images(self) -> Iterator[str]:
        """Files where images lie, but those that their owner does not see."""
        for folder in sorted({record.path.parent for record in self.records}):
            for file in sorted(folder.iterdir()):
                if file.is_file() and not is_hidden(file) and not is_picture(file):
                    yield file.relative_to(self.path).as_posix()

    @property
    def notes(self) -> list[str]:
        return self._notes

    def load(self, index: int) -> Loaded:
        record, settings = self.records[index], self.settings
        image = settings.reading.read(record.path)
        labels, classes = self._read_objects(self._masks[index], image)
        return image, labels, classes

    def _read_objects(self, mask: Path, image: ImageArray) -> tuple[LabelArray, dict[int, str]]:
        hw = image.shape[:2]
        if mask.is_dir():
            files = sorted(filter(is_mask, mask.iterdir()))
            return read_object_masks(files, (hw[0], hw[1])), {}
        values = read_labels(mask)
        check_size(values.shape[:2], hw, mask)
        is_class = self._are_classes or mask.parent.name != "labels"
        kind: LabelKind = "semantic" if is_class else "instances"
        return interpret_labels(values, self.settings, kind, mask, self._names[mask].names)


def require_own_masks(images: list[Path], masks: list[Path]) -> None:
    """Refuse two images that have one mask, which can be of one of them alone.

    Args:
        images: files.
        masks: of each of them.

    Raises:
        UserError: there are such.
    """
    first: dict[Path, Path] = {}
    for image, mask in zip(images, masks, strict=True):
        other = first.setdefault(mask, image)
        if other is not image:
            raise UserError(f"{other} and {image} share a name and so the mask {mask}")


def image_folders(path: Path) -> dict[Path, str]:
    """Folders by split; one that is called as a split alone is one even if its images are missing."""
    found = split_folders(path).items()
    return {f: split for f, split in found if (f / "images").is_dir() or split_called(f.name)}


def has_folder(path: Path, *names: str) -> bool:
    """Whether a folder, or one of its folders by split, has a folder of one of these names."""
    return any(
        (folder / name).is_dir() for folder in (path, *image_folders(path)) for name in names
    )


def _mask_folder(folder: Path) -> Path:
    for name in _MASK_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise UserError(f"{folder} has no folder {' or '.join(_MASK_FOLDERS)} beside images")


def _names_of(image: Path) -> tuple[str, ...]:
    """What the mask of an image may be called, without suffix: a.ome.tif may have a.png."""
    stem = picture_id(image)
    short = stem[: -len(_OME)] if stem.lower().endswith(_OME) else stem
    return (stem, short)


def _find_mask(folder: Path, image: Path) -> Path:
    stem = picture_id(image)
    if (folder / stem).is_dir():
        return folder / stem
    places = [(f"{name}{suffix}",) for name in _names_of(image) for suffix in ("", *MASK_SUFFIXES)]
    if mask := find_file(folder, places):
        return mask
    like = sorted(file.name for file in folder.glob(f"{escape(stem)}*"))
    names = like or sorted(file.name for file in folder.iterdir())
    found = ", ".join(names[:3]) or "nothing"
    raise UserError(
        f"{image} has no mask: expected {folder / stem}.png (or {', '.join(MASK_SUFFIXES[1:])}, "
        f"without loss and without a suffix to the name), or a folder of masks; {folder} holds {found}"
    )

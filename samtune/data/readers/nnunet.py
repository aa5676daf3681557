"""nnU-Net's layout of pictures: PNG, BMP or TIFF, whose channels may be files of their own.

PATH/imagesTr/ID_0000.png     PATH/labelsTr/ID.png      a number for each class, 0 is background
PATH/imagesTr/ID_0001.png     optional: another channel of ID; RGB is one file, _0000
PATH/imagesTs, PATH/labelsTs  optional: the test split; without labels its images are left out
PATH/dataset.json             names of the classes, or regions of several values; `ignore` is left out
PATH/manifest.csv             optional: a row for each ID

Volumes in this layout are read by `volumes.py`.
Format: https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.label_maps import check_size, interpret_labels, keep_ignored
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.nnunet_layout import (
    FOLDERS,
    channel_of,
    in_regions,
    read_dataset_json,
    require_all_channels,
)
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.errors import UserError
from samtune.files import name_key
from samtune.images.kinds import is_picture, picture_id
from samtune.images.labels import read_labels
from samtune.images.pixels import read_pixels


class NnUnet(Reader):
    """Pictures with their labels in nnU-Net's folders.

    Args:
        path: the folder described at the top of this module.
        settings: how to read. Of several channels `bands` chooses up to three.

    Raises:
        UserError: there are no images, one lacks its labels or a channel, or there is a choice of
            channels that nobody made.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.settings = settings or SourceSettings()
        self._about = read_dataset_json(path)
        self._channels: list[list[Path]] = []
        self._labels: list[Path] = []
        self.records: list[Record] = []
        left_out, manifest = LeftOut(), Manifest(path)
        folders = [each for each in FOLDERS if (path / each[1]).is_dir()]
        for images, labels, split in folders:
            places = {name_key(name): file for name, file in _by_id(path / labels).items()}
            unused = dict(places)
            for name, files in _by_channel(path / images, places).items():
                if name_key(name) not in unused:
                    raise UserError(
                        f"{files[0]} has no labels: expected {path / labels / name}.png"
                    )
                self._channels.append(files)
                self._labels.append(unused.pop(name_key(name)))
                self.records.append(
                    manifest.record(name, files[0], split if len(folders) > 1 else "", name=name)
                )
            left_out.add_all("file of labels", "without an image", unused.values())
        for images, labels, _ in FOLDERS:
            if not (path / labels).is_dir():
                left_out.add_all("image", f"without {labels}", _by_id(path / images).values())
        self._notes = left_out.notes(path)
        if not self.records:
            raise UserError(f"{path} holds no images in imagesTr with labels in labelsTr")
        self.is_part = any(len(files) > 1 for files in self._channels)
        if self.is_part and self.settings.reading.bands is None:
            raise UserError(self._which_channels())

    @classmethod
    def recognises(cls, path: Path) -> bool:
        images, labels, _ = FOLDERS[0]
        return (path / labels).is_dir() and bool(_by_id(path / images))

    def _which_channels(self) -> str:
        files = max(self._channels, key=len)
        names = self._about.channels
        listed = ", ".join(f"{n}: {names[n]}" for n in range(len(files)) if n in names)
        return (
            f"{files[0]} and the files beside it are {len(files)} channels: choose with bands, [0] for "
            "the first, or two or three that become red, green and blue "
            f"({listed or f'0 to {len(files) - 1}'})"
        )

    @property
    def notes(self) -> list[str]:
        return self._notes

    def load(self, index: int) -> Loaded:
        record, about = self.records[index], self._about
        reading = self.settings.reading
        if len(self._channels[index]) > 1:
            image = reading.show(self.stored(index), record.path)
        else:
            image = reading.read(record.path)
        file = self._labels[index]
        values = read_labels(file)
        check_size(values.shape[:2], image.shape[:2], file)
        ignored = (*self.settings.ignore_values, *about.ignored)
        settings = replace(self.settings, ignore_values=ignored)
        if not about.regions:
            return image, *interpret_labels(values, settings, "semantic", file, about.class_names)
        is_ignored = np.isin(values, ignored)
        labels = in_regions(np.where(is_ignored, 0, values)[None], about.regions, file)
        names = about.class_names | dict(settings.class_names)
        labels, classes = (
            labels.astype(np.int32),
            {int(n): names[int(n)] for n in np.unique(labels) if n},
        )
        if settings.keeps_ignored:
            labels, classes = keep_ignored(labels, classes, is_ignored)
        return image, labels, classes

    def stored(self, index: int) -> NDArray[Any]:
        return np.concatenate([read_pixels(file) for file in self._channels[index]], axis=2)


def _by_id(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by their names."""
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if not file.is_dir() and is_picture(file):
            first = found.setdefault(picture_id(file), file)
            if first != file:
                raise UserError(f"{first} and {file} share a name: which is meant cannot be told")
    return found


def _by_channel(folder: Path, labels: dict[str, Path]) -> dict[str, list[Path]]:
    """Files of each image, its channels in order.

    Args:
        folder: of the images.
        labels: by `name_key` of images' names; a name that is one of these says no channel.
    """
    found: dict[str, list[tuple[int, Path]]] = {}
    for stem, file in _by_id(folder).items():
        channel = channel_of(stem)
        name, number = (stem, 0) if name_key(stem) in labels or channel is None else channel
        found.setdefault(name, []).append((number, file))
    for files in found.values():
        require_all_channels(files[0][1], [number for number, _ in files])
    return {name: [file for _, file in files] for name, files in found.items()}

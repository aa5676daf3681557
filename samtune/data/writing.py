"""Writing samples as COCO, label maps, YOLO or labelme, so that they read back equal.

Image ids, object ids and classes are kept as far as a format can hold them; splits, groups and the
columns of the manifest (spacing among them) always.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from PIL import Image

from samtune.coco import CocoFile
from samtune.data.objects import find_objects, object_mask
from samtune.data.settings import Target
from samtune.data.source import Record
from samtune.errors import UserError
from samtune.files import replacing_file, write_bytes, write_json, write_text
from samtune.images.kinds import ImageFile
from samtune.images.writing import write_image
from samtune.masks import mask_to_polygon
from samtune.types import LabelArray, MaskArray, Sample

# Object ids that a PNG of 16 bits can hold.
_LARGEST_IN_PNG = 2**16 - 1


def objects_of(sample: Sample) -> Iterator[tuple[int, str, MaskArray]]:
    """Id, class and mask of each object, by id."""
    for place in find_objects(sample.labels):
        mask = object_mask(sample.labels, place)
        yield place.object_id, sample.classes.get(place.object_id, ""), mask


def _group_of(sample: Sample) -> dict[str, str]:
    """What ties images together, unless an image is tied to none."""
    return {} if sample.group in ("", sample.image_id) else {"group": sample.group}


def write_label_map(place: Path, labels: LabelArray) -> Path:
    """Write (H, W) labels as a PNG of 16 bits, or as a TIFF where ids do not fit one.

    Args:
        place: the path without a suffix.
        labels: what to write.

    Returns:
        The path with its suffix.
    """
    buffer = io.BytesIO()
    path = place.with_name(f"{place.name}.png")
    if labels.max(initial=0) > _LARGEST_IN_PNG:
        path = place.with_name(f"{place.name}.tif")
        tifffile.imwrite(buffer, labels, compression="zlib")
    else:
        Image.fromarray(labels.astype(np.uint16)).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue(), is_durable=False)
    return path


def labelme_content(
    image_path: str, hw: tuple[int, ...], objects: Iterable[tuple[str, MaskArray]]
) -> dict[str, Any]:
    """What labelme's JSON file of an image holds; a polygon is an object.

    Args:
        image_path: of the image, as seen from the JSON file.
        hw: its height and width.
        objects: class and (H, W) mask of each.
    """
    shapes = [
        {"label": name or "object", "points": mask_to_polygon(mask).tolist(), "group_id": None,
         "shape_type": "polygon", "flags": {}}
        for name, mask in objects
    ]  # fmt: skip
    return {
        "version": "5.0.0", "flags": {}, "shapes": shapes, "imagePath": image_path,
        "imageData": None, "imageHeight": hw[0], "imageWidth": hw[1],
    }  # fmt: skip


class Writer(ABC):
    """Writes one data set into a folder that is empty.

    Args:
        folder: where to.
    """

    _images_folder = "images"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, dict[str, str]] = {}

    def add(self, split: str, record: Record, sample: Sample, file: ImageFile | None) -> None:
        """Write one image with its objects.

        Args:
            split: `train`, `val`, `test`.
            record, sample: the image.
            file: with the pixels of this image alone; `None` for a part of a larger one.

        Raises:
            UserError: another image would get the same name, or the format cannot hold the objects.
        """
        stem = sample.image_id.replace("/", "_").replace("@", "_")
        if stem in self._rows:
            raise UserError(f"two images would be called {stem}: rename {sample.image_id}")
        others = {name: value for name, value in record.columns if name not in ("id", "split")}
        others |= _group_of(sample)
        self._rows[stem] = {"split": split, **others}
        image = write_image(file, sample.image, self.folder / self._images_folder / stem)
        self._add(split, image, sample)

    @abstractmethod
    def _add(self, split: str, image: Path, sample: Sample) -> None: ...

    def finish(self) -> None:
        """Write what is known at the end only: the manifest with splits and other columns."""
        names = dict.fromkeys(name for row in self._rows.values() for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, ["id", *names], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"id": stem, **row} for stem, row in self._rows.items())
        write_text(self.folder / "manifest.csv", text.getvalue())


class CocoWriter(Writer):
    """`SPLIT.json` with run lengths, which hold every mask exactly; groups and columns of images."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._open, self._files = ExitStack(), dict[str, CocoFile]()
        self._classes: dict[str, int] = {}

    def _file_of(self, split: str) -> CocoFile:
        if split not in self._files:
            place = self._open.enter_context(replacing_file(self.folder / f"{split}.json"))
            self._files[split] = CocoFile(self._open.enter_context(place.open("wb")))
        return self._files[split]

    def _add(self, split: str, image: Path, sample: Sample) -> None:
        file, group = self._file_of(split), _group_of(sample)
        columns = {k: v for k, v in self._rows[image.stem].items() if k not in ("split", *group)}
        number = file.add_image(
            f"images/{image.name}", sample.image.shape[:2], None, sample_id=sample.image_id,
            columns=columns, **group,
        )  # fmt: skip
        for object_id, name, mask in objects_of(sample):
            category = self._classes.setdefault(name, len(self._classes) + 1)
            file.add_mask(number, category, mask, object_id=object_id)

    def finish(self) -> None:
        # classes are of all splits
        categories = [{"id": number, "name": name} for name, number in self._classes.items()]
        for file in self._files.values():
            file.finish(categories)
        self._open.close()


class LabelsWriter(Writer):
    """`labels/ID.png`: ids as they are; classes have no place there."""

    def _add(self, split: str, image: Path, sample: Sample) -> None:
        if len(sample.labels) > 1:
            raise UserError(
                f"objects of {sample.image_id} overlap, which a label map cannot hold: use coco"
            )
        write_label_map(self.folder / "labels" / image.stem, sample.labels[0])


class YoloWriter(Writer):
    """`labels/ID.txt` and `data.yaml`; a line is an object, in the order of their ids."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._classes: dict[str, int] = {}
        self._images: dict[str, list[str]] = {}

    def _add(self, split: str, image: Path, sample: Sample) -> None:
        height, width = sample.image.shape[:2]
        lines = []
        for _, name, mask in objects_of(sample):
            shares = mask_to_polygon(mask) / np.array([width, height])
            number = self._classes.setdefault(name or "object", len(self._classes))
            corners = " ".join(f"{share:.7g}" for share in shares.reshape(-1))
            lines.append(f"{number} {corners}\n")
        place = self.folder / "labels" / f"{image.stem}.txt"
        write_bytes(place, "".join(lines).encode(), is_durable=False)
        self._images.setdefault(split, []).append(f"./images/{image.name}\n")

    def finish(self) -> None:
        super().finish()
        content: dict[str, Any] = {"path": "."}
        for split, lines in self._images.items():
            write_text(self.folder / f"{split}.txt", "".join(lines))
            content[split] = f"{split}.txt"
        content["names"] = {number: name for name, number in self._classes.items()}
        text = yaml.safe_dump(content, sort_keys=False)
        write_text(self.folder / "data.yaml", text)


class LabelmeWriter(Writer):
    """`ID.json` beside `ID.png`; a polygon is an object, in the order of their ids."""

    _images_folder = ""

    def _add(self, split: str, image: Path, sample: Sample) -> None:
        objects = [(name, mask) for _, name, mask in objects_of(sample)]
        content = labelme_content(image.name, sample.image.shape[:2], objects)
        write_json(image.with_suffix(".json"), content)


WRITERS: dict[Target, type[Writer]] = {
    "coco": CocoWriter,
    "labels": LabelsWriter,
    "yolo": YoloWriter,
    "labelme": LabelmeWriter,
}

"""COCO instance segmentation: polygons, compressed and uncompressed RLE, crowds, categories.

Format: https://cocodataset.org/#format-data. Crowd annotations are regions, not objects: they are
left out.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from samtune.data.objects import split_components, stack_layers
from samtune.data.source import ReadSettings, Record, Source
from samtune.errors import UserError
from samtune.files import read_json
from samtune.geometry import polygons_to_mask, rle_to_mask
from samtune.types import MaskArray, Sample

_LARGEST_ID = 2**31 - 1


class Coco(Source):
    """One COCO annotation file and its images.

    Args:
        annotations: the JSON file.
        settings: how to read.
        split: name of the split that this file is, if it is one.

    Raises:
        UserError: the file is not COCO, or names images that do not exist.
    """

    def __init__(
        self, annotations: Path, settings: ReadSettings | None = None, split: str = ""
    ) -> None:
        self.settings = settings or ReadSettings()
        self.file = annotations
        content = read_json(annotations)
        if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
            raise UserError(f"{annotations} is not COCO: it lacks 'images' or 'annotations'")
        _require_fields(content, annotations)
        self._classes = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
        self._objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            if not annotation.get("iscrowd") and annotation.get("segmentation"):
                self._objects[annotation["image_id"]].append(annotation)
        self._images = content["images"]
        if not self._images:
            raise UserError(f"{annotations} names no images")
        root = _image_root(annotations, split, self._images[0]["file_name"])
        prefix = f"{split}/" if split else ""
        self.records = [
            Record(
                str(image.get("sample_id") or prefix + str(image["file_name"])),
                root / image["file_name"],
                split,
            )
            for image in self._images
        ]

    def read(self, index: int) -> Sample:
        record, settings = self.records[index], self.settings
        image = settings.read_image(record.path)
        height, width = image.shape[:2]
        entry = self._images[index]
        declared = (entry.get("height", height), entry.get("width", width))
        if declared != (height, width):
            raise UserError(
                f"{record.path} is {width}x{height} pixels, but {self.file} says "
                f"{declared[1]}x{declared[0]}"
            )
        annotations = self._objects.get(entry["id"], [])
        ids = _object_ids(annotations)
        masks = [self._decode(annotation, (height, width)) for annotation in annotations]
        labels = stack_layers(zip(ids, masks, strict=True), (height, width))
        classes = {
            number: self._classes.get(annotation.get("category_id"), "")
            for number, annotation in zip(ids, annotations, strict=True)
        }
        if settings.with_components:
            labels, classes = split_components(labels, classes)
        return Sample(record.image_id, image, labels, classes, record.group)

    def _decode(self, annotation: dict[str, Any], hw: tuple[int, int]) -> MaskArray:
        shape = annotation["segmentation"]
        try:
            if isinstance(shape, dict):
                mask = rle_to_mask(shape)
            else:
                mask = polygons_to_mask([p for p in shape if len(p) >= 6], hw)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise UserError(
                f"annotation {annotation.get('id')} of {self.file} has a segmentation that cannot "
                f"be decoded: {error}"
            ) from error
        if mask.shape != hw:
            raise UserError(
                f"annotation {annotation.get('id')} of {self.file} is {mask.shape[1]}x"
                f"{mask.shape[0]} pixels, but its image is {hw[1]}x{hw[0]}"
            )
        return mask


def _require_fields(content: dict[str, Any], file: Path) -> None:
    required = {
        "images": ("id", "file_name"),
        "categories": ("id", "name"),
        "annotations": ("image_id",),
    }
    for kind, names in required.items():
        for number, entry in enumerate(content.get(kind, [])):
            missing = [n for n in names if not isinstance(entry, dict) or n not in entry]
            if missing:
                raise UserError(f"{file}: entry {number} of '{kind}' lacks '{missing[0]}'")


def _object_ids(annotations: list[dict[str, Any]]) -> list[int]:
    """The file's own ids, or 1..n where those do not fit a label map.

    `object_id`, which `samtune data convert` writes, goes before `id`.
    """
    ids = [annotation.get("object_id", annotation.get("id")) for annotation in annotations]
    is_usable = all(isinstance(i, int) and 0 < i <= _LARGEST_ID for i in ids)
    if is_usable and len(set(ids)) == len(ids):
        return [int(i) for i in ids if i is not None]
    return list(range(1, len(ids) + 1))


def _image_root(annotations: Path, split: str, file_name: str) -> Path:
    """The folder that the file names start from: beside the JSON, or one of the usual places."""
    folder = annotations.parent
    names = [n for n in (split, f"{split}2017", "images", f"images/{split}") if n]
    places = [folder, *(base / n for base in (folder, folder.parent) for n in names), folder.parent]
    for place in places:
        if (place / file_name).is_file():
            return place
    raise UserError(
        f"the image {file_name} of {annotations} was not found under {folder} or {folder.parent}"
    )

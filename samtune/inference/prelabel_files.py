"""Pre-labels as labelling tools take them: COCO with scores, and cut-outs."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

import numpy as np

from samtune.data.objects import stack_layers
from samtune.drawing import to_png
from samtune.files import write_bytes
from samtune.inference.outputs import cutout
from samtune.inference.placed_mask import PlacedMask
from samtune.inference.prelabelling import ImagePrelabels, Prelabel
from samtune.outlines import mask_to_polygons
from samtune.types import ImageArray, Sample

Segmentation = Literal["rle", "polygons"]


@dataclass(frozen=True)
class LabelledImage:
    """One image with its final masks.

    Attributes:
        name: in all files.
        image_id: of COCO.
        hw: height and width.
        objects: with their masks; a mask may be empty.
    """

    name: str
    image_id: int
    hw: tuple[int, int]
    objects: list[tuple[Prelabel, PlacedMask]]

    def to_sample(self, image: ImageArray, names: dict[int, str]) -> Sample:
        """For the writers of data sets, which know no scores; empty masks are left out."""
        found = [(label, mask) for label, mask in self.objects if mask.area]
        pairs = ((label.number, mask.whole(self.hw)) for label, mask in found)
        labels = stack_layers(pairs, self.hw)
        classes = {label.number: names[label.category] for label, _ in found}
        return Sample(str(PurePosixPath(self.name).with_suffix("")), image, labels, classes)


def finish(name: str, image_id: int, found: ImagePrelabels, without_overlap: bool) -> LabelledImage:
    """Decode the masks of an image; without overlap, each pixel goes to the highest score, and the
    fit of mask and box is that of what is left."""
    objects, masks = found.objects, [label.mask for label in found.objects]
    if without_overlap:
        taken = np.zeros(found.hw, np.bool_)
        for place in sorted(range(len(masks)), key=lambda n: -objects[n].score):
            mask, window = masks[place], masks[place].window(found.hw)
            masks[place] = PlacedMask.of(mask.part & ~taken[window], mask.top, mask.left)
            taken[window] |= mask.part
        objects = [label.fitted_to(mask) for label, mask in zip(objects, masks, strict=True)]
    return LabelledImage(name, image_id, found.hw, list(zip(objects, masks, strict=True)))


class CocoStream:
    """Writes a COCO file image by image, so that no more than one is held.

    Args:
        file: to write into.
        info: about the file.
        segmentation: run lengths, or polygons.
        tolerance: of the polygons, pixels (see `mask_to_polygons`).
    """

    def __init__(
        self, file: BinaryIO, info: dict[str, Any], segmentation: Segmentation, tolerance: float
    ) -> None:
        self._file, self._images = file, list[dict[str, Any]]()
        self._segmentation, self._tolerance = segmentation, tolerance
        self._separator = "\n"
        self._write(f'{{"info": {_json(info)},\n"annotations": [')

    def add(self, image: LabelledImage) -> None:
        """Write the annotations of an image; objects without a mask are none."""
        height, width = image.hw
        self._images.append(
            {"id": image.image_id, "file_name": image.name, "height": height, "width": width}
        )
        for label, mask in image.objects:
            if mask.area:
                self._write(self._separator + _json(self._annotation(image, label, mask)))
                self._separator = ",\n"

    def _annotation(
        self, image: LabelledImage, label: Prelabel, mask: PlacedMask
    ) -> dict[str, Any]:
        box = mask.box
        assert box is not None, "an empty mask is no annotation"
        x0, y0, x1, y1 = box.tolist()
        annotation = {
            "id": label.number,
            "image_id": image.image_id,
            "category_id": label.category,
            "segmentation": self._encode(mask, image.hw),
            "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
            "area": mask.area,
            "iscrowd": 0,
            "score": round(label.score, 6),
        }
        if label.detection_score is not None:
            annotation["detection_score"] = label.detection_score
        return annotation

    def _encode(self, mask: PlacedMask, hw: tuple[int, int]) -> Any:
        if self._segmentation == "rle":
            return mask.to_rle(hw)
        corner = np.array([mask.left, mask.top])
        rings = mask_to_polygons(mask.part, self._tolerance)
        return [(ring + corner).reshape(-1).tolist() for ring in rings]

    def finish(self, categories: list[dict[str, Any]]) -> None:
        """Write what is left."""
        images = ",\n".join(map(_json, self._images))
        self._write(f'\n],\n"images": [\n{images}\n],\n"categories": {_json(categories)}}}\n')

    def _write(self, text: str) -> None:
        self._file.write(text.encode())


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False)


def write_cutouts(
    folder: Path, labelled: LabelledImage, image: ImageArray, names: dict[int, str], margin: int
) -> list[str]:
    """Write `IMAGE_OBJECT_CLASS.png` for each object; returns these names.

    Args:
        folder: where to.
        labelled: the masks.
        image: (H, W, 3).
        names: of classes, by id.
        margin: pixels around the object, as far as the image reaches.
    """
    stem = safe_name(labelled.name.rsplit(".", 1)[0], 120)
    written = []
    for label, mask in labelled.objects:
        if mask.area:
            name = f"{stem}_{label.number}_{safe_name(names[label.category], 60)}.png"
            window = mask.window(labelled.hw, margin)
            picture = cutout(image[window], mask.within(window), margin)
            write_bytes(folder / name, to_png(picture), is_durable=False)
            written.append(name)
    return written


def safe_name(text: str, most: int) -> str:
    """Letters, digits, `-` and `.` of a text, at most so many bytes, for file names anywhere."""
    plain = re.sub(r"[^\w.-]+", "_", text).strip("._") or "x"
    return plain.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def category_names(categories: Iterable[dict[str, Any]]) -> dict[int, str]:
    return {category["id"]: category["name"] for category in categories}

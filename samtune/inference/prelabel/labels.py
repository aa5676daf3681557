"""Pre-labels as labelling tools take them: COCO with scores, and cut-outs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from samtune.coco import CocoFile
from samtune.data.objects import stack_layers
from samtune.drawing import to_png
from samtune.files import write_bytes
from samtune.inference.outputs import cutout
from samtune.inference.prelabel.labelling import ImagePrelabels, Prelabel
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.inference.settings import Segmentation
from samtune.masks import mask_to_polygons
from samtune.types import ImageArray, Sample


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


def add_to_coco(
    file: CocoFile, image: LabelledImage, segmentation: Segmentation, tolerance: float
) -> None:
    """Write the annotations of an image; objects without a mask are none.

    Args:
        file: to add to.
        image: with its masks.
        segmentation: run lengths, or polygons.
        tolerance: of the polygons, pixels (see `mask_to_polygons`).
    """
    file.add_image(image.name, image.hw, image.image_id)
    for label, mask in image.objects:
        box = mask.box
        if box is None:
            continue
        scores: dict[str, float] = {"score": round(label.score, 6)}
        if label.detection_score is not None:
            scores["detection_score"] = label.detection_score
        if label.class_score is not None:
            scores["class_score"] = round(label.class_score, 6)
        shape = mask.to_rle(image.hw) if segmentation == "rle" else _polygons(mask, tolerance)
        file.add_object(
            image.image_id, label.category, shape, box, mask.area, label.number, **scores
        )


def _polygons(mask: PlacedMask, tolerance: float) -> list[list[float]]:
    corner = np.array([mask.left, mask.top])
    rings = mask_to_polygons(mask.part, tolerance)
    return [(ring + corner).reshape(-1).tolist() for ring in rings]


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

"""Files of automatic masks: a label image for each image, one COCO file for all."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.coco import CocoFile
from samtune.drawing import to_png
from samtune.errors import UserError
from samtune.files import replacing_file, write_bytes
from samtune.inference.automatic.candidates import Candidate
from samtune.types import ImageArray

Record = dict[str, Any]
Labels = NDArray[np.uint16]

COCO_FILE = "predictions.json"
_MOST_LABELS = int(np.iinfo(np.uint16).max)
# The next colour is so far round the circle of hues: neighbouring numbers differ (golden angle).
_NEXT_HUE = 0.381966
_ALPHA = 0.5


def pictures_of(folder: Path, stem: str, with_overlay: bool) -> list[Path]:
    """The files of one image."""
    names = [f"{stem}.png"] + [f"{stem}_overlay.png"] * with_overlay
    return [folder / name for name in names]


def write_results(
    folder: Path, stem: str, name: str, image: ImageArray, found: Sequence[Candidate],
    with_overlay: bool,
) -> Record:  # fmt: skip
    """Write `STEM.png` (labels), and `STEM_overlay.png` if wanted.

    Args:
        folder: of the results.
        stem: of the files.
        name: of the image in the COCO file.
        image: (H, W, 3).
        found: its masks.
        with_overlay: draw them as well.

    Returns:
        What the COCO file is written from.

    Raises:
        UserError: there are more masks than a label image can number.
    """
    ranked = sorted(found, key=lambda candidate: -candidate.predicted_iou)
    labels = to_labels(ranked, image.shape[:2])
    write_bytes(folder / f"{stem}.png", to_png(labels))
    if with_overlay:
        write_bytes(folder / f"{stem}_overlay.png", to_png(tint(image, labels)))
    return {
        "image": {"file_name": name, "height": image.shape[0], "width": image.shape[1]},
        "masks": [_kept(candidate) for candidate in ranked],
    }


def to_labels(ranked: Sequence[Candidate], hw: tuple[int, ...]) -> Labels:
    """Masks as (H, W) uint16 numbers in their order, from 1; where they overlap the first is seen.

    Raises:
        UserError: there are too many.
    """
    if len(ranked) > _MOST_LABELS:
        raise UserError(
            f"{len(ranked)} masks are more than a label image can number ({_MOST_LABELS}): raise the "
            "thresholds"
        )
    labels = np.zeros(hw, np.uint16)
    for number in range(len(ranked), 0, -1):
        candidate = ranked[number - 1]
        labels[candidate.window][candidate.cropped()] = number
    return labels


def tint(image: ImageArray, labels: Labels) -> ImageArray:
    """An (H, W, 3) image with each label in a colour of its own."""
    hues = np.arange(int(labels.max(initial=0)) + 1) * _NEXT_HUE % 1
    colours = np.array([colorsys.hsv_to_rgb(hue, 0.8, 1.0) for hue in hues.tolist()]) * 255
    picture = image.copy()
    there = labels > 0
    mixed = (1 - _ALPHA) * image[there] + _ALPHA * colours[labels[there]]
    picture[there] = mixed.astype(np.uint8)
    return picture


def _kept(candidate: Candidate) -> Record:
    """What a record keeps of a mask."""
    named = {"class": candidate.class_name, "class_score": round(candidate.class_score, 6)}
    return {
        **(named if candidate.class_name else {}),
        "segmentation": candidate.rle(),
        "box": candidate.box_xyxy.tolist(),
        "area": int(np.count_nonzero(candidate.cropped())),
        "score": round(candidate.predicted_iou, 6),
        "stability_score": round(candidate.stability_score, 6),
        "point": list(candidate.point_xy),
    }


def write_coco(path: Path, records: Sequence[Record]) -> None:
    """Write the records of all images as one COCO file, atomically."""
    with replacing_file(path) as temporary, temporary.open("wb") as opened:
        file = CocoFile(opened)
        for record in records:
            about = dict(record["image"])
            hw = about["height"], about["width"]
            image_id = file.add_image(about["file_name"], hw)
            for mask in record["masks"]:
                told = ("score", "stability_score", "point", "class_score")
                more = {name: mask[name] for name in told if name in mask}
                category = file.category(mask.get("class", "object"))
                file.add_object(
                    image_id, category, mask["segmentation"], mask["box"], mask["area"], **more
                )
        if not any(record["masks"] for record in records):
            file.category("object")
        file.finish()

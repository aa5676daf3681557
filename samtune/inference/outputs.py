"""Files that a prediction leaves: mask PNGs, COCO results with RLE, cut-outs, overlays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samtune.drawing import TUNED, draw_prompt, overlay, to_png
from samtune.files import write_bytes
from samtune.masks import mask_to_box
from samtune.types import ImageArray, MaskArray, Prompt

KINDS = ("masks", "coco", "cutouts", "overlays")


@dataclass(frozen=True)
class PredictedObject:
    """One object that was segmented.

    Attributes:
        name: given with its prompt.
        prompt: original frame.
        mask: (H, W) boolean.
        score: the IoU that the model expects.
        class_name, class_score: what it is and how likely that is, where a head told.
    """

    name: str
    prompt: Prompt
    mask: MaskArray
    score: float
    class_name: str = ""
    class_score: float = 0.0


def files_of(folder: Path, stem: str, count: int, kinds: list[str]) -> list[Path]:
    """All files that `count` objects of one image may leave."""
    numbered = {"masks": "", "cutouts": "_cutout"}
    ends = [f"_{n}{numbered[k]}" for n in range(1, count + 1) for k in kinds if k in numbered]
    ends += ["_overlay"] * ("overlays" in kinds)
    return [folder / f"{stem}{end}.png" for end in ends]


def write_image_outputs(
    folder: Path, stem: str, image: ImageArray, objects: list[PredictedObject], kinds: list[str]
) -> list[Path]:
    """Write masks, cut-outs and the overlay of one image.

    `STEM_N.png` is the mask of the N-th object (0 and 255), `STEM_N_cutout.png` the image with
    everything else transparent, cropped to the object, `STEM_overlay.png` all masks and prompts.

    Returns:
        The files written.
    """
    written = []
    for number, found in enumerate(objects, start=1):
        if "masks" in kinds:
            written.append(folder / f"{stem}_{number}.png")
            write_bytes(written[-1], to_png(found.mask.astype(np.uint8) * 255))
        if "cutouts" in kinds and found.mask.any():
            written.append(folder / f"{stem}_{number}_cutout.png")
            write_bytes(written[-1], to_png(cutout(image, found.mask)))
    if "overlays" in kinds:
        picture = image
        for found in objects:
            picture = overlay(picture, found.mask, TUNED)
        for found in objects:
            picture = draw_prompt(picture, found.prompt)
        written.append(folder / f"{stem}_overlay.png")
        write_bytes(written[-1], to_png(picture))
    return written


def cutout(image: ImageArray, mask: MaskArray, margin: int = 0) -> ImageArray:
    """The object alone as (h, w, 4) RGBA, cropped to its box and so many pixels around it."""
    box = mask_to_box(mask)
    assert box is not None, "an empty mask has no cut-out"
    x0, y0, x1, y1 = box.astype(int).tolist()
    window = (
        slice(max(0, y0 - margin), y1 + 1 + margin),
        slice(max(0, x0 - margin), x1 + 1 + margin),
    )
    alpha = mask[window].astype(np.uint8)[..., None] * 255
    return np.concatenate([image[window], alpha], axis=2)

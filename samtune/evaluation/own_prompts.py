"""Prompts that the user has drawn, in place of simulated ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samtune.geometry import mask_to_box
from samtune.inference.prompt_files import PromptedImage
from samtune.prompts.protocols import Protocol
from samtune.types import FloatArray, MaskArray, ObjectKey, Prompt

# A box prompts the object whose own box it shares most with, at least so much of it (IoU).
_LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class OwnPrompts:
    """Prompts by image.

    An object's prompt is the one that names its id; else the first with a positive point in the
    object (without positive points: whose box fits its box best).

    Attributes:
        images: what `read_prompts` gave; images are found by their files.
    """

    images: tuple[PromptedImage, ...]
    protocol = Protocol("own")

    def of_objects(
        self, path: Path, keys: list[ObjectKey], truths: list[MaskArray]
    ) -> list[Prompt | None]:
        """The prompt of each object of the image in the file `path`; `None` for those without."""
        prompts: list[Prompt | None] = [None] * len(keys)
        boxes = [mask_to_box(truth) for truth in truths]
        for object_id, prompt in self._of_image(path):
            owner = _owner(object_id, prompt, keys, truths, boxes)
            if owner is not None and prompts[owner] is None:
                prompts[owner] = prompt
        return prompts

    def _of_image(self, path: Path) -> list[tuple[int | None, Prompt]]:
        return [
            pair
            for image in self.images
            if image.path.resolve() == path.resolve()
            for pair in zip(image.object_ids, image.prompts, strict=True)
        ]


def _owner(
    object_id: int | None, prompt: Prompt, keys: list[ObjectKey], truths: list[MaskArray],
    boxes: list[FloatArray | None],
) -> int | None:  # fmt: skip
    if object_id is not None:
        ids = [key.object_id for key in keys]
        return ids.index(object_id) if object_id in ids else None
    if prompt.point_coords is not None and prompt.point_labels is not None:
        for xy in prompt.point_coords[prompt.point_labels == 1]:
            column, row = np.rint(xy).astype(int)
            for index, truth in enumerate(truths):
                inside = 0 <= row < truth.shape[0] and 0 <= column < truth.shape[1]
                if inside and truth[row, column]:
                    return index
    if prompt.box_xyxy is None or not keys:
        return None
    overlaps = [0.0 if box is None else _box_iou(prompt.box_xyxy, box) for box in boxes]
    best = int(np.argmax(overlaps))
    return best if overlaps[best] >= _LEAST_OVERLAP else None


def _box_iou(first: FloatArray, second: FloatArray) -> float:
    """Of inclusive xyxy boxes."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.clip(high - low + 1, 0, None)))
    areas = [float(np.prod(box[2:] - box[:2] + 1)) for box in (first, second)]
    return shared / (sum(areas) - shared)

"""Prompts that the user has drawn, in place of simulated ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from samtune.data.objects import ObjectPlace
from samtune.masks import box_ious
from samtune.prompts.prompt_files import PromptedImage
from samtune.prompts.protocols import Protocol
from samtune.types import LabelArray, Prompt

# A box prompts no object whose own box it shares less with (IoU).
_LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class OwnPrompts:
    """Prompts by image, each for one object at most, and each object has one at most.

    A prompt that names an object's id is for that object; else one with positive points is for the
    object under the first that lies on one; boxes go to the objects so that they fit best together.

    Attributes:
        images: what `read_prompts` gave; images are found by their files.
    """

    images: tuple[PromptedImage, ...]
    protocol = Protocol("own")

    @property
    def num_prompts(self) -> int:
        return sum(len(image.prompts) for image in self.images)

    def of_image(
        self, path: Path, labels: LabelArray, places: list[ObjectPlace]
    ) -> dict[int, Prompt]:
        """The prompts of the objects of one image, by object id.

        Args:
            path: the image's file.
            labels: (L, H, W).
            places: the objects that are asked for.
        """
        found: dict[int, Prompt] = {}
        boxes: list[Prompt] = []
        ids = {place.object_id for place in places}
        for object_id, prompt in self._of_file(path):
            owner = object_id if object_id is not None else _under_points(prompt, labels)
            if owner in ids and owner is not None:
                found.setdefault(owner, prompt)
            elif owner is None and object_id is None and prompt.box_xyxy is not None:
                boxes.append(prompt)
        free = [place for place in places if place.object_id not in found]
        return found | _by_boxes(boxes, free)

    def _of_file(self, path: Path) -> list[tuple[int | None, Prompt]]:
        return [
            pair
            for image in self.images
            if image.path.resolve() == path.resolve()
            for pair in zip(image.object_ids, image.prompts, strict=True)
        ]


def _under_points(prompt: Prompt, labels: LabelArray) -> int | None:
    """The object under the first positive point that lies on one."""
    if prompt.point_coords is None or prompt.point_labels is None:
        return None
    for xy in prompt.point_coords[prompt.point_labels == 1]:
        column, row = np.rint(xy).astype(int)
        if 0 <= row < labels.shape[1] and 0 <= column < labels.shape[2]:
            under = labels[:, row, column]
            if under.any():
                return int(under[under > 0][0])
    return None


def _by_boxes(prompts: list[Prompt], places: list[ObjectPlace]) -> dict[int, Prompt]:
    """Boxes to objects one to one, so that the sum of their overlaps is largest."""
    if not prompts or not places:
        return {}
    boxes = np.array([prompt.box_xyxy for prompt in prompts], np.float64)
    objects = np.array(
        [[p.columns.start, p.rows.start, p.columns.stop - 1, p.rows.stop - 1] for p in places],
        np.float64,
    )
    overlaps = box_ious(boxes, objects)
    rows, columns = linear_sum_assignment(-overlaps)
    return {
        places[column].object_id: prompts[row]
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if overlaps[row, column] >= _LEAST_OVERLAP
    }

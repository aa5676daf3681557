"""Pre-labels without a detector: what the model finds by itself, and whether SAM's decoder agrees."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samtune.inference.automatic.candidates import Candidate
from samtune.inference.prelabel.detections import Detection
from samtune.inference.prelabel.labelling import ImagePrelabels, Prelabel
from samtune.inference.prelabel.placed_mask import PlacedMask, placed_iou
from samtune.inference.prelabel.store import PrelabelStore, read_result
from samtune.inference.views import ImageViews, ask_in_views
from samtune.masks import mask_to_rle
from samtune.models.backend import Sam
from samtune.reading import Reading
from samtune.types import UNNAMED_CLASS, ImageArray, Prompt


class FoundStore(PrelabelStore):
    """Finds the objects of images, or reads what was found before.

    Args:
        folder: where to keep it.
        sam: in evaluation mode.
        reading: of the images, and the side of the windows in which SAM's decoder is asked.
        with_focus: it is asked about small objects in a window around them.
        search: image -> masks with scores, and classes where somebody tells.
        causes: all that these depend on but the image, as JSON can hold it.
        classes: that masks may have, as far as they are known beforehand.
    """

    def __init__(
        self, folder: Path, sam: Sam, reading: Reading, with_focus: bool,
        search: Callable[[ImageArray], Sequence[Candidate]], causes: dict[str, Any],
        classes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(folder, sam, reading, with_focus, causes)
        self.search, self.classes = search, classes
        self._numbers: dict[str, int] = {}
        self._first: dict[Path, int] = {}

    def make(self, place: Path, image: Path, detections: list[Detection]) -> None:
        """Find the objects of an image and keep them.

        Raises:
            UserError: the image cannot be read.
        """
        pixels = self.read_image(image)
        views = ImageViews(pixels, self.sam, self.reading.tile, self.with_focus)
        self.write(place, asdict(describe_found(self.sam, views, self.search(pixels))))

    def categories_of(self, places: Sequence[Path]) -> list[dict[str, Any]]:
        """Number objects and classes through all images: no image knows of the others."""
        names, count = set(self.classes), 0
        for place in places:
            found = read_result(place)
            names.update(found.names)
            self._first[place] = count
            count += len(found.objects)
        ordered = sorted(names or {UNNAMED_CLASS})
        self._numbers = {name: number for number, name in enumerate(ordered, start=1)}
        return [{"id": number, "name": name} for name, number in self._numbers.items()]

    def result_of(self, place: Path) -> ImagePrelabels:
        """What was found in an image, with the numbers that it has among all."""
        found, first = read_result(place), self._first[place]
        objects = [
            replace(
                each,
                number=first + each.number,
                category=self._numbers[found.names[each.category - 1]],
            )
            for each in found.objects
        ]
        return replace(found, objects=objects)


@torch.no_grad()
def describe_found(sam: Sam, views: ImageViews, found: Sequence[Candidate]) -> ImagePrelabels:
    """What was found in an image as pre-labels, numbered from 1; `names` has their classes.

    SAM's decoder is asked with the box of each, so that there is somebody to disagree.

    Raises:
        UserError: the model answers with NaN.
    """
    names = sorted({each.class_name or UNNAMED_CLASS for each in found})
    prompts = [Prompt(box_xyxy=each.box_xyxy.astype(np.float32)) for each in found]
    objects: dict[int, Prelabel] = {}
    for viewed in ask_in_views(sam, views, prompts):
        answer, window = viewed.answer, viewed.window
        for n, (place, part) in enumerate(zip(answer.indices, viewed.parts(sam), strict=True)):
            other = PlacedMask.of(part, window.y, window.x)
            own, category = found[place], names.index(found[place].class_name or UNNAMED_CLASS) + 1
            objects[place] = _describe(own, place + 1, category, other, answer.has_object[n])
    return ImagePrelabels(views.hw, [objects[n] for n in sorted(objects)], [], 0, names)


def _describe(
    found: Candidate, number: int, category: int, other: PlacedMask, has_object: bool
) -> Prelabel:
    x0, y0 = found.box_xyxy[:2].tolist()
    mask = PlacedMask(y0, x0, found.cropped())
    return Prelabel(
        number, category, None, found.predicted_iou, mask_to_rle(mask.part), [y0, x0], [], [],
        placed_iou(mask, other), None, None, bool(has_object),
        found.class_score if found.class_name else None,
    )  # fmt: skip

"""All objects of an image by the instance head: no grid, no prompts, no thresholds of SAM's scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samtune.errors import UserError
from samtune.heads.instances import CALIBRATION, InstanceHead
from samtune.inference.automatic.candidates import Candidate
from samtune.inference.automatic.crops import CropBox
from samtune.inference.fitting import fitting_tile
from samtune.inference.head_maps import find_head, maps_of
from samtune.inference.refining import refine
from samtune.inference.sharp_objects import sharpened_objects
from samtune.models.backend import Sam
from samtune.models.calibration import Calibration, calibration_from
from samtune.types import FloatArray, ImageArray, LabelArray


class InstanceFinder:
    """What stands in for `AutomaticMaskGenerator` where a model has an instance head.

    Args:
        sam: with a head `instances`.
        min_quality: objects of a lower score are left out.
        is_refined: boxes of the objects are asked of SAM's own decoder, and the better mask is kept.

    Raises:
        UserError: it has none, or the calibration of its scores is damaged.
    """

    def __init__(self, sam: Sam, min_quality: float = 0.0, is_refined: bool = False) -> None:
        self.sam, self.min_quality, self.is_refined = sam, min_quality, is_refined
        self.head = find_head(sam, InstanceHead.name)

    @property
    def calibration(self) -> Calibration | None:
        """What measured IoU the scores stand for, where that was fitted.

        Raises:
            UserError: it is damaged.
        """
        if (content := self.head.settings.get(CALIBRATION)) is None:
            return None
        try:
            return calibration_from(content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"the calibration in the head's head.json is damaged ({error}): train the head again"
            ) from error

    def maps(self, image: ImageArray) -> FloatArray:
        """Foreground, depth and centre (3, H, W) of an image, stretched already.

        Views are as large as the objects in this very image want it.

        Raises:
            UserError: the model answers with NaN.
        """
        return maps_of(self.sam, self.head, image, fitting_tile(self.sam, self.head, image))

    def found(self, image: ImageArray, maps: FloatArray) -> tuple[LabelArray, NDArray[np.float32]]:
        """(H, W) labels from 1, sharpened where the model has learned that, and (N,) raw scores.

        Args:
            image: (H, W, 3), stretched already.
            maps: (3, H, W) of it.
        """
        labels, scores = self.head.decode(maps)
        if self.sam.object_sharpener is not None:
            logits = self.head.foreground_logits(maps)
            labels = sharpened_objects(self.sam.object_sharpener, image, labels, logits)
        return labels, scores

    def labels(self, image: ImageArray) -> tuple[LabelArray, NDArray[np.float32]]:
        """(H, W) labels from 1, and the (N,) scores of the objects: expected IoUs, where calibrated."""
        labels, scores = self.found(image, self.maps(image))
        if self.calibration is not None:
            scores = self.calibration.of_array(scores.astype(np.float64)).astype(np.float32)
        return labels, scores

    def search(self, image: ImageArray, tiles: Sequence[CropBox] = ()) -> list[Candidate]:
        """Objects, best first; `tiles` are those of a search by a grid: the head has its own views."""
        found = to_candidates(*self.labels(image))
        if self.is_refined:
            found = refine(self.sam, image, found, fitting_tile(self.sam, self.head, image))
        return [each for each in found if each.predicted_iou >= self.min_quality]


def to_candidates(labels: LabelArray, scores: NDArray[np.float32]) -> list[Candidate]:
    """Objects of (H, W) labels as masks, best first.

    A score stands for both the predicted IoU and the stability; the point is the middle of the box.
    """
    hw = (int(labels.shape[0]), int(labels.shape[1]))
    found = []
    places: list[Any] = ndimage.find_objects(labels)
    for number, place in enumerate(places, start=1):
        if place is None:
            continue
        rows, columns = place
        box = np.array([columns.start, rows.start, columns.stop - 1, rows.stop - 1], np.int64)
        score = float(scores[number - 1])
        middle = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
        bits = np.packbits(labels[place] == number)
        found.append(Candidate(box, bits, hw, score, score, middle, (0, 0, hw[1], hw[0])))
    return sorted(found, key=lambda candidate: -candidate.predicted_iou)

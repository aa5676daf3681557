"""A class for every pixel: cross-entropy that weighs rare classes more, and Dice of each class."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samtune.heads.head import Batched, NamingHead, Targets
from samtune.heads.losses import dice_loss, mean_over
from samtune.types import UNNAMED_CLASS, FloatArray, LabelArray

# No class weighs more than so many times another
_MOST = 10.0


class SemanticHead(NamingHead):
    """Classes of pixels; the settings name them in order, background first."""

    name: ClassVar[str] = "semantic"
    meaning: ClassVar[str] = "how likely each class is"
    measure: ClassVar[str] = "mIoU by image"
    column: ClassVar[str] = "head mIoU"
    weighed_by: ClassVar[Literal["", "pixels", "objects"]] = "pixels"

    @classmethod
    def targets(
        cls, labels: LabelArray, classes: Mapping[int, str], settings: Mapping[str, Any]
    ) -> Targets:
        return {"classes": class_map(labels, classes, settings["classes"])}

    def loss(self, maps: Tensor, targets: Batched, valid: Tensor) -> dict[str, Tensor]:
        truth, weight = targets["classes"].long(), valid.float()
        balance = torch.tensor(self.settings["weights"], device=maps.device)
        each = F.cross_entropy(maps, truth, reduction="none")
        pixel = mean_over(each, weight * balance[truth])
        shares = maps.softmax(1)
        dice = [
            dice_loss(shares[:, number], (truth == number).float(), weight)
            for number in range(1, self.num_maps)
            if bool(((truth == number) & valid).any())  # of an absent class Dice tells nothing
        ]
        mean = torch.stack(dice).mean() if dice else pixel.new_zeros(())
        return {"loss": pixel + mean, "pixel": pixel, "dice": mean}

    def score(self, maps: FloatArray, targets: Targets, valid: NDArray[np.bool_]) -> float:
        """Mean IoU of the classes that are there or found, but for the background."""
        found, truth = maps.argmax(0)[valid], targets["classes"][valid]
        numbers = np.union1d(np.unique(found), np.unique(truth))
        ious = [
            np.count_nonzero((found == n) & (truth == n))
            / np.count_nonzero((found == n) | (truth == n))
            for n in numbers
            if n
        ]
        return float(np.mean(ious)) if ious else 1.0

    def activate(self, maps: Tensor) -> Tensor:
        return maps.softmax(1)

    def decode(self, maps: FloatArray) -> tuple[LabelArray, FloatArray]:
        """(H, W) numbers of classes of activated maps (classes, H, W), and how likely each is."""
        return maps.argmax(0).astype(np.int32), maps.max(0)


def class_map(
    labels: LabelArray, classes: Mapping[int, str], names: Sequence[str]
) -> NDArray[np.int64]:
    """(H, W) numbers of classes of (L, H, W) objects; a later layer lies on top.

    A class that is not among the names is background: training saw none of it.
    """
    numbers = {name: number for number, name in enumerate(names)}
    found = np.zeros(labels.shape[1:], np.int64)
    for layer in labels:
        for object_id in np.unique(layer):
            if object_id:
                name = classes.get(int(object_id)) or UNNAMED_CLASS
                found[layer == object_id] = numbers.get(name, 0)
    return found


def balanced_weights(shares: Sequence[float]) -> list[float]:
    """Weights of classes by their shares of all pixels: by the root of how rare they are.

    Weighing a class as much as it is rare would draw every doubtful pixel to it.
    """
    weights = np.sqrt(1 / np.maximum(np.asarray(shares, np.float64), 1e-9))
    weights = np.minimum(weights / weights.min(), _MOST)
    return [float(weight) for weight in np.round(weights / weights.mean(), 4)]

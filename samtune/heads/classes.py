"""What is it? A class for each mask: the network's maps, pooled under the mask.

Each cell says how much it speaks for each class; an object is the mean of its cells. So the class of a
mask needs no second look at the image, and any mask will do: prompted, automatic, or an instance's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samtune.heads.head import Batched, NamingHead, Targets
from samtune.heads.instances import flattened
from samtune.types import FloatArray, LabelArray, MaskArray


class ClassHead(NamingHead):
    """Classes of objects; the settings name them, and say how sure the probabilities may be."""

    name: ClassVar[str] = "classes"
    meaning: ClassVar[str] = "what each cell says for each class, to be averaged under a mask"
    measure: ClassVar[str] = "macro-F1"
    follows_objects: ClassVar[bool] = True
    weighed_by: ClassVar[Literal["", "pixels", "objects"]] = "objects"

    @classmethod
    def targets(
        cls, labels: LabelArray, classes: Mapping[int, str], settings: Mapping[str, Any]
    ) -> Targets:
        names = {name: number for number, name in enumerate(settings["classes"], start=1)}
        kinds = np.zeros(labels.shape, np.int64)
        for object_id, name in classes.items():
            if name in names:
                kinds[labels == object_id] = names[name]
        flat = flattened(labels)
        top = (kinds * (labels > 0)).max(0)  # where objects overlap any of their classes
        return {"objects": flat, "kinds": np.where(flat > 0, top, 0)}

    def loss(self, maps: Tensor, targets: Batched, valid: Tensor) -> dict[str, Tensor]:
        objects = torch.where(valid, targets["objects"], 0).long()
        pooled, kinds = pool(maps, objects, targets["kinds"])
        is_known = kinds > 0
        if not bool(is_known.any()):  # nothing to learn, but the step must count
            return {"loss": maps.sum() * 0}
        weights = torch.tensor(self.settings["weights"], device=maps.device)
        loss = F.cross_entropy(pooled[is_known], kinds[is_known] - 1, weights)
        return {"loss": loss}

    def score(self, maps: FloatArray, targets: Targets, valid: NDArray[np.bool_]) -> float:
        """Share of the view's objects whose class is right; NaN without objects."""
        objects = torch.from_numpy(np.where(valid, targets["objects"], 0).astype(np.int64))
        kinds = torch.from_numpy(targets["kinds"])
        pooled, truth = pool(torch.from_numpy(maps)[None], objects[None], kinds[None])
        is_known = truth > 0
        if not bool(is_known.any()):
            return float("nan")
        return float((pooled.argmax(1) == truth - 1)[is_known].float().mean())

    def activate(self, maps: Tensor) -> Tensor:
        """As they are: what cells say is added up before it becomes a probability."""
        return maps

    def probabilities(self, maps: FloatArray, masks: Sequence[MaskArray]) -> NDArray[np.float64]:
        """(K, classes) of K masks (H, W) on maps (classes, H, W), calibrated; an empty mask knows none.

        Raises:
            ValueError: a mask is of another size.
        """
        if any(mask.shape != maps.shape[1:] for mask in masks):
            raise ValueError("masks and maps are of different images")
        logits = np.zeros((len(masks), self.num_maps))
        for number, mask in enumerate(masks):
            if mask.any():
                logits[number] = maps[:, mask].mean(1)
        return softmax(logits / float(self.settings.get("temperature", 1.0)))


def pool(maps: Tensor, objects: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Mean maps (K, maps) of all objects of a batch, and the class (K,) of each from 1; 0: unknown.

    Args:
        maps: (B, maps, t, t).
        objects: (B, t, t) int, 0 is none.
        kinds: (B, t, t) int, the class of each cell.
    """
    most = int(objects.max()) + 1
    images = torch.arange(len(objects), device=objects.device)[:, None, None]
    keys = torch.where(objects > 0, images * most + objects, -1).flatten()
    inside = keys >= 0
    found, index = torch.unique(keys[inside], return_inverse=True)
    cells = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[inside]
    sums = maps.new_zeros(len(found), maps.shape[1]).index_add(0, index, cells)
    counts = torch.bincount(index, minlength=len(found)).clamp(min=1)
    own = kinds.flatten()[inside].long()
    classes = own.new_zeros(len(found)).scatter_reduce(0, index, own, "amax")
    return sums / counts[:, None], classes


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def fitting_temperature(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The temperature of the least cross-entropy (arXiv 1706.04599), 0.05 to 20.

    Args:
        logits: (K, classes).
        truth: (K,) numbers of classes from 0.
    """
    tried = np.geomspace(0.05, 20, 201)
    rows = np.arange(len(truth))
    losses = [-np.log(softmax(logits / t)[rows, truth] + 1e-12).mean() for t in tried]
    return float(np.round(tried[int(np.argmin(losses))], 4))

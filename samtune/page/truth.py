"""What is known to be true of an image: the object that a prompt is for, and how a mask fits it."""

import numpy as np
import torch

from samtune.data.objects import find_objects, object_mask
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.masks import box_ious
from samtune.types import LabelArray, MaskArray, Prompt


def iou_with(mask: PlacedMask, truth: MaskArray) -> float:
    """IoU with an (H, W) mask; 1 where both are empty."""
    hw = (truth.shape[0], truth.shape[1])
    shared = int(np.count_nonzero(mask.part & truth[mask.window(hw)]))
    union = mask.area + int(np.count_nonzero(truth)) - shared
    return shared / union if union else 1.0


def object_meant(labels: LabelArray, prompt: Prompt) -> MaskArray | None:
    """The true object (H, W) that a prompt is for; `None` where there is none.

    That under the first click inside, the smallest where several lie there; or of a box alone the one
    that it is most tightly around.

    Args:
        labels: (L, H, W).
        prompt: original frame.
    """
    if prompt.point_coords is not None and prompt.point_labels is not None:
        inside = prompt.point_coords[prompt.point_labels == 1]
        if len(inside):
            x, y = np.clip(np.rint(inside[0]), 0, np.array(labels.shape[:0:-1]) - 1).astype(int)
            under = [(labels[n] == labels[n, y, x]) for n in np.flatnonzero(labels[:, y, x])]
            return min(under, key=np.count_nonzero, default=None)
    if prompt.box_xyxy is None:
        return None
    return _tightest(labels, prompt.box_xyxy)


def _tightest(labels: LabelArray, box: torch.Tensor | np.ndarray) -> MaskArray | None:
    places = find_objects(labels)
    if not places:
        return None
    boxes = np.array(
        [
            (p.columns.start, p.rows.start, p.columns.stop - 1, p.rows.stop - 1) for p in places
        ]
    )  # fmt: skip
    ious = box_ious(np.asarray(box)[None], boxes)[0]
    best = int(ious.argmax())
    return object_mask(labels, places[best]) if ious[best] > 0 else None

"""Found, then refined: each object that the head found is a box for SAM's own decoder.

The better of both masks is kept: SAM's, where it agrees that there is this object and expects more of
its mask than the head's score.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from samtune.inference.automatic.candidates import Candidate, box_and_bits
from samtune.inference.views import ImageViews, ask_in_views
from samtune.models.backend import Sam
from samtune.types import ImageArray, MaskArray, Prompt

# IoU of the two masks from which they are of one object
_SAME = 0.5


def refine(sam: Sam, image: ImageArray, found: Sequence[Candidate], tile: int) -> list[Candidate]:
    """Objects with the better mask of the head's and of SAM's, best first.

    Args:
        sam: asked with the box of each object, in a window that fits it.
        image: (H, W, 3), stretched already.
        found: by the head.
        tile: side of the head's views of this image, pixels.

    Raises:
        UserError: the model answers with NaN.
    """
    prompts = [Prompt(box_xyxy=each.box_xyxy.astype(np.float32)) for each in found]
    refined = list(found)
    views = ImageViews(image, sam, tile, with_focus=False)
    for viewed in ask_in_views(sam, views, prompts):
        answer, masks = viewed.answer, viewed.masks(sam)
        for index, mask, score in zip(answer.indices, masks, answer.scores, strict=True):
            own = found[index]
            if float(score) > own.predicted_iou and _iou(own, mask) >= _SAME:
                box, bits = box_and_bits(mask)
                refined[index] = replace(own, box_xyxy=box, bits=bits, predicted_iou=float(score))
    return sorted(refined, key=lambda candidate: -candidate.predicted_iou)


def _iou(own: Candidate, mask: MaskArray) -> float:
    inside = own.cropped()
    both = np.count_nonzero(inside & mask[own.window])
    return both / (np.count_nonzero(inside) + np.count_nonzero(mask) - both)

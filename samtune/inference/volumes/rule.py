"""When an object that is carried through slices has come to its end."""

from dataclasses import dataclass

import numpy as np

from samtune.types import FloatArray, MaskArray, Window


@dataclass(frozen=True)
class SliceAnswer:
    """What the model says of one object on one slice.

    Attributes:
        mask: (H, W) boolean, as seen.
        score: the IoU that it expects.
        logits: (h, w), input frame.
        is_there: whether it finds an object at all.
        window: part of the slice that it was seen in, and that the logits are of.
    """

    mask: MaskArray
    score: float
    logits: FloatArray
    is_there: bool
    window: Window


@dataclass(frozen=True)
class StopRule:
    """When an object has come to its end: the first slice that breaks a rule is not of it.

    A model that is given a box finds something in it, also where the object is no more, expects much
    of it and goes on for long: what told the end in MR (docs/howto/volumes.md) is that the object no
    longer stands out from what is around it. The expected IoU did not, and its scale is each model's
    own.

    Attributes:
        min_contrast: stop where less than this share of the prompted slice's contrast is left; 0
            ignores contrast.
        min_score: stop where the predicted IoU is below this.
        max_change: stop where the area grows or shrinks by more than this factor from a slice to
            the next.
        min_overlap: stop where the IoU with the mask of the slice before is below this.
    """

    min_contrast: float = 0.3
    min_score: float = 0.0
    max_change: float = 3.0
    min_overlap: float = 0.2

    def reason(self, before: MaskArray, answer: SliceAnswer, contrast_left: float) -> str:
        """Why to stop in front of an answer; empty to go on."""
        areas = np.count_nonzero(before), np.count_nonzero(answer.mask)
        if not answer.is_there or not areas[1]:
            return "nothing found"
        if self.min_contrast > 0 and contrast_left < self.min_contrast:
            return f"contrast {contrast_left:.2f} of that prompted, below {self.min_contrast:g}"
        if answer.score < self.min_score:
            return f"expected IoU {answer.score:.2f} below {self.min_score:g}"
        if max(areas) > self.max_change * min(areas):
            return f"area from {areas[0]} to {areas[1]} pixels, beyond {self.max_change:g} times"
        common = np.count_nonzero(before & answer.mask)
        overlap = common / (sum(areas) - common)
        if overlap < self.min_overlap:
            return f"overlap {overlap:.2f} with the slice before, below {self.min_overlap:g}"
        return ""

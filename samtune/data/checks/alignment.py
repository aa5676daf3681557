"""Do the outlines lie where the image changes, or would they if all were moved by the same step?

Outlines that were drawn on another image of the place, or georeferenced otherwise, are off by the same
step everywhere.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samtune.types import FloatArray, Sample

# Steps that are tried, pixels each way.
REACH = 16
_FEWEST_OUTLINE_PIXELS = 40
# So many images must speak for a step, and so large a share of them.
_FEWEST_IMAGES, _AGREEING = 5, 0.7
# The outlines must gain this much contrast by the step, and this share of what they have; the step
# must be this long, pixels.
_GAIN, _SHARE, _SHORTEST = 0.25, 0.5, 2.0


@dataclass(frozen=True)
class Alignment:
    """Contrast under the outlines of one image after every step.

    Attributes:
        contrast: (2 R + 1, 2 R + 1) mean gradient under the moved outlines, in standard deviations
            of the image's gradients above their mean; row r and column c are the step
            (r - R, c - R) down and to the right, for R = `REACH`.
    """

    contrast: FloatArray


def measure_alignment(sample: Sample) -> Alignment | None:
    """Correlate outlines with the image's gradients; `None` where there is too little to compare."""
    grey = sample.image.mean(axis=2).astype(np.float32)
    if min(grey.shape) <= 4 * REACH:
        return None
    outline = _outline(sample)
    if outline.sum() < _FEWEST_OUTLINE_PIXELS:
        return None
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    spread = float(gradient.std())
    if spread < 1e-6:
        return None
    standard = (gradient - gradient.mean()) / spread
    padded = np.pad(standard, REACH)
    # the template slides over the padded gradients: all steps at once
    summed = cv2.matchTemplate(padded, outline.astype(np.float32), cv2.TM_CCORR)
    return Alignment(np.asarray(summed / outline.sum(), np.float32))


def _outline(sample: Sample) -> NDArray[np.bool_]:
    edges = np.zeros(sample.labels.shape[1:], np.bool_)
    for layer in sample.labels:
        edges[1:] |= layer[1:] != layer[:-1]
        edges[:, 1:] |= layer[:, 1:] != layer[:, :-1]
    return edges


def find_common_step(alignments: list[Alignment]) -> tuple[int, int] | None:
    """The step (down, right) in pixels that brings outlines onto edges everywhere, if there is one."""
    if len(alignments) < _FEWEST_IMAGES:
        return None
    contrasts = np.stack([alignment.contrast for alignment in alignments])
    total = contrasts.mean(axis=0)
    row, column = np.unravel_index(int(total.argmax()), total.shape)
    step = (int(row) - REACH, int(column) - REACH)
    gains = contrasts[:, row, column] - contrasts[:, REACH, REACH]
    # a peak at the end of the reach is none: contrast still rises beyond it, toward something else
    is_step = np.hypot(*step) >= _SHORTEST and max(abs(step[0]), abs(step[1])) < REACH
    wanted = max(_GAIN, _SHARE * float(total[REACH, REACH]))
    is_better = float(gains.mean()) > wanted and float((gains > 0).mean()) >= _AGREEING
    return step if is_step and is_better else None

"""Gain on the domain against loss elsewhere, by the scale of the adapter, and where to stop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ScalePoint:
    """What one scale brings.

    Attributes:
        scale: 0 is the base, 1 the model as tuned.
        domain, general: mIoU, the mean over protocols.
        domain_change, general_change: against scale 0.
        domain_ci95, general_ci95: intervals of these; `None` for a single image.
    """

    scale: float
    domain: float
    general: float
    domain_change: float
    general_change: float
    domain_ci95: tuple[float, float] | None = None
    general_ci95: tuple[float, float] | None = None


def find_knee(points: Sequence[ScalePoint]) -> ScalePoint:
    """The scale beyond which more is lost than gained.

    Both are brought to 0..1 over the sweep; the knee is where gain minus loss is largest (Satopaa et
    al., "Finding a Kneedle in a Haystack", 2011). Where nothing is lost it is the largest gain; where
    nothing is gained, the base.
    """
    gains = np.array([point.domain_change for point in points])
    losses = np.maximum(0.0, -np.array([point.general_change for point in points]))
    if gains.max() <= 0:
        return min(points, key=lambda point: abs(point.scale))
    share = gains / gains.max() - (losses / losses.max() if losses.max() > 0 else 0)
    return points[int(np.argmax(share))]

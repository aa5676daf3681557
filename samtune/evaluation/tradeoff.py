"""Gain on the domain against loss elsewhere, by the scale of the adapter, and where to stop."""

from collections.abc import Sequence
from dataclasses import dataclass


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
    """The scale beyond which more is lost than gained: the largest gain less what is lost, in mIoU.

    A general set that rose counts as nothing lost. Of equal scales the larger is taken.
    """
    return max(points, key=lambda point: (round(_net(point), 6), point.scale))


def _net(point: ScalePoint) -> float:
    return point.domain_change + min(0.0, point.general_change)

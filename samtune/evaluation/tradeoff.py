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
    """The scale beyond which more is lost than gained: the largest sum of both changes in mIoU.

    A loss counts only where its interval is clear of zero, or chance would decide. Of equal sums the
    larger scale is taken.
    """
    return max(points, key=lambda point: (round(_net(point), 6), point.scale))


def _net(point: ScalePoint) -> float:
    interval = point.general_ci95
    is_lost = point.general_change < 0 and (interval is None or interval[1] < 0)
    return point.domain_change + (point.general_change if is_lost else 0.0)

"""Every measure of a mask beside its truth, one entry each: from here it reaches all results.

A new one is an entry of `METRICS`: it is then measured for each object, averaged, and stands in
results.json, objects.csv and the report's table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from samtune.evaluation.metrics.contour import ContourScores, contour_scores
from samtune.evaluation.metrics.skeleton import cldice
from samtune.evaluation.metrics.surface import surface_agreement
from samtune.types import MaskArray


@dataclass(frozen=True)
class Pair:
    """A mask and its truth, (H, W) each, with what distances need: see `contour_scores`."""

    predicted: MaskArray
    truth: MaskArray
    spacing: tuple[float, float] = (1.0, 1.0)
    tolerance: float = 2.0

    @cached_property
    def contour(self) -> ContourScores:
        """Three measures share it, and it takes the time."""
        return contour_scores(self.predicted, self.truth, self.spacing, self.tolerance)

    @cached_property
    def by_length(self) -> tuple[float, float]:
        """Surface Dice and HD95 as `surface_agreement`."""
        return surface_agreement(self.predicted, self.truth, self.spacing, self.tolerance)


@dataclass(frozen=True)
class Metric:
    """One measure.

    Attributes:
        label: as people know it.
        of: what it is of a pair.
        digits: behind the point, in tables.
    """

    label: str
    of: Callable[[Pair], float]
    digits: int = 3


# By their name in results.json and objects.csv. Overlap is not among them: IoU, Dice and what the
# model expected are what everything else (intervals, calibration, choices) is made of.
METRICS = {
    "boundary_iou": Metric("boundary IoU", lambda pair: pair.contour.boundary_iou),
    "surface_dice": Metric("surface Dice (NSD)", lambda pair: pair.contour.surface_dice),
    "hd95": Metric("HD95", lambda pair: pair.contour.hd95, digits=2),
    "surface_dice_by_length": Metric(
        "surface Dice (NSD) by length", lambda pair: pair.by_length[0]
    ),
    "hd95_by_length": Metric("HD95 by length", lambda pair: pair.by_length[1], digits=2),
    "cldice": Metric("clDice", lambda pair: cldice(pair.predicted, pair.truth)),
}


def measured(pair: Pair) -> dict[str, float]:
    """All of them."""
    return {name: metric.of(pair) for name, metric in METRICS.items()}

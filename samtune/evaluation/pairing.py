"""Rows of different evaluations, paired by object: two models, or one at two scales."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samtune.errors import UserError
from samtune.evaluation.rows import Row
from samtune.evaluation.statistics import Difference, paired_difference
from samtune.types import ObjectKey


@dataclass(frozen=True)
class Answers:
    """IoU of one model by object, the mean over draws and, if asked, over protocols."""

    keys: list[ObjectKey]
    clusters: list[str]
    ious: list[float]

    @property
    def miou(self) -> float:
        return float(np.mean(self.ious))


def answers_of(rows: Sequence[Row], name: str, protocol: str = "") -> Answers:
    """Collect what a contestant reached.

    Args:
        rows: of one evaluation.
        name: the contestant.
        protocol: one of them; empty takes each object's mean over all.
    """
    ious: dict[ObjectKey, list[float]] = defaultdict(list)
    clusters: dict[ObjectKey, str] = {}
    for row in rows:
        if protocol in ("", row.protocol):
            ious[row.key].append(row.scores[name].iou)
            clusters[row.key] = row.cluster
    keys = list(ious)
    return Answers(keys, [clusters[key] for key in keys], [float(np.mean(ious[k])) for k in keys])


def difference_of(first: Answers, second: Answers, seed: int) -> Difference:
    """Second minus first, object by object.

    Raises:
        UserError: they are not of the same objects.
    """
    if first.keys != second.keys:
        raise UserError(
            f"the evaluations are of different objects ({len(first.keys)} and {len(second.keys)}): "
            "they need the same data, split and settings"
        )
    deltas = np.array(second.ious) - np.array(first.ious)
    return paired_difference(deltas, np.array(first.clusters), seed)

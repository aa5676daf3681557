"""How much data is enough for a head: its score on the test images by the number of training images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.evaluation.class_scores import f1_by_class
from samtune.evaluation.statistics import bootstrap_interval, resampled, resampled_interval
from samtune.heads.table import HEADS
from samtune.parsing import read_csv

Values = NDArray[np.float64]


@dataclass(frozen=True)
class HeadPoint:
    """One size.

    Attributes:
        num_images: that were trained on.
        score: the mean over seeds.
        by_seed: of each seed.
        ci95: of the score over test images, groups of them resampled; `None` for a single group.
    """

    num_images: int
    score: float
    by_seed: list[float]
    ci95: tuple[float, float] | None

    @property
    def row(self) -> dict[str, Any]:
        """As tables show it."""
        return {
            "score": self.score, "lowest and highest seed": [min(self.by_seed), max(self.by_seed)],
            "95% interval": self.ci95,
        }  # fmt: skip


def head_curve(
    name: str, files: Mapping[int, Sequence[Path]], seed: int = 0
) -> dict[str, list[HeadPoint]]:
    """Points of the curve, under the name of what is measured.

    Args:
        name: of the head.
        files: its table of every size and seed.
        seed: of the bootstrap.

    Raises:
        UserError: a table is missing or damaged, or they are not of the same images.
    """
    point = _image_point if HEADS[name].column else _named_point
    points = []
    for num_images, of_seeds in sorted(files.items()):
        tables = [read_csv(file) for file in of_seeds]
        try:
            points.append(point(name, num_images, tables, seed))
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{of_seeds[0].parent} and its like are damaged ({error}): delete them and call again"
            ) from error
    return {f"{name}: {HEADS[name].measure}": points}


def _image_point(
    name: str, num_images: int, tables: Sequence[list[dict[str, str]]], seed: int
) -> HeadPoint:
    """Of a score that each image has."""
    column = HEADS[name].column
    values = np.array([[float(row[column]) for row in table] for table in tables])
    groups = np.array([row["group"] for row in tables[0]])
    means = values.mean(0)
    interval = bootstrap_interval(means, groups, seed)
    return HeadPoint(num_images, float(means.mean()), values.mean(1).tolist(), interval)


def _named_point(
    name: str, num_images: int, tables: Sequence[list[dict[str, str]]], seed: int
) -> HeadPoint:
    """Of macro-F1, which no image has by itself: confusions of groups are resampled."""
    kinds = sorted({row[key] for table in tables for row in table for key in ("class", "found")})
    groups = sorted({row["group"] for row in tables[0]})
    counts = np.array([_confusions(table, kinds, groups) for table in tables])
    by_seed = [_macro_f1(each.sum(0)) for each in counts]
    interval = None
    if len(groups) > 1:
        weights = resampled(len(groups), seed)
        scores = np.mean([_macro_f1(np.tensordot(weights, each, 1)) for each in counts], 0)
        interval = resampled_interval(scores, len(groups))
    return HeadPoint(num_images, float(np.mean(by_seed)), [float(x) for x in by_seed], interval)


def _confusions(
    table: Sequence[dict[str, str]], kinds: Sequence[str], groups: Sequence[str]
) -> Values:
    """(groups, classes, classes): truth by row, answer by column."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in table:
        counts[row["group"], row["class"], row["found"]] += 1
    return np.array(
        [[[counts[group, one, other] for other in kinds] for one in kinds] for group in groups],
        np.float64,
    )


def _macro_f1(confusion: Values) -> Any:
    """Of (..., classes, classes), over the classes that are there or named."""
    return np.nanmean(f1_by_class(confusion), -1)

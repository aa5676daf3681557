"""How much data is enough: tuned against base by the number of training images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samtune.errors import UserError
from samtune.evaluation.learning_heads import HeadPoint
from samtune.evaluation.statistics import Difference, paired_difference
from samtune.parsing import read_csv
from samtune.wording import counted, signed


@dataclass(frozen=True)
class CurvePoint:
    """One size under one protocol.

    Attributes:
        num_images: that were trained on.
        base, tuned: mIoU, the mean over seeds.
        by_seed: tuned mIoU of each seed.
        difference: tuned minus base, each object the mean over seeds.
    """

    num_images: int
    base: float
    tuned: float
    by_seed: list[float]
    difference: Difference

    @property
    def score(self) -> float:
        """What is to rise with more images."""
        return self.tuned

    @property
    def row(self) -> dict[str, Any]:
        """As tables show it."""
        return {
            "base mIoU": self.base, "tuned mIoU": self.tuned,
            "lowest and highest seed": [min(self.by_seed), max(self.by_seed)],
            "difference": self.difference.mean, "95% interval": self.difference.ci95,
        }  # fmt: skip


@dataclass(frozen=True)
class _Objects:
    """What `objects.csv` tells: IoUs and cluster by object."""

    base: dict[tuple[str, str], float]
    tuned: dict[tuple[str, str], float]
    cluster: dict[tuple[str, str], str]


def read_objects(file: Path) -> dict[str, _Objects]:
    """Read `objects.csv` of a comparison, by protocol.

    Raises:
        UserError: the file is missing or damaged.
    """
    found: dict[str, _Objects] = defaultdict(lambda: _Objects({}, {}, {}))
    lines = read_csv(file)
    try:
        for line in lines:
            key, part = (line["image_id"], line["object_id"]), found[line["protocol"]]
            part.base[key], part.tuned[key] = float(line["base_iou"]), float(line["tuned_iou"])
            part.cluster[key] = line["cluster"]
    except (KeyError, ValueError) as error:
        raise UserError(f"{file} is damaged ({error}): delete it and call again") from error
    return dict(found)


def learning_curve(
    files: Mapping[int, Sequence[Path]], seed: int = 0
) -> dict[str, list[CurvePoint]]:
    """Points of the curve by protocol, from `objects.csv` of every size and seed."""
    curves: dict[str, list[CurvePoint]] = defaultdict(list)
    for num_images, of_seeds in sorted(files.items()):
        runs = [read_objects(file) for file in of_seeds]
        for protocol in runs[0]:
            curves[protocol].append(_point(num_images, [run[protocol] for run in runs], seed))
    return dict(curves)


def _point(num_images: int, runs: list[_Objects], seed: int) -> CurvePoint:
    keys = list(runs[0].base)
    base = np.array([runs[0].base[key] for key in keys])
    tuned = np.array([[run.tuned[key] for key in keys] for run in runs])
    clusters = np.array([runs[0].cluster[key] for key in keys])
    return CurvePoint(
        num_images, float(base.mean()), float(tuned.mean()), tuned.mean(1).tolist(),
        paired_difference(tuned.mean(0) - base, clusters, seed),
    )  # fmt: skip


def would_more_help(
    curves: Mapping[str, Sequence[CurvePoint]] | Mapping[str, Sequence[HeadPoint]],
) -> str:
    """A sentence on the last step of the curves: is it still going up?"""
    sentences = []
    for name, points in curves.items():
        last = points[-1]
        told = f"{last.score:.3f}" if isinstance(last, HeadPoint) else signed(last.difference.mean)
        text = f"{name}: {told} with {counted(last.num_images, 'image')}"
        if len(points) > 1:
            before = points[-2]
            step = last.score - before.score
            spread = max(np.ptp(last.by_seed), np.ptp(before.by_seed), 0.005)
            text += f", {signed(step)} from {before.num_images} to {last.num_images}"
            if step > spread:
                text += ": still rising, more images should help"
            elif step < -spread:
                text += ": falling, which more images of this kind will hardly mend"
            else:
                text += (
                    ": level within what the seeds differ by, more images of this kind help little"
                )
        sentences.append(text)
    return "; ".join(sentences) + "."

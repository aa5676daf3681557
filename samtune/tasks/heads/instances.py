"""The head for instances in tasks: how it is judged, and how its maps best become objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING, Any

from samtune.tasks.heads.job import HEAD, HeadJob
from samtune.tasks.heads.objects import evaluate_objects
from samtune.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samtune.data.source import Source
    from samtune.models.backend import Sam

    # Of an image: scores and measured IoUs
    Scored = tuple[NDArray[np.float64], NDArray[np.float64]]

# What is tried
_FOREGROUNDS, _SEEDS, _SIGMAS = (0.4, 0.5, 0.6, 0.7), (0.4, 0.5, 0.6), (1.0, 2.0)


def evaluate(job: HeadJob) -> dict[str, Any]:
    """Objects of whole images: the head against a grid of points, or against another head."""
    return evaluate_objects(job, HEAD)


def choose(sam: Sam, source: Source, min_area: int) -> str:
    """The thresholds of the highest mSA, and what IoU the scores stand for with them."""
    import numpy as np

    from samtune.bars import bar
    from samtune.data.label_maps import without_ignored
    from samtune.heads.instances import CALIBRATION, USUAL, flattened
    from samtune.heads.matching import accuracy, best_ious
    from samtune.inference.instances import InstanceFinder

    finder = InstanceFinder(sam)
    usual: dict[str, Any] = USUAL | {"min_area": min_area}
    tried = [usual] + [
        usual | {"foreground": foreground, "seed": seed, "sigma": sigma}
        for foreground, seed, sigma in product(_FOREGROUNDS, _SEEDS, _SIGMAS)
    ]
    sums = [0.0] * len(tried)
    scored: list[list[Scored]] = [[] for _ in tried]
    groups: list[str] = []
    for index in bar(range(len(source)), "choosing how maps become objects", "image"):
        sample, is_ignored = without_ignored(source.read(index))
        truth, maps = flattened(sample.labels), finder.maps(sample.image)
        maps[:, is_ignored] = 0
        groups.append(sample.group or sample.image_id)
        for number, each in enumerate(tried):
            labels, scores = finder.head.changed(**each).decode(maps)
            sums[number] += accuracy(labels, truth)
            scored[number].append((scores.astype(np.float64), best_ious(labels, truth)))
    best = max(range(len(tried)), key=lambda number: sums[number])
    calibration, calibrated = calibrate_scores(scored[best], groups)
    finder.head.changed(**tried[best], **{CALIBRATION: calibration})
    told = ", ".join(f"{key} {value:g}" for key, value in tried[best].items())
    return (
        f"objects are made with {told}: mSA {sums[best] / len(source):.3f} on {len(source)} "
        f"validation images (usual settings: {sums[0] / len(source):.3f}); {calibrated}"
    )


def calibrate_scores(
    scored: Sequence[Scored], groups: Sequence[str]
) -> tuple[dict[str, Any] | None, str]:
    """A map from scores to IoUs, if it brings those of other images nearer to them; and a sentence.

    Args:
        scored: of each image the scores (N,) of what was found and its measured IoUs (N,).
        groups: the patient or scene that each image belongs to; those of one are no other images.
    """
    import numpy as np

    from samtune.errors import UserError
    from samtune.evaluation.calibration import fit_scores, held_out_errors

    scores, ious = (np.concatenate([each[part] for each in scored]) for part in (0, 1))
    _, numbers = np.unique(groups, return_inverse=True)
    try:
        before, after = held_out_errors(
            scores, ious, np.repeat(numbers, [len(each[0]) for each in scored])
        )
    except UserError:
        few = counted(len(scores), "object is", "objects are")
        return None, f"{few} too few to calibrate scores on"
    if after >= before:
        return None, f"scores stay as they are, off by {before:.3f} ({after:.3f} calibrated)"
    fitted = asdict(fit_scores(scores, ious, "val"))
    told = f"scores are calibrated: off by {after:.3f} on other images, {before:.3f} before"
    return json.loads(json.dumps(fitted)), told

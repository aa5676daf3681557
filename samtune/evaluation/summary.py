"""From rows to the numbers of a report: means, paired differences, what they are of."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from samtune.evaluation.breakdown import divide
from samtune.evaluation.calibration import expected_error
from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.metrics.instances import Instances, instance_scores
from samtune.evaluation.metrics.table import METRICS
from samtune.evaluation.rows import Row, Score
from samtune.evaluation.statistics import (
    Difference,
    by_cluster,
    holm,
    judge,
    paired_difference,
    smallest_difference,
)
from samtune.evaluation.trivial import best_of

# What is averaged over objects besides the measures of `metrics/table.py`.
_OVERLAPS = ("iou", "dice", "oracle_iou", "predicted_iou")
CLICK_TARGETS = (0.8, 0.85, 0.9)


def summarise(rows: Iterable[Row], seed: int = 0) -> dict[str, Any]:
    """Results by protocol, as `results.json` holds them; `results.schema.json` describes them."""
    by_protocol: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_protocol[row.protocol].append(row)
    summaries = {name: _summarise_protocol(part, seed) for name, part in by_protocol.items()}
    _correct(list(summaries.values()))
    # one family: a warning is raised if any part of any protocol fell
    _correct(
        [
            part
            for summary in summaries.values()
            for parts in summary["breakdown"].values()
            for part in parts.values()
        ]
    )
    return summaries


def _summarise_protocol(drawn: list[Row], seed: int) -> dict[str, Any]:
    rows = average_repeats(drawn)
    summary = _compared(rows, seed)
    summary["trivial"] = best_of([row.trivial for row in rows])
    summary["repeats"] = _repeats(drawn)
    summary["instances"] = _instances([row for row in drawn if row.repeat == 0])
    summary["clicks"] = _clicks(rows)
    summary["calibration"] = {name: expected_error(drawn, name) for name in rows[0].scores}
    summary["breakdown"] = {}
    for way, parts in divide(rows).items():
        compared = {name: _compared(part, seed, is_part=True) for name, part in parts.items()}
        summary["breakdown"][way] = compared
    return summary


def average_repeats(rows: list[Row]) -> list[Row]:
    """One row for each object: the mean over the draws of its random prompt."""
    objects: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        objects[row.key].append(row)
    return [part[0] if len(part) == 1 else _average(part) for part in objects.values()]


def _average(rows: list[Row]) -> Row:
    scores = {}
    for name, score in rows[0].scores.items():
        drawn = [row.scores[name] for row in rows]
        means: dict[str, Any] = _averages(drawn)
        means["measures"] = _measure_averages(drawn)
        clicks = zip(*(each.clicks for each in drawn), strict=True)
        for field in ("predicted_area", "overlap"):
            means[field] = round(_mean(getattr(each, field) for each in drawn))
        scores[name] = replace(score, **means, clicks=tuple(_mean(part) for part in clicks))
    return replace(rows[0], scores=scores)


def _averages(scores: list[Score]) -> dict[str, float]:
    return {field: _mean(getattr(score, field) for score in scores) for field in _OVERLAPS}


def _measure_averages(scores: list[Score]) -> dict[str, float]:
    return {name: _mean(score.measures[name] for score in scores) for name in METRICS}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _compared(rows: list[Row], seed: int, is_part: bool = False) -> dict[str, Any]:
    clusters = np.array([row.cluster for row in rows])
    if is_part and len(set(clusters.tolist())) == 1:
        # of one patient or scene alone, its images are what it is sure over
        clusters = np.array([row.key.image_id.split("@")[0] for row in rows])
    summary: dict[str, Any] = {"base": _means(rows, BASE), "tuned": None, "delta": None}
    if TUNED in rows[0].scores:
        summary["tuned"] = _means(rows, TUNED)
        deltas = np.array([row.scores[TUNED].iou - row.scores[BASE].iou for row in rows])
        difference = paired_difference(deltas, clusters, seed)
        is_identical = difference.is_identical and all(map(_is_same, rows))
        summary["delta"] = _delta(replace(difference, is_identical=is_identical))
    summary["num_objects"] = len(rows)
    summary["num_images"] = len({row.key.image_id for row in rows})
    summary["num_clusters"] = len(set(clusters.tolist()))
    return summary


def _is_same(row: Row) -> bool:
    """Whether both gave the same mask and expected the same of it."""
    base, tuned = row.scores[BASE], row.scores[TUNED]
    return (base.rle, base.predicted_iou) == (tuned.rle, tuned.predicted_iou)


def _delta(difference: Difference) -> dict[str, Any]:
    return {
        "miou": difference.mean,
        "ci95": None if difference.ci95 is None else list(difference.ci95),
        "p": difference.p,
        "p_holm": None,
        "standard_error": difference.error,
        "smallest_detectable": None,
        "num_gained": difference.num_gained,
        "num_tied": difference.num_tied,
        "num_lost": difference.num_lost,
        "is_identical": difference.is_identical,
    }


def _correct(summaries: Sequence[dict[str, Any]]) -> None:
    """Add the corrected p and the verdict to differences that are looked at together."""
    known = [summary for summary in summaries if summary["delta"] is not None]
    corrected = holm([summary["delta"]["p"] for summary in known])
    num_questions = max(1, sum(p is not None for p in corrected))
    for summary, p in zip(known, corrected, strict=True):
        delta, num_clusters = summary["delta"], summary["num_clusters"]
        delta["smallest_detectable"] = smallest_difference(
            delta["standard_error"], num_clusters, num_questions
        )
        delta["p_holm"] = p
        delta["verdict"] = judge(
            delta["is_identical"], delta["ci95"], p, num_clusters, num_questions
        )


def _means(rows: list[Row], name: str) -> dict[str, float]:
    scores = [row.scores[name] for row in rows]
    images = np.array([row.key.image_id for row in rows])
    sums, counts = by_cluster(np.array([score.iou for score in scores]), images)
    overlap = sum(score.overlap for score in scores)
    sizes = sum(row.area for row in rows) + sum(score.predicted_area for score in scores)
    means = _averages(scores)
    return {
        "miou": means.pop("iou"),
        **means,
        **_measure_averages(scores),
        "miou_per_image": float((sums / counts).mean()),
        "iou_of_pixels": overlap / (sizes - overlap),
        "dice_of_pixels": 2 * overlap / sizes,
    }


def _repeats(rows: list[Row]) -> dict[str, Any] | None:
    """mIoU of each draw of the random prompts, where there were several."""
    numbers = sorted({row.repeat for row in rows})
    if len(numbers) == 1:
        return None
    return {
        name: [
            _mean(row.scores[name].iou for row in rows if row.repeat == number)
            for number in numbers
        ]
        for name in rows[0].scores
    }


def _instances(rows: list[Row]) -> dict[str, Any] | None:
    """Measures of several objects an image; `None` where no image has two."""
    images: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        images[row.key.image_id].append(row)
    if all(len(part) == 1 for part in images.values()):
        return None
    return {
        name: instance_scores([_instances_of(part, name) for part in images.values()])
        for name in rows[0].scores
    }


def _instances_of(rows: list[Row], name: str) -> Instances:
    def rle(row: Row, counts: bytes) -> dict[str, Any]:
        return {"size": list(row.hw), "counts": counts}

    classes = [row.key.class_name for row in rows]
    return Instances(
        [rle(row, row.rle) for row in rows],
        classes,
        [rle(row, row.scores[name].rle) for row in rows],
        classes,
        [row.scores[name].predicted_iou for row in rows],
    )


def _clicks(rows: list[Row]) -> dict[str, Any] | None:
    """IoU after each prompt, and the number of prompts until it is high enough (NoC).

    NoC counts the first prompt; an object that never gets there counts with all prompts, and in
    `failed` (Sofiiuk et al., arXiv 2102.06583).
    """
    if not rows[0].scores[BASE].clicks:
        return None
    return {name: _clicks_of([row.scores[name] for row in rows]) for name in rows[0].scores}


def _clicks_of(scores: list[Score]) -> dict[str, Any]:
    ious = np.array([score.clicks for score in scores])
    summary: dict[str, Any] = {"iou": ious.mean(0).tolist(), "noc": {}}
    for target in CLICK_TARGETS:
        is_there = ious >= target
        reached = is_there.any(1)
        number = np.where(reached, is_there.argmax(1) + 1, ious.shape[1])
        summary["noc"][f"{target:.0%}".rstrip("%")] = {
            "mean": float(number.mean()), "failed": float((~reached).mean()),
        }  # fmt: skip
    return summary

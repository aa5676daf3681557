"""From rows to the numbers of a report: means, paired differences, intervals."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.evaluation.compare import Row
from samtune.evaluation.contestants import BASE, TUNED
from samtune.prompts.seeding import object_rng

NUM_RESAMPLES = 10_000
# A difference of IoU below this is a tie.
TIE = 0.001


def summarise(rows: list[Row], seed: int = 0) -> dict[str, Any]:
    """Results by protocol, as `results.json` holds them.

    For each: `base` and `tuned` with `miou` and `dice` (means over objects), `miou_per_image` (mean
    over images of their means) and `predicted_iou`; `delta` with `miou`, `ci95` and the counts of
    objects that gained, tied and lost; `per_class`; `num_objects`, `num_images`. `tuned` and
    `delta` are null when a base was evaluated alone; `ci95` is null for a single image.
    """
    by_protocol: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_protocol[row.protocol].append(row)
    return {name: _summarise_protocol(part, seed) for name, part in by_protocol.items()}


def _summarise_protocol(rows: list[Row], seed: int) -> dict[str, Any]:
    classes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        classes[row.key.class_name].append(row)
    summary = _means_and_delta(rows, seed)
    if len(classes) > 1 or "" not in classes:
        summary["per_class"] = {
            name: _means_and_delta(part, seed) for name, part in sorted(classes.items())
        }
    return summary


def _means_and_delta(rows: list[Row], seed: int) -> dict[str, Any]:
    images = np.array([row.key.image_id for row in rows])
    is_compared = TUNED in rows[0].scores
    summary: dict[str, Any] = {"base": _means(rows, BASE, images), "tuned": None, "delta": None}
    if is_compared:
        summary["tuned"] = _means(rows, TUNED, images)
        deltas = np.array([row.scores[TUNED].iou - row.scores[BASE].iou for row in rows])
        summary["delta"] = {
            "miou": float(deltas.mean()),
            "ci95": bootstrap_interval(deltas, images, seed),
            "num_gained": int((deltas > TIE).sum()),
            "num_tied": int((np.abs(deltas) <= TIE).sum()),
            "num_lost": int((deltas < -TIE).sum()),
        }
    summary["num_objects"], summary["num_images"] = len(rows), len(set(images.tolist()))
    return summary


def _means(rows: list[Row], name: str, images: NDArray[np.str_]) -> dict[str, float]:
    ious = np.array([row.scores[name].iou for row in rows])
    sums, counts = _by_image(ious, images)
    return {
        "miou": float(ious.mean()),
        "dice": float(np.mean([row.scores[name].dice for row in rows])),
        "miou_per_image": float((sums / counts).mean()),
        "predicted_iou": float(np.mean([row.scores[name].predicted_iou for row in rows])),
    }


def _by_image(
    values: NDArray[np.float64], images: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and count of values for each image."""
    _, index = np.unique(images, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    return np.bincount(index, weights=values).astype(np.float64), counts


def bootstrap_interval(
    values: NDArray[np.float64], images: NDArray[np.str_], seed: int
) -> list[float] | None:
    """95% percentile interval of the mean over objects, resampling whole images.

    Objects of one image are alike; resampling them one by one would make the interval too narrow
    (cluster bootstrap; Davison and Hinkley 1997, section 3.8).

    Returns:
        [low, high], or `None` when there is only one image.
    """
    sums, counts = _by_image(values, images)
    num_images = len(sums)
    if num_images < 2:
        return None
    rng = object_rng(seed, "bootstrap")
    means = []
    rows_at_once = max(1, 10_000_000 // num_images)
    for start in range(0, NUM_RESAMPLES, rows_at_once):
        size = min(rows_at_once, NUM_RESAMPLES - start)
        weights = rng.multinomial(num_images, np.full(num_images, 1 / num_images), size=size)
        means.append((weights @ sums) / (weights @ counts))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return [float(low), float(high)]


def verdict(name: str, summary: dict[str, Any]) -> str:
    """One plain sentence on a protocol, also when the answer is no."""
    base, delta = summary["base"]["miou"], summary["delta"]
    if delta is None:
        return f"{name}: the base reaches a mIoU of {base:.3f}."
    tuned, interval = summary["tuned"]["miou"], delta["ci95"]
    change = f"{name}: {base:.3f} for the base, {tuned:.3f} tuned ({delta['miou']:+.3f}"
    if interval is None:
        return f"{change}; a single image gives no interval)."
    change += f", 95% interval {interval[0]:+.3f} to {interval[1]:+.3f})"
    if interval[0] > 0:
        return f"{change}: better."
    if interval[1] < 0:
        return f"{change}: WORSE than the base."
    return f"{change}: no difference that these images could show."


def to_markdown(summaries: dict[str, Any]) -> str:
    """The table of a report."""
    lines = [
        "| protocol | base mIoU | tuned mIoU | difference | 95% interval | base Dice | tuned Dice "
        "| objects | images |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, summary in summaries.items():
        cells = [name, f"{summary['base']['miou']:.3f}", "-", "-", "-"]
        dice = [f"{summary['base']['dice']:.3f}", "-"]
        if summary["delta"] is not None:
            interval = summary["delta"]["ci95"]
            cells[2:] = [
                f"{summary['tuned']['miou']:.3f}",
                f"{summary['delta']['miou']:+.3f}",
                f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else "one image",
            ]
            dice[1] = f"{summary['tuned']['dice']:.3f}"
        counts = [str(summary["num_objects"]), str(summary["num_images"])]
        lines.append("| " + " | ".join([*cells, *dice, *counts]) + " |")
    return "\n".join(lines)


def to_csv(rows: Iterable[Row]) -> str:
    """A line for each object and protocol, as `objects.csv` holds them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = list(rows)
    names = list(rows[0].scores) if rows else [BASE]
    columns = [f"{name}_{what}" for name in names for what in ("iou", "dice", "predicted_iou")]
    writer.writerow(["protocol", "image_id", "object_id", "class", "area", *columns])
    for row in rows:
        key = row.key
        scores = [
            f"{value:.6f}"
            for name in names
            for value in (
                row.scores[name].iou,
                row.scores[name].dice,
                row.scores[name].predicted_iou,
            )
        ]
        writer.writerow(
            [row.protocol, key.image_id, key.object_id, key.class_name, row.area, *scores]
        )
    return text.getvalue()

"""Tables of a report: Markdown for a README or a paper, CSV by object."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from samtune.escaping import csv_text, markdown_table, markdown_text
from samtune.evaluation.aids import aid_tables
from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.metrics.table import METRICS
from samtune.evaluation.next_steps import next_steps
from samtune.evaluation.rows import Row, Score
from samtune.wording import signed

MAIN_HEAD = [
    "protocol", "without a network", "base mIoU", "tuned mIoU", "difference", "95% interval",
    "p (Holm)", "verdict", "gained / tied / lost", "objects", "images",
]  # fmt: skip
PARTS_HEAD = ["protocol", "by", "part", *MAIN_HEAD[2:8], "objects"]
MEASURES_HEAD = ["protocol", "measure", "base", "tuned"]
# Fields of a score in objects.csv, before and behind its measures.
_OVERLAPS = ("iou", "dice", "predicted_iou", "oracle_iou")
_AREA = "predicted_area"
# Name of a mean in results.json, as people know it, and its digits.
_MEANS = {
    "miou": ("mIoU", 3),
    "oracle_iou": ("mIoU, best of three by truth", 3),
    "dice": ("Dice", 3),
    "miou_per_image": ("mIoU per image", 3),
    "iou_of_pixels": ("IoU over all pixels", 3),
    "dice_of_pixels": ("Dice over all pixels", 3),
}
INSTANCE_METRICS = {
    "ap": "AP50:95", "ap50": "AP50", "ap75": "AP75", "msa": "mSA", "pq": "PQ",
}  # fmt: skip
VERDICTS = {
    "better": "better",
    "worse": "WORSE",
    "unclear": "not shown",
    "identical": "identical",
    "unknown": "too few images",
}


def difference_cells(summary: dict[str, Any]) -> list[str]:
    """base, tuned, difference, interval, p, verdict, counts: one line of the main table."""
    cells = [f"{summary['base']['miou']:.3f}", "-", "-", "-", "-", "-"]
    if (delta := summary["delta"]) is not None:
        interval, p = delta["ci95"], delta["p_holm"]
        cells[1:] = [
            f"{summary['tuned']['miou']:.3f}",
            f"{signed(delta['miou'])}",
            interval_text(interval),
            "-" if p is None else f"{p:.2g}",
            VERDICTS[delta["verdict"]],
        ]
    return cells


def trivial_cell(summary: dict[str, Any]) -> str:
    """The best answer that needs no network."""
    floor = summary["trivial"]
    return "-" if floor is None else f"{floor['miou']:.3f} ({floor['name']})"


def interval_text(interval: Sequence[float] | None) -> str:
    return f"{signed(interval[0])} to {signed(interval[1])}" if interval else "one image or group"


def main_lines(summaries: dict[str, Any]) -> list[list[str]]:
    """Lines of the main table, under `MAIN_HEAD`."""
    return [_main_line(*each) for each in summaries.items()]


def _main_line(name: str, summary: dict[str, Any]) -> list[str]:
    delta, changes = summary["delta"], "-"
    if delta is not None:
        changes = f"{delta['num_gained']} / {delta['num_tied']} / {delta['num_lost']}"
    counts = [f"{summary['num_objects']:,}", f"{summary['num_images']:,}"]
    return [name, trivial_cell(summary), *difference_cells(summary), changes, *counts]


def filled(
    head: Sequence[str], lines: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Head and lines without the columns in which every line has a dash."""
    kept = [n for n in range(len(head)) if any(line[n] != "-" for line in lines)]
    return [head[n] for n in kept], [[line[n] for n in kept] for line in lines]


def to_markdown(summaries: dict[str, Any]) -> str:
    """The main table, for the terminal and `report.md`."""
    return markdown_table(*filled(MAIN_HEAD, main_lines(summaries)))


def metrics_lines(summaries: dict[str, Any]) -> list[list[str]]:
    """All measures: protocol, measure, base, tuned."""
    means = _MEANS | {name: (metric.label, metric.digits) for name, metric in METRICS.items()}
    lines = []
    for name, summary in summaries.items():
        pairs = [
            (text, digits, summary["base"][key], (summary["tuned"] or {}).get(key))
            for key, (text, digits) in means.items()
        ]
        if (instances := summary["instances"]) is not None:
            pairs += [
                (text, 3, instances[BASE][key], instances.get(TUNED, {}).get(key))
                for key, text in INSTANCE_METRICS.items()
            ]
        lines += [
            [name, text, f"{base:.{digits}f}", "-" if tuned is None else f"{tuned:.{digits}f}"]
            for text, digits, base, tuned in pairs
        ]
    return lines


def breakdown_lines(summaries: dict[str, Any]) -> list[list[str]]:
    """Every part of the data: protocol, way, part, then as the main table, and objects."""
    return [
        [name, way, part, *difference_cells(its), str(its["num_objects"])]
        for name, summary in summaries.items()
        for way, parts in summary["breakdown"].items()
        for part, its in parts.items()
    ]


def noc_lines(summaries: dict[str, Any]) -> list[list[str]]:
    """Number of prompts until an IoU is reached: protocol, target, base, tuned."""
    lines = []
    for name, summary in summaries.items():
        num_prompts = len(summary["clicks"][BASE]["iou"]) if summary["clicks"] else 0
        for target in (summary["clicks"] or {BASE: {"noc": {}}})[BASE]["noc"]:
            cells = [
                f"{its['noc'][target]['mean']:.2f} ({its['noc'][target]['failed']:.0%} never)"
                for its in summary["clicks"].values()
            ]
            lines.append([name, f"NoC{num_prompts}@{target}", *cells, *["-"] * (2 - len(cells))])
    return lines


def full_markdown(results: dict[str, Any]) -> str:
    """`report.md`: the sentence and all tables."""
    summaries = results["protocols"]
    steps = "\n".join(f"- {markdown_text(str(step))}" for step in next_steps(results))
    parts = [markdown_text(results["headline"]), steps, to_markdown(summaries)]
    if results["warnings"]:
        parts.append("\n".join(f"- WARNING: {markdown_text(each)}" for each in results["warnings"]))
    if results["general"]:
        parts += [f"General set: {markdown_text(results['general']['name'])}",
                  to_markdown(results["general"]["protocols"])]  # fmt: skip
    for title, head, lines in aid_tables(results):
        parts += [f"{title}:", markdown_table(head, lines)]
    if lines := breakdown_lines(summaries):
        parts.append(markdown_table(*filled(PARTS_HEAD, lines)))
    metrics = metrics_lines(summaries) + noc_lines(summaries)
    parts.append(markdown_table(*filled(MEASURES_HEAD, metrics)))
    return "\n\n".join(parts) + "\n"


def to_csv(rows: Iterable[Row]) -> str:
    """A line for each object, protocol and draw, as `objects.csv` holds them."""
    rows = list(rows)
    names = list(rows[0].scores) if rows else [BASE]
    columns = list(dict.fromkeys(name for row in rows for name, _ in row.columns))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["protocol", "image_id", "object_id", "class", "area", "contrast", "cluster", "repeat"]
        + [f"{name}_{field}" for name in names for field in (*_OVERLAPS, *METRICS, _AREA)]
        + [f"{name}_clicks" for name in names]
        + [f"column_{name}" for name in columns]
    )
    for row in rows:
        key = row.key
        scores = [_text(value) for name in names for value in _score_values(row.scores[name])]
        clicks = [" ".join(f"{iou:.4f}" for iou in row.scores[name].clicks) for name in names]
        values = [dict(row.columns).get(name, "") for name in columns]
        writer.writerow(
            [row.protocol, csv_text(key.image_id), key.object_id, csv_text(key.class_name), row.area,
             _text(row.contrast), csv_text(row.cluster), row.repeat, *scores, *clicks,
             *map(csv_text, values)]
        )  # fmt: skip
    return text.getvalue()


def _score_values(score: Score) -> list[float]:
    overlaps = [getattr(score, field) for field in _OVERLAPS]
    return [*overlaps, *(score.measures[name] for name in METRICS), score.predicted_area]


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}"

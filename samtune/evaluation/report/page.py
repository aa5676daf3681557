"""The page of a report: one self-contained file, nothing in it is loaded from elsewhere."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, Template
from markupsafe import Markup

from samtune.evaluation.aids import aid_tables
from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.metrics.contour import DEFINITION
from samtune.evaluation.next_steps import next_steps
from samtune.evaluation.report.gallery import Gallery, Picture, difference
from samtune.evaluation.report.plots import Bar, Series, forest, histogram, line_chart
from samtune.evaluation.report.tables import (
    MAIN_HEAD,
    MEASURES_HEAD,
    breakdown_lines,
    filled,
    main_lines,
    metrics_lines,
    noc_lines,
)
from samtune.evaluation.rows import Row
from samtune.wording import counted, signed

_PART = ["part", *MAIN_HEAD[2:6], "verdict", "objects"]
_NAMES = {BASE: "base", TUNED: "tuned", "calibrated": "tuned, calibrated"}
# What the panels of a picture show, and the colour of the mask in it.
PANELS = (
    ("prompt", ""), ("truth", "#009e73"), ("base", "#e69f00"), ("tuned", "#0072b2"),
    ("change", "linear-gradient(90deg, #0072b2 50%, #d55e00 50%)"),
)  # fmt: skip
_STYLES = {BASE: "base", TUNED: "tuned", "calibrated": "other"}


def template(name: str) -> Template:
    """One of the templates beside this file; what is filled in is escaped."""
    loader = PackageLoader("samtune.evaluation.report", ".")
    return Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(name)


def render(rows: list[Row], results: dict[str, Any], gallery: Gallery) -> str:
    """The whole page, from rows and the content of `results.json`."""
    summaries = results["protocols"]
    is_compared = TUNED in rows[0].scores
    first = next(iter(summaries.values()))
    groups = gallery.groups
    pictures = [picture for its in groups.values() for picture in its]
    head, sections = _main(summaries, results["general"])
    return template("page.html.j2").render(
        title="Base against tuned" if is_compared else "The base alone",
        subtitle=_subtitle(results["about"]),
        headline=results["headline"],
        steps=next_steps(results),
        warnings=results["warnings"],
        head=head,
        sections=sections,
        num_clusters=counted(first["num_clusters"], "independent image"),
        aids=list(aid_tables(results)),
        charts=[*_histograms(rows, is_compared), *_charts(summaries)],
        breakdown=_breakdown(summaries, is_compared),
        is_compared=is_compared,
        metrics=dict(
            zip(("head", "lines"), filled(MEASURES_HEAD, _measures(summaries)), strict=True)
        ),
        measure_note=_measure_note(results["about"]),
        calibration_split=results["calibrated_on"],
        review=_review(results["review"]),
        orders=_orders(is_compared),
        protocols=list(summaries),
        classes=sorted({picture.row.key.class_name for picture in pictures}),
        panels=PANELS if is_compared else PANELS[:3],
        groups={name: [_figure(picture) for picture in its] for name, its in groups.items()},
        shown=f"{counted(len(pictures), 'picture')} of {counted(len(rows), 'answer')}",
        about=[[name, _plain(value)] for name, value in results["about"].items()],
    )


def _subtitle(about: dict[str, Any]) -> str:
    """What was evaluated on what, as far as it is known."""
    named = (("model", ""), ("data", "on "), ("split", "split "))
    return ", ".join(f"{word}{about[name]}" for name, word in named if name in about)


def _main(
    summaries: dict[str, Any], general: dict[str, Any] | None
) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Head of the one table, and its sections by name."""
    lines = main_lines(summaries)
    count = len(lines)
    if general is None:
        head, lines = filled(MAIN_HEAD, lines)
        return head, [("", lines)]
    head, lines = filled(MAIN_HEAD, lines + main_lines(general["protocols"]))
    elsewhere = f"was anything lost elsewhere? general set: {general['name']}"
    return head, [("your held-out images", lines[:count]), (elsewhere, lines[count:])]


def _measures(summaries: dict[str, Any]) -> list[list[str]]:
    return metrics_lines(summaries) + noc_lines(summaries)


def _charts(summaries: dict[str, Any]) -> list[dict[str, Any]]:
    charts = _robustness(summaries)
    for name, summary in summaries.items():
        if summary["clicks"] is not None:
            charts.append(_chart(_clicks(summary["clicks"]), f"IoU after each prompt ({name})"))
    for name, summary in summaries.items():
        calibration = summary["calibration"]
        caption = f"Predicted and measured IoU ({name}), {_masks_a_point(calibration)}"
        charts.append(_chart(_calibration(calibration), caption))
    return charts


def _chart(svg: str, caption: str) -> dict[str, Any]:
    return {"svg": Markup(svg), "caption": caption}  # noqa: S704 (made by plots.py, which escapes)


def _robustness(summaries: dict[str, Any]) -> list[dict[str, Any]]:
    """mIoU by how much boxes are off, where at least two such protocols were asked."""
    charts = []
    for prefix, unit in (("box_jitter_", "sides of the box moved by up to (% of its size)"),
                         ("box_outward_", "box grown on each side (px)")):  # fmt: skip
        found = {
            int(match[1]): summary
            for name, summary in summaries.items()
            if (match := re.fullmatch(rf"{prefix}(\d+)", name))
        }
        if found and "box" in summaries:
            found[0] = summaries["box"]
        if len(found) < 2:
            continue
        levels = sorted(found)
        series = [
            Series(who, who, levels, [found[level][who]["miou"] for level in levels])
            for who in (BASE, TUNED)
            if found[levels[0]][who] is not None
        ]
        svg = line_chart(series, unit, "mIoU", [(level, str(level)) for level in levels])
        charts.append(_chart(svg, f"With a worse box: {unit}"))
    return charts


def _clicks(clicks: dict[str, Any]) -> str:
    series = []
    for who, its in clicks.items():
        numbers = list(range(1, len(its["iou"]) + 1))
        series.append(Series(_NAMES[who], _STYLES[who], numbers, its["iou"]))
    return line_chart(series, "number of prompts", "mIoU", [(n, str(n)) for n in series[0].x])


def _calibration(calibration: dict[str, Any]) -> str:
    series = [
        Series(
            f"{_NAMES[who]}, off by {its['ece']:.3f}", _STYLES[who],
            [each["predicted"] for each in its["bins"]],
            [each["measured"] for each in its["bins"]],
            notes=[counted(each["num_masks"], "mask") for each in its["bins"]],
        )
        for who, its in calibration.items()
    ]  # fmt: skip
    values = [value for line in series for value in (*line.x, *line.y)]
    bounds = (min(0.0, *values), max(1.0, *values))
    return line_chart(series, "predicted IoU", "measured IoU", y_range=bounds, with_diagonal=True)


def _masks_a_point(calibration: dict[str, Any]) -> str:
    counts = [each["num_masks"] for each in calibration[BASE]["bins"]]
    least, most = min(counts), max(counts)
    return f"{counted(most, 'mask') if least == most else f'{least:,} to {most:,} masks'} a point"


def _breakdown(summaries: dict[str, Any], is_compared: bool) -> list[dict[str, Any]]:
    parts = []
    for name, summary in summaries.items():
        lines = [
            [f"{way} {part}", *(cells[n] for n in (0, 1, 2, 3, 5)), objects]
            for _, way, part, *cells, objects in breakdown_lines({name: summary})
        ]
        if lines:
            head, lines = filled(_PART, lines)
            svg = _forest(summary["breakdown"]) if is_compared else ""
            parts.append({"protocol": name, "svg": svg, "head": head, "lines": lines})
    return parts


def _forest(breakdown: dict[str, Any]) -> Markup:
    bars = [
        Bar(
            f"{way} {part}", its["delta"]["miou"],
            None if its["delta"]["ci95"] is None else tuple(its["delta"]["ci95"]),
        )
        for way, values in breakdown.items()
        for part, its in values.items()
    ]  # fmt: skip
    label = "mIoU of tuned minus base, with 95% interval"
    return Markup(forest(bars, label))  # noqa: S704 (made by plots.py, which escapes)


def _histograms(rows: list[Row], is_compared: bool) -> list[dict[str, Any]]:
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.protocol, []).append(difference(row))
    label = "IoU of tuned minus base" if is_compared else "IoU"
    what = "Gain or loss of each object" if is_compared else "IoU of each object"
    return [
        _chart(histogram(part, label, "number of objects", is_compared), f"{what} ({name})")
        for name, part in values.items()
    ]


def _measure_note(about: dict[str, Any]) -> str:
    unit = about.get("spacing_unit", "px")
    return (
        f"Distances are in {unit}; surface Dice has a tolerance of {about.get('tolerance', 2)} {unit}. "
        "AP, mSA and PQ count each prompt's mask as one found instance, scored by its predicted IoU. "
        f"{DEFINITION}. An IoU that is a threshold exactly is a hit. "
        "An empty prediction has IoU 0, surface Dice 0 and the image's diagonal as HD95."
    )


def _review(review: list[dict[str, Any]] | None) -> list[list[str]]:
    def text(value: float | None, pattern: str) -> str:
        return "-" if value is None else pattern.format(value)

    return [
        [f"{each['iou']:.2f}", f"{each['wanted_share']:.0%}", text(each["score"], "{:.3f}"),
         text(each["share"], "{:.0%}"), f"{each['coverage']:.0%}"]
        for each in review or []
    ]  # fmt: skip


def _orders(is_compared: bool) -> list[tuple[str, str]]:
    gains = [("gain -1", "largest gain"), ("gain 1", "largest loss")] if is_compared else []
    return [
        *gains, ("iou 1", "lowest IoU"), ("iou -1", "highest IoU"),
        ("doubt -1", "most overrated (predicted minus measured IoU)"), ("area 1", "smallest"),
        ("area -1", "largest"),
    ]  # fmt: skip


def _figure(picture: Picture) -> dict[str, Any]:
    row = picture.row
    last = row.scores.get(TUNED, row.scores[BASE])
    height, width = picture.hw
    numbers, what = told(row)
    style = ""
    if TUNED in row.scores and difference(row):
        style = "better" if difference(row) > 0 else "worse"
    return {
        "gain": f"{difference(row):.4f}",
        "iou": f"{last.iou:.4f}",
        "doubt": f"{last.predicted_iou - last.iou:.4f}",
        "area": row.area,
        "protocol": row.protocol,
        "class": row.key.class_name,
        "width": width,
        "height": height,
        "src": picture.data_uri,
        "style": style,
        "numbers": numbers,
        "what": what,
    }


def told(row: Row) -> tuple[str, str]:
    """The numbers, and what they are of."""
    name = f"{row.key.image_id}, object {row.key.object_id} {row.key.class_name}".strip()
    base, what = row.scores[BASE].iou, f"{row.protocol}, {name}"
    if TUNED not in row.scores:
        return f"IoU {base:.3f}", what
    tuned = row.scores[TUNED].iou
    return f"{signed(tuned - base)} (IoU {base:.3f} to {tuned:.3f})", what


def _plain(value: Any) -> str:
    join: Callable[[dict[str, Any]], str] = lambda d: ", ".join(f"{k} {v}" for k, v in d.items())  # noqa: E731
    return join(value) if isinstance(value, dict) else str(value)

"""The page of a report: one self-contained file, nothing in it is loaded from elsewhere."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, Template
from markupsafe import Markup

from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.focus_gain import FOCUS_HEAD, focus_lines
from samtune.evaluation.metrics.contour import DEFINITION
from samtune.evaluation.report.gallery import Gallery, Picture, difference
from samtune.evaluation.report.plots import Bar, Series, forest, histogram, line_chart
from samtune.evaluation.report.tables import (
    breakdown_lines,
    difference_cells,
    metrics_lines,
    noc_lines,
    trivial_cell,
)
from samtune.evaluation.rows import Row

_MAIN = ["protocol", "without a network", "base mIoU", "tuned mIoU", "difference", "95% interval",
         "p (Holm)", "verdict", "could show", "gained / tied / lost", "objects", "images"]  # fmt: skip
_PART = ["by", "part", *_MAIN[2:8], "objects"]
_NAMES = {BASE: "base", TUNED: "tuned", "calibrated": "tuned, calibrated"}
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
    pictures = gallery.pictures
    general = results["general"]
    return template("page.html.j2").render(
        title="Base against tuned" if is_compared else "The base alone",
        headline=results["headline"],
        warnings=results["warnings"],
        main={"head": _MAIN, "lines": _main_lines(summaries)},
        clusters=f"{first['num_clusters']} images or groups of images",
        general=general and {"name": general["name"], "lines": _main_lines(general["protocols"])},
        focus=results["focus"] and {"head": FOCUS_HEAD, "lines": focus_lines(results["focus"])},
        charts=_charts(summaries),
        breakdown=_breakdown(summaries) if is_compared else [],
        is_compared=is_compared,
        histograms=_histograms(rows, list(summaries), is_compared),
        metrics=metrics_lines(summaries) + noc_lines(summaries),
        measure_note=_measure_note(results["about"]),
        calibration_split=results["calibrated_on"],
        review=_review(results["review"]),
        orders=_orders(is_compared),
        protocols=list(summaries),
        classes=sorted({picture.row.key.class_name for picture in pictures}),
        pictures=[_figure(picture) for picture in pictures],
        shown=f"{len(pictures)} pictures of {len(rows):,} answers; all numbers are in objects.csv.",
        about=[[name, _plain(value)] for name, value in results["about"].items()],
    )


def _main_lines(summaries: dict[str, Any]) -> list[list[str]]:
    lines = []
    for name, summary in summaries.items():
        delta, smallest = summary["delta"], "-"
        counts = "-"
        if delta is not None:
            counts = f"{delta['num_gained']} / {delta['num_tied']} / {delta['num_lost']}"
            if delta["smallest_detectable"] is not None:
                smallest = f"{delta['smallest_detectable']:.3f}"
        numbers = [str(summary["num_objects"]), str(summary["num_images"])]
        lines.append(
            [name, trivial_cell(summary), *difference_cells(summary), smallest, counts, *numbers]
        )
    return lines


def _charts(summaries: dict[str, Any]) -> list[dict[str, Any]]:
    charts = _robustness(summaries)
    for name, summary in summaries.items():
        if summary["clicks"] is not None:
            charts.append(_chart(_clicks(summary["clicks"]), f"IoU after each prompt ({name})"))
    for name, summary in summaries.items():
        charts.append(
            _chart(_calibration(summary["calibration"]), f"predicted and measured IoU ({name})")
        )
    return charts


def _chart(svg: str, caption: str) -> dict[str, Any]:
    return {"svg": Markup(svg), "caption": caption}  # noqa: S704 (made by plots.py, which escapes)


def _robustness(summaries: dict[str, Any]) -> list[dict[str, Any]]:
    """mIoU by how much boxes are off, where at least two such protocols were asked."""
    charts = []
    for prefix, unit in (("box_jitter_", "box sides moved by up to %"),
                         ("box_outward_", "box grown by pixels")):  # fmt: skip
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
        charts.append(_chart(svg, f"robustness: mIoU, {unit}"))
    return charts


def _clicks(clicks: dict[str, Any]) -> str:
    series = []
    for who, its in clicks.items():
        numbers = list(range(1, len(its["iou"]) + 1))
        series.append(Series(_NAMES[who], _STYLES[who], numbers, its["iou"]))
    return line_chart(series, "prompts", "mIoU", [(n, str(n)) for n in series[0].x])


def _calibration(calibration: dict[str, Any]) -> str:
    series = [
        Series(
            f"{_NAMES[who]} (ECE {its['ece']:.3f})", _STYLES[who],
            [each["predicted"] for each in its["bins"]],
            [each["measured"] for each in its["bins"]],
        )
        for who, its in calibration.items()
    ]  # fmt: skip
    values = [value for line in series for value in (*line.x, *line.y)]
    bounds = (min(0.0, *values), max(1.0, *values))
    return line_chart(series, "predicted", "measured IoU", y_range=bounds, with_diagonal=True)


def _breakdown(summaries: dict[str, Any]) -> list[dict[str, Any]]:
    parts = []
    for name, summary in summaries.items():
        if not summary["breakdown"]:
            continue
        bars = [
            Bar(
                f"{way} {part}", its["delta"]["miou"],
                None if its["delta"]["ci95"] is None else tuple(its["delta"]["ci95"]),
            )
            for way, values in summary["breakdown"].items()
            for part, its in values.items()
        ]  # fmt: skip
        lines = [line[1:] for line in breakdown_lines({name: summary})]
        svg = Markup(forest(bars))  # noqa: S704 (made by plots.py, which escapes)
        parts.append({"protocol": name, "svg": svg, "head": _PART, "lines": lines})
    return parts


def _histograms(rows: list[Row], names: list[str], is_compared: bool) -> list[dict[str, Any]]:
    low = -1.0 if is_compared else 0.0
    values: dict[str, list[float]] = {name: [] for name in names}
    for row in rows:
        values[row.protocol].append(difference(row))
    return [
        {"name": name, "svg": _chart(histogram(part, low), name)["svg"]}
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
        "caption": _caption(row),
    }


def _caption(row: Row) -> str:
    name = f"{row.key.image_id}, object {row.key.object_id} {row.key.class_name}".strip()
    base = row.scores[BASE].iou
    if TUNED not in row.scores:
        return f"{name}, {row.protocol}: IoU {base:.3f}"
    tuned = row.scores[TUNED].iou
    return f"{name}, {row.protocol}: IoU {base:.3f} to {tuned:.3f} ({tuned - base:+.3f})"


def _plain(value: Any) -> str:
    join: Callable[[dict[str, Any]], str] = lambda d: ", ".join(f"{k} {v}" for k, v in d.items())  # noqa: E731
    return join(value) if isinstance(value, dict) else str(value)

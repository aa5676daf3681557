"""What an evaluation leaves behind: results.json, objects.csv, and one self-contained HTML page."""

from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from samtune.drawing import side_by_side, to_data_uri, to_png
from samtune.evaluation.compare import Row
from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.gallery import Gallery, Picture, difference
from samtune.evaluation.summary import summarise, to_csv, verdict
from samtune.files import write_bytes, write_json, write_text
from samtune.types import ImageArray

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child { text-align: left }
.scroll { overflow-x: auto } .dim { color: var(--dim) }
.verdict { font-size: 1.05rem; padding-left: 1.2rem } figure { margin: .8rem 0 }
figure img { max-width: 100%; height: auto; display: block } figcaption { color: var(--dim) }
.key span { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em }
svg { max-width: 100%; height: auto } svg text { fill: currentColor; font-size: 11px }
@media print { body { max-width: none } figure { break-inside: avoid } }
"""
_GAIN, _LOSS = "#0072b2", "#d55e00"
_KEY = (
    '<p class="key">image with prompt, then <span style="background:#009e73"></span>truth'
    '<span style="background:#e69f00"></span>base<span style="background:#0072b2"></span>tuned</p>'
)


def write_report(
    folder: Path, rows: list[Row], gallery: Gallery, about: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Write all files of an evaluation into `folder`, each atomically.

    Args:
        folder: `evaluation/` of a run.
        rows: what was measured.
        gallery: pictures of the largest gains and losses.
        about: what was evaluated on what; goes into `results.json` and the page's head.
        seed: of the bootstrap.

    Returns:
        The content of `results.json`.
    """
    summaries = summarise(rows, seed)
    results = {"format": 1, "samtune": version("samtune"), "about": about, "protocols": summaries}
    write_json(folder / "results.json", results)
    write_text(folder / "objects.csv", to_csv(rows))
    write_text(folder / "report.html", render(rows, summaries, gallery, about))
    (folder / "examples.png").unlink(missing_ok=True)
    if (picture := examples_picture(gallery)) is not None:
        write_bytes(folder / "examples.png", to_png(picture))
    return results


def examples_picture(gallery: Gallery, size: int = 5) -> ImageArray | None:
    """The largest gains below one another, as one picture; `None` without any."""
    chosen = (gallery.gains or gallery.losses)[:size]
    if not chosen:
        return None
    width = max(picture.image.shape[1] for picture in chosen)
    rows = [
        np.pad(p.image, ((0, 4), (0, width - p.image.shape[1]), (0, 0)), constant_values=255)
        for p in chosen
    ]
    return side_by_side([np.concatenate(rows)])


def render(
    rows: list[Row], summaries: dict[str, Any], gallery: Gallery, about: dict[str, Any]
) -> str:
    """The whole page; nothing in it is loaded from elsewhere."""
    is_compared = TUNED in rows[0].scores
    title = "Base against tuned" if is_compared else "The base alone"
    verdicts = "".join(f"<li>{escape(verdict(n, s))}</li>" for n, s in summaries.items())
    facts = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(str(value))}</td></tr>"
        for name, value in about.items()
    )
    histograms = "".join(
        f"<h3>{escape(name)}</h3>{_histogram([r for r in rows if r.protocol == name], is_compared)}"
        for name in summaries
    )
    what = "IoU of tuned minus base, by object" if is_compared else "IoU, by object"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f'<ul class="verdict">{verdicts}</ul><div class="scroll">{_table(summaries)}</div>'
        '<p class="dim">mIoU and Dice are means over objects. The interval is a 95% bootstrap of '
        "the paired difference over images. Of several masks the one with the highest predicted "
        "IoU counts.</p>"
        f"{_classes(summaries)}<h2>{what}</h2>{histograms}"
        + _pictures("Largest gains" if is_compared else "Best objects", gallery.gains, is_compared)
        + _pictures(
            "Largest losses" if is_compared else "Worst objects", gallery.losses, is_compared
        )
        + f'<h2>What was evaluated</h2><div class="scroll"><table>{facts}</table></div></body></html>'
    )


def _table(summaries: dict[str, Any]) -> str:
    head = ("protocol", "base mIoU", "tuned mIoU", "difference", "95% interval", "base Dice",
            "tuned Dice", "gained / tied / lost", "objects", "images")  # fmt: skip
    body = "".join(f"<tr>{_cells(name, summary)}</tr>" for name, summary in summaries.items())
    return f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>{body}</table>"


def _cells(name: str, summary: dict[str, Any]) -> str:
    base, tuned, delta = summary["base"], summary["tuned"], summary["delta"]
    cells = [escape(name), f"{base['miou']:.3f}", "", "", "", f"{base['dice']:.3f}", "", ""]
    if delta is not None:
        low_high = delta["ci95"]
        cells[2:5] = [
            f"{tuned['miou']:.3f}",
            f"{delta['miou']:+.3f}",
            f"{low_high[0]:+.3f} to {low_high[1]:+.3f}" if low_high else "one image",
        ]
        counts = f"{delta['num_gained']} / {delta['num_tied']} / {delta['num_lost']}"
        cells[6:] = [f"{tuned['dice']:.3f}", counts]
    cells += [str(summary["num_objects"]), str(summary["num_images"])]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _classes(summaries: dict[str, Any]) -> str:
    body = "".join(
        f"<tr>{_cells(f'{name}: {kind}', part)}</tr>"
        for name, summary in summaries.items()
        for kind, part in summary.get("per_class", {}).items()
    )
    if not body:
        return ""
    return f'<h2>By class</h2><div class="scroll"><table>{body}</table></div>'


def _histogram(rows: list[Row], is_compared: bool, num_bins: int = 40) -> str:
    """An SVG histogram of the differences (or of the IoU, for a base alone)."""
    low = -1.0 if is_compared else 0.0
    values = np.array([difference(row) for row in rows])
    counts, edges = np.histogram(values, bins=num_bins, range=(low, 1.0))
    width, height, top = 640, 120, max(int(counts.max()), 1)
    step = width / num_bins
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{height - n / top * height:.1f}" width="{step - 1:.1f}" '
        f'height="{n / top * height:.1f}" fill="{_LOSS if edges[i] < 0 else _GAIN}">'
        f"<title>{edges[i]:+.2f} to {edges[i + 1]:+.2f}: {n}</title></rect>"
        for i, n in enumerate(counts)
    )
    ticks = "".join(
        f'<text x="{(value - low) / (1 - low) * width:.0f}" y="{height + 14}" '
        f'text-anchor="middle">{value:+.1f}</text>'
        for value in np.linspace(low, 1.0, 5)
    )
    return (
        f'<svg viewBox="-20 -4 {width + 40} {height + 24}" role="img" '
        f'aria-label="histogram">{bars}{ticks}</svg>'
    )


def _pictures(title: str, pictures: list[Picture], is_compared: bool) -> str:
    if not pictures:
        return f"<h2>{title}</h2><p>none</p>"
    figures = "".join(
        f'<figure><img alt="" loading="lazy" src="{to_data_uri(picture.image)}">'
        f"<figcaption>{escape(_caption(picture.row, is_compared))}</figcaption></figure>"
        for picture in pictures
    )
    return f"<h2>{title}</h2>{_KEY}{figures}"


def _caption(row: Row, is_compared: bool) -> str:
    name = f"{row.key.image_id}, object {row.key.object_id} {row.key.class_name}".strip()
    base = row.scores[BASE].iou
    if not is_compared:
        return f"{name}, {row.protocol}: IoU {base:.3f}"
    tuned = row.scores[TUNED].iou
    return f"{name}, {row.protocol}: IoU {base:.3f} to {tuned:.3f} ({tuned - base:+.3f})"

"""A short page of a sentence, charts and a table: scales, comparisons, learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from samtune.evaluation.report.page import template
from samtune.files import write_text


@dataclass(frozen=True)
class Chart:
    """An SVG made by `plots.py`, and what it shows."""

    svg: str
    caption: str


def write_short_page(
    path: Path, title: str, sentence: str, head: Sequence[str], lines: Sequence[Sequence[str]],
    charts: Sequence[Chart],
) -> Path:  # fmt: skip
    """Write a self-contained page, atomically; returns its path."""
    page = template("short_page.html.j2").render(
        title=title, headline=sentence, head=head, lines=lines,
        charts=[{"svg": Markup(c.svg), "caption": c.caption} for c in charts],  # noqa: S704
    )  # fmt: skip
    write_text(path, page)
    return path

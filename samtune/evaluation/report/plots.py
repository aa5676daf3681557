"""Charts of a report as SVG: readable in light and dark, on a screen and on paper.

Colours are the page's (CSS classes `base`, `tuned`, `other`), so that a chart follows its theme.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 38


@dataclass(frozen=True)
class Series:
    """A line with its points.

    Attributes:
        name: in the legend.
        style: CSS class.
        x, y: coordinates.
    """

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Bar:
    """A difference with its interval, for `forest`."""

    label: str
    value: float
    interval: tuple[float, float] | None


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, ticks: Sequence[tuple[float, str]] = (),
    y_range: tuple[float, float] | None = None, with_diagonal: bool = False,
) -> str:  # fmt: skip
    """Lines over numbers; `ticks` name places on the x axis, `with_diagonal` draws x = y.

    Bands are drawn where series have `low` and `high`.
    """
    xs = [x for line in series for x in line.x]
    low, high = y_range or _rounded_range([y for s in series for y in (*s.y, *s.low, *s.high)])
    left, right = min(xs), max(xs)
    if with_diagonal:
        left, right = low, high
    right = right if right > left else left + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        up = (y - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    parts = [_y_axis(low, high, place(left, low)[0], place)]
    marks = ticks or [(x, f"{x:g}") for x in np.linspace(left, right, 5)]
    for x, text in marks:
        at = place(x, low)
        parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1] + 14:.1f}" text-anchor="middle">{escape(text)}</text>'
        )
    if with_diagonal:
        (x0, y0), (x1, y1) = place(low, low), place(high, high)
        parts.append(f'<line class="dim" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
    parts += [_line(line, place) for line in series]
    legend = " ".join(
        f'<tspan class="{line.style}">\N{BLACK CIRCLE}</tspan> {escape(line.name)}\N{EN SPACE}'
        for line in series
    )
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{legend}</text>')
    parts.append(
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end" class="dim">'
        f"{escape(x_label)}</text>"
    )
    return _svg(_WIDTH, _HEIGHT, f"{y_label} by {x_label}", parts)


def _rounded_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.floor(min(values) * 10) / 10, np.ceil(max(values) * 10) / 10
    return float(low), float(high if high > low else low + 0.1)


def _y_axis(low: float, high: float, x: float, place) -> str:  # type: ignore[no-untyped-def]
    parts = []
    for value in np.linspace(low, high, 5):
        _, y = place(0, value)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    return "".join(parts)


def _line(line: Series, place) -> str:  # type: ignore[no-untyped-def]
    points = [place(x, y) for x, y in zip(line.x, line.y, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    band = ""
    if line.low:
        edge = [place(x, y) for x, y in zip(line.x, line.high, strict=True)]
        edge += [place(x, y) for x, y in zip(line.x, line.low, strict=True)][::-1]
        outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        band = f'<polygon class="band {line.style}" points="{outline}"/>'
    dots = "".join(
        f'<circle class="{line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
        f"<title>{escape(line.name)} {value_x:.3g}: {value_y:.3f}</title></circle>"
        for (x, y), value_x, value_y in zip(points, line.x, line.y, strict=True)
    )
    return f'{band}<polyline class="line {line.style}" points="{path}"/>{dots}'


def histogram(values: Sequence[float], low: float, num_bins: int = 40) -> str:
    """Counts of values from `low` to 1; below zero in the colour of losses."""
    counts, edges = np.histogram(values, bins=num_bins, range=(low, 1.0))
    width, height, top = 640, 110, max(int(counts.max()), 1)
    step = width / num_bins
    parts = [
        f'<rect x="{i * step:.1f}" y="{height - n / top * height:.1f}" width="{step - 1:.1f}" '
        f'height="{n / top * height:.1f}" class="{"lost" if edges[i] < -1e-9 else "tuned"}">'
        f"<title>{edges[i]:+.2f} to {edges[i + 1]:+.2f}: {n}</title></rect>"
        for i, n in enumerate(counts)
    ]
    parts += [
        f'<text x="{(value - low) / (1 - low) * width:.0f}" y="{height + 14}" '
        f'text-anchor="middle">{value:+.1f}</text>'
        for value in np.linspace(low, 1.0, 5)
    ]
    return _svg(width, height, "histogram", parts, f"-20 -4 {width + 40} {height + 24}")


def forest(bars: Sequence[Bar]) -> str:
    """Differences with their intervals below one another, the line of no difference between."""
    ends = [0.0, *(b.value for b in bars), *(e for b in bars if b.interval for e in b.interval)]
    low, high = min(ends), max(ends)
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin
    left, width, line = 250, 640, 22

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - 70)

    height = line * len(bars) + 6
    parts = [f'<line class="dim" x1="{place(0):.1f}" y1="0" x2="{place(0):.1f}" y2="{height}"/>']
    for number, bar in enumerate(bars):
        y = line * number + 14
        style = "tuned" if bar.value >= 0 else "lost"
        parts.append(
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(bar.label)}</text>'
        )
        if bar.interval is not None:
            x0, x1 = (place(end) for end in bar.interval)
            parts.append(
                f'<line class="line {style}" x1="{x0:.1f}" y1="{y}" x2="{x1:.1f}" y2="{y}"/>'
            )
        parts.append(f'<circle class="{style}" cx="{place(bar.value):.1f}" cy="{y}" r="4"/>')
        parts.append(f'<text x="{width - 60}" y="{y + 4}">{bar.value:+.3f}</text>')
    return _svg(width, height, "differences with intervals", parts)


def _svg(width: int, height: int, label: str, parts: Sequence[str], box: str = "") -> str:
    return (
        f'<svg viewBox="{box or f"0 0 {width} {height}"}" width="{width}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )

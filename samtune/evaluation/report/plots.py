"""Charts of a report as SVG: readable in light and dark, on a screen and on paper.

Colours are the page's (CSS classes `base`, `tuned`, `other`), so that a chart follows its theme.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from samtune.wording import signed

_WIDTH, _HEIGHT = 440, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 28, 40
# Steps between ticks, in tenths of a power of ten
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
# Of the names beside a forest; of longer ones the end is shown
_LETTERS = 28
Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Series:
    """A line with its points.

    Attributes:
        name: in the legend.
        style: CSS class.
        x, y: coordinates.
        low, high: edges of a band around it; empty for none.
        notes: what each point says under the mouse besides its values; empty for nothing.
    """

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """A difference with its interval, for `forest`."""

    label: str
    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class _Plot:
    """Where values lie in a chart: x from `left` to `right`, y from `low` to `high`."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        share = (value - self.left) / (self.right - self.left)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, x_label: str, y_label: str, x_ticks: Ticks, y_ticks: Ticks) -> list[str]:
        """Grid, numbers and names of both axes."""
        end, bottom, middle = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, (_HEIGHT - _BOTTOM + _TOP) / 2
        parts = []
        for value, text in y_ticks:
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{end}" y2="{y:.1f}"/>')
            parts.append(_text(_LEFT - 6, y + 4, text, "end"))
        parts += [_text(self.x(value), bottom + 15, text) for value, text in x_ticks]
        parts.append(_text((_LEFT + end) / 2, _HEIGHT - 6, x_label, "middle", 'class="dim"'))
        turned = f'class="dim" transform="rotate(-90 12 {middle})"'
        return [*parts, _text(12, middle, y_label, "middle", turned)]


def ticks(low: float, high: float, with_sign: bool = False) -> list[tuple[float, str]]:
    """Round numbers from `low` to `high`, four steps or a few more; 0 never has a sign."""
    rough = (high - low) / 4
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(unit * step for step in _STEPS if unit * step >= rough * 0.999)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    values = [float(round(n * step, 10)) + 0.0 for n in np.arange(first, last + 1)]
    return [(value, f"{value:+g}" if with_sign and value else f"{value:g}") for value in values]


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, x_ticks: Ticks = (),
    y_range: tuple[float, float] | None = None, with_diagonal: bool = False,
) -> str:  # fmt: skip
    """Lines over numbers; `x_ticks` name places on the x axis, `with_diagonal` draws x = y.

    Bands are drawn where series have `low` and `high`.
    """
    xs = [x for line in series for x in line.x]
    low, high = y_range or _rounded_range([y for s in series for y in (*s.y, *s.low, *s.high)])
    left, right = (low, high) if with_diagonal else (min(xs), max(xs))
    plot = _Plot(left, right if right > left else left + 1, low, high)
    marks = x_ticks or ticks(plot.left, plot.right)
    parts = [_legend(series), *plot.axes(x_label, y_label, marks, ticks(low, high))]
    if with_diagonal:
        x0, x1, y0, y1 = plot.x(low), plot.x(high), plot.y(low), plot.y(high)
        parts.append(f'<line class="dim" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
    parts += [_line(line, plot) for line in series]
    return _svg(_WIDTH, _HEIGHT, f"{y_label} by {x_label}", parts)


def _rounded_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.floor(min(values) * 10) / 10, np.ceil(max(values) * 10) / 10
    return float(low), float(high if high > low else low + 0.1)


def _legend(series: Sequence[Series]) -> str:
    names = "".join(
        f'<tspan class="{line.style}">\N{BLACK CIRCLE}</tspan> {escape(line.name)}\N{EM SPACE}'
        for line in series
    )
    return f'<text x="{_LEFT}" y="14">{names}</text>'


def _line(line: Series, plot: _Plot) -> str:
    points = [(plot.x(x), plot.y(y)) for x, y in zip(line.x, line.y, strict=True)]
    path = _path(points)
    band = ""
    if line.low:
        edge = [(plot.x(x), plot.y(y)) for x, y in zip(line.x, line.high, strict=True)]
        edge += [(plot.x(x), plot.y(y)) for x, y in zip(line.x, line.low, strict=True)][::-1]
        band = f'<polygon class="band {line.style}" points="{_path(edge)}"/>'
    notes = [f": {note}" for note in line.notes] or [""] * len(points)
    dots = "".join(
        f'<circle class="{line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
        f"<title>{escape(line.name)}, {value_x:.3g}: {value_y:.3f}{escape(note)}</title></circle>"
        for (x, y), value_x, value_y, note in zip(points, line.x, line.y, notes, strict=True)
    )
    return f'{band}<polyline class="line {line.style}" points="{path}"/>{dots}'


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def histogram(
    values: Sequence[float], x_label: str, y_label: str, is_difference: bool, num_bins: int = 40
) -> str:
    """How many values lie where.

    Args:
        values: from 0 to 1; differences from -1 to 1.
        x_label: of the values.
        y_label: what is counted.
        is_difference: the axis is as wide to both sides of 0 as the values need, and what lies
            below 0 has the colour of losses.
        num_bins: columns.
    """
    reach = next(r for r in (0.1, 0.2, 0.5, 1.0) if r == 1 or max(map(abs, values)) <= r)
    left, right = (-reach, reach) if is_difference else (0.0, 1.0)
    counts, edges = np.histogram(values, bins=num_bins, range=(left, right))
    top = max(4, int(counts.max()))
    plot = _Plot(left, right, 0, top)
    whole = [(n, text) for n, text in ticks(0, top) if n == int(n)]
    parts = plot.axes(x_label, y_label, ticks(left, right, is_difference), whole)
    if is_difference:
        x = plot.x(0)
        parts.append(
            f'<line class="dim" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{plot.y(0):.1f}"/>'
        )
    sign, style = ("+", "tuned") if is_difference else ("", "base")
    edges = edges.round(4) + 0.0
    parts += [
        f'<rect x="{plot.x(low):.1f}" y="{plot.y(n):.1f}" width="{plot.x(high) - plot.x(low) - 1:.1f}" '
        f'height="{plot.y(0) - plot.y(n):.1f}" class="{"lost" if low < -1e-9 else style}">'
        f"<title>{low:{sign}.3g} to {high:{sign}.3g}: {n}</title></rect>"
        for n, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
        if n
    ]  # fmt: skip
    return _svg(_WIDTH, _HEIGHT, "histogram", parts)


def forest(bars: Sequence[Bar], x_label: str) -> str:
    """Differences with their intervals below one another, the line of no difference between."""
    ends = [0.0, *(b.value for b in bars), *(e for b in bars if b.interval for e in b.interval)]
    low, high = min(ends), max(ends)
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin
    left, width, line = 190, 520, 22
    bottom = line * len(bars) + 6

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - 70)

    parts = [f'<line class="dim" x1="{place(0):.1f}" y1="0" x2="{place(0):.1f}" y2="{bottom}"/>']
    parts += [_text(place(value), bottom + 14, text) for value, text in ticks(low, high, True)]
    parts.append(_text(place((low + high) / 2), bottom + 34, x_label, "middle", 'class="dim"'))
    for number, bar in enumerate(bars):
        y = line * number + 14
        style = "tuned" if bar.value >= 0 else "lost"
        label = bar.label if len(bar.label) <= _LETTERS else f"...{bar.label[3 - _LETTERS :]}"
        parts.append(_text(left - 8, y + 4, label, "end"))
        if bar.interval is not None:
            x0, x1 = (place(end) for end in bar.interval)
            parts.append(
                f'<line class="line {style}" x1="{x0:.1f}" y1="{y}" x2="{x1:.1f}" y2="{y}"/>'
            )
        parts.append(f'<circle class="{style}" cx="{place(bar.value):.1f}" cy="{y}" r="4"/>')
        parts.append(_text(width - 60, y + 4, f"{signed(bar.value)}", "start"))
    return _svg(width, bottom + 40, "differences with intervals", parts)


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    more = more and f" {more}"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )

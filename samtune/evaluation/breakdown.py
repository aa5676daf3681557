"""For which objects is it better? Rows by class, size, contrast and the columns of the manifest."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from samtune.data.source import SPACING_COLUMNS
from samtune.evaluation.rows import Row

# Columns with more values than this tell images apart rather than kinds of images; so do numbers.
_MOST_VALUES, _MOST_NUMBERS, _FEW_VALUES = 12, 5, 5
# Thirds of fewer objects than this would say nothing.
_LEAST_OBJECTS = 12
_NOT_KINDS = (
    "split", "id", "image", "file", "filename", "path", "width", "height",
    *SPACING_COLUMNS,
)  # fmt: skip

Parts = dict[str, list[Row]]


def divide(rows: list[Row]) -> dict[str, Parts]:
    """Divide the rows of one protocol in every way that gives two parts or more.

    Returns:
        `class`, `size` and `contrast` (thirds of the objects), and one for each column of the
        manifest with 2 to 12 values (numbers: to 5); each with its parts by name.
    """
    ways: dict[str, Parts] = {"class": _by(rows, lambda row: row.key.class_name or "(none)")}
    if len(rows) >= _LEAST_OBJECTS:
        ways["size"] = _thirds(rows, lambda row: row.area, "px", 0)
        ways["contrast"] = _thirds(rows, lambda row: row.contrast, "", 2)
    for column in sorted({name for row in rows for name, _ in row.columns}):
        if column.lower() not in _NOT_KINDS:
            parts = _by(rows, partial(_column, column))
            if _are_kinds(parts, rows):
                ways[column if column not in ways else f"column {column}"] = parts
    return {name: parts for name, parts in ways.items() if len(parts) > 1}


def _are_kinds(parts: Parts, rows: list[Row]) -> bool:
    """Few values; if they are more than five, each of two images (or groups) on average."""
    is_number = all(name.replace(".", "", 1).isdigit() for name in parts)
    most = max(_FEW_VALUES, len({row.cluster for row in rows}) // 2)
    return len(parts) <= min(most, _MOST_NUMBERS if is_number else _MOST_VALUES)


def _column(name: str, row: Row) -> str:
    return dict(row.columns).get(name, "(none)")


def _by(rows: list[Row], value_of: Callable[[Row], str]) -> Parts:
    parts: Parts = {}
    for row in rows:
        parts.setdefault(value_of(row), []).append(row)
    return dict(sorted(parts.items()))


def _thirds(rows: list[Row], value_of: Callable[[Row], float], unit: str, digits: int) -> Parts:
    """Thirds by a number, the smallest first; equal values stay together."""
    values = np.array([value_of(row) for row in rows])
    low, high = (float(edge) for edge in np.quantile(values, [1 / 3, 2 / 3]))

    def text(value: float) -> str:
        return f"{value:.{digits}f} {unit}".strip()

    names: Mapping[int, str] = {
        0: f"up to {text(low)}",
        1: f"{text(low)} to {text(high)}",
        2: f"over {text(high)}",
    }
    parts: Parts = {name: [] for name in names.values()}
    for row, value in zip(rows, values, strict=True):
        parts[names[int(value > low) + int(value > high)]].append(row)
    return {name: part for name, part in parts.items() if part}

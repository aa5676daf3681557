"""What tasks hand back: plain values, tables, and a face in notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from samtune.escaping import markdown_table
from samtune.wording import signed

Rows = list[dict[str, Any]]


class Result:
    """A result with tables; its text is what it says in a sentence."""

    @property
    def headline(self) -> str:
        """In a sentence."""
        raise NotImplementedError

    @property
    def tables(self) -> Mapping[str, Rows]:
        """By name; each a list of rows, the most important one first."""
        return {}

    def to_pandas(self, name: str = "") -> Any:
        """A table as a pandas data frame.

        Args:
            name: of the table; without it the first.

        Raises:
            UserError: pandas is not installed, or there is no such table.
        """
        from samtune.errors import UserError, require

        tables = self.tables
        if name and name not in tables:
            raise UserError(f"there is no table '{name}': choose from {', '.join(tables)}")
        pandas = require("pandas", "notebook")
        return pandas.DataFrame(tables[name] if name else next(iter(tables.values()), []))

    def __str__(self) -> str:
        return self.headline

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{escape(self.headline)}</b></p>"]
        for name, rows in self.tables.items():
            parts.append(f"<p>{escape(name)}</p>{_html_table(rows)}")
        return "\n".join(parts)


def _html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>nothing</p>"
    names, lines = cells(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines]
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Names and lines of a table as people read it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[shown(row.get(name), name) for name in names] for row in rows]


_P_VALUES = ("p (Holm)", "p (Wilcoxon)")
# Columns whose values are shown with their sign.
_SIGNED = (
    "difference", "difference to the best", "change", "change (general)", "95% interval", "95% of it",
)  # fmt: skip


def shown(value: Any, name: str = "") -> str:
    """A value of a table as people read it; differences with their sign."""
    if value is None:
        return "-"
    if isinstance(value, float):
        if name in _SIGNED:
            return signed(value)
        is_small = abs(value) < 5e-4 and value
        return f"{value:.2g}" if is_small or name in _P_VALUES else f"{value:.3f}"
    if isinstance(value, list | tuple) and len(value) != 2:  # two are an interval
        return ", ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    if isinstance(value, list | tuple):
        return " to ".join(shown(each, name) for each in value)
    return str(value)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    names, lines = cells(rows)
    return markdown_table(names, lines)

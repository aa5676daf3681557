"""Names from data in Markdown and CSV: they stay text, whatever they hold. HTML has `html.escape`."""

import re
from collections.abc import Iterable, Sequence

_MARKDOWN = re.compile(r"([\\`*\[\]<>|&])")
# What a spreadsheet takes for a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def markdown_text(text: str) -> str:
    """Text within a line of Markdown: no link, no tag, no emphasis, no end of a cell or line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    rows = [[markdown_text(cell) for cell in row] for row in (head, *lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(head), *rows[1:]))


def markdown_block(text: str) -> str:
    """Lines as they are, in a fence that nothing within them closes."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.strip()}\n{fence}"


def csv_text(text: str) -> str:
    """Text of a cell that people open in a spreadsheet: what would be a formula has a `'` before it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def text_of_csv(cell: str) -> str:
    """What `csv_text` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell

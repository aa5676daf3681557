"""`manifest.csv`: what a table beside the images says of each of them."""

import csv
import re
from pathlib import Path

from samtune.data.source import SPACING_COLUMNS, Record
from samtune.errors import UserError

# Columns whose names mean something to samtune.
_COLUMNS = ("split", "group", *SPACING_COLUMNS)


class Manifest:
    """Rows of `folder/manifest.csv`, by image, or else of another table; none without either.

    The first column names the images, with or without suffix. Columns that samtune knows (`split`,
    `group`, ...) are called so in whatever case they are written.

    Args:
        folder: where the file lies.
        otherwise: a table of a layout's own, whose columns semicolons may part.

    Raises:
        UserError: it is no CSV, or two rows say different things of one image.
    """

    def __init__(self, folder: Path, otherwise: Path | None = None) -> None:
        own = folder / "manifest.csv"
        self.rows = _read(own if own.exists() or otherwise is None else otherwise, own)

    def row(self, name: str, path: Path) -> dict[str, str]:
        """The row of an image by its name or that of its file; empty without one."""
        return self.rows.get(name) or self.rows.get(path.name) or {}

    def record(
        self,
        image_id: str,
        path: Path,
        split: str = "",
        *,
        name: str = "",
        group: str = "",
        columns: dict[str, str] | None = None,
    ) -> Record:
        """A record of an image with what its row says.

        Args:
            image_id: unique within the source.
            path: the image file.
            split: as the data says; where they say nothing the row may.
            name: what the row may be under, besides the file's name; its stem if empty.
            group: what must not be torn apart.
            columns: what is known without a row, and goes before it.
        """
        row = self.row(name or path.stem, path)
        both = tuple({**row, **(columns or {})}.items())
        return Record(image_id, path, split or row.get("split", ""), group, both)


def _read(file: Path, own: Path) -> dict[str, dict[str, str]]:
    """Rows by their first column; names of columns that samtune knows come out in small letters."""
    if not file.exists():
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            is_parted = file != own and ";" in lines.readline()
            lines.seek(0)
            reader = csv.DictReader(lines, delimiter=";" if is_parted else ",")
            names = [name.strip() for name in reader.fieldnames or ()]
            key = names[0] if names else ""
            if len(names) == 1 and re.search(r"[;\t|]", key):
                wanted = re.sub(r"[;\t|]", ",", key)
                raise UserError(
                    f"{file} has the one column '{key}': expected commas between them, '{wanted}'"
                )
            reader.fieldnames = [_known_name(name, names) for name in names]
            return _rows_by_image(reader, reader.fieldnames[0], file) if names else {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as CSV: {error}") from error


def _known_name(name: str, names: list[str]) -> str:
    small = name.lower()
    return small if small in _COLUMNS and small not in names else name


def _rows_by_image(
    reader: "csv.DictReader[str]", key: str, file: Path
) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    lines: dict[str, int] = {}
    for row in reader:
        image, content = row[key], {name: value or "" for name, value in row.items() if name}
        if rows.setdefault(image, content) != content:
            before, column = rows[image], next(n for n in content if rows[image][n] != content[n])
            raise UserError(
                f"{file} names {image!r} twice, with another {column}: {before[column]!r} in line "
                f"{lines[image]}, {content[column]!r} in line {reader.line_num}; leave one of them out"
            )
        lines.setdefault(image, reader.line_num)
    return rows

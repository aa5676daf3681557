"""Attribute tables of rasters: which of their columns holds values, and which the names of these.

GDAL says what a column is for (its usage); where nothing does, as in ArcGIS's tables, its name tells.
Formats: https://gdal.org/en/stable/doxygen/gdal_8h.html (GDALRATFieldUsage),
https://www.clicketyclick.dk/databases/xbase/format/dbf.html
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from samtune.errors import UserError

# GDAL's numbers for what a column of a table is
_IS_NAME, _IS_LEAST, _IS_MOST, _IS_VALUE = "2", "3", "4", "5"
_TEXT = "2"  # its number for a column of texts
# What columns are called, in small letters without signs, where nothing says what they are
_VALUES = ("value", "pixelvalue")
_NAMES = (
    "classname", "classnames", "class", "name", "category", "label", "landcover", "type",
    "description",
)  # fmt: skip
_DBF_HEAD, _DBF_FIELD = 32, 32


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as it is called.
        usage: GDAL's number for what it is for; empty where nothing says it.
        is_text: whether its cells are texts and no numbers.
        cells: of each row.
    """

    name: str
    usage: str
    is_text: bool
    cells: list[str]

    @property
    def key(self) -> str:
        return "".join(letter for letter in self.name.lower() if letter.isalnum())


def read_gdal_table(table: Element) -> list[Column]:
    """Columns of a `GDALRasterAttributeTable`."""
    rows = [[cell.text or "" for cell in row.iterfind("F")] for row in table.iterfind("Row")]
    fields = list(table.iterfind("FieldDefn"))
    return [
        Column(
            about.findtext("Name") or "", about.findtext("Usage") or "",
            about.findtext("Type") == _TEXT, [row[n] if n < len(row) else "" for row in rows],
        )
        for n, about in enumerate(fields)
    ]  # fmt: skip


def names_of_values(
    columns: list[Column], about: dict[str, str], file: Path, wanted: str
) -> tuple[dict[int, str], str]:
    """The names that a table gives to values.

    Args:
        columns: of the table.
        about: its attributes: values may follow each other from `Row0Min` in steps of `BinSize`.
        file: that it stands in.
        wanted: the column of names; empty finds it.

    Returns:
        Names by value; and why there are none, empty where the table is not about names.

    Raises:
        UserError: the table lacks the column, or gives a value two names.
    """
    texts = [each for each in columns if each.is_text]
    if not texts:  # a histogram, or colours
        return {}, ""
    named = [each for each in columns if each.name == wanted] if wanted else _naming(texts)
    if not named:
        listed = ", ".join(each.name for each in (columns if wanted else texts))
        if wanted:
            raise UserError(f"data.class_column is {wanted}, but the table of {file} has: {listed}")
        return {}, f"which of the columns {listed} names classes? Set data.class_column"
    values = _values_of(columns, about, len(named[0].cells))
    if values is None:
        return {}, "its table has names, but no column holds the values that they are of"
    rows = zip(values, named[0].cells, strict=True)
    pairs = [(value, name) for value, name in rows if value is not None]
    names = without_numbers(pairs)
    for value, name in without_numbers(reversed(pairs)).items():
        if name != names[value]:
            raise UserError(f"{file} gives the value {value} two names: '{names[value]}', '{name}'")
    return names, ""


def _naming(texts: list[Column]) -> list[Column]:
    """The column of texts that holds the names, if one can be told."""
    said = [each for each in texts if each.usage == _IS_NAME]
    called = [each for key in _NAMES for each in texts if each.key == key]
    return said or called or (texts if len(texts) == 1 else [])


def _values_of(
    columns: list[Column], about: dict[str, str], number: int
) -> list[int | None] | None:
    """The value of each row, `None` for a range or a fraction; `None` where nothing says it."""
    by_usage = {each.usage: each.cells for each in reversed(columns) if each.usage}
    called = [each.cells for key in _VALUES for each in columns if each.key == key]
    if cells := by_usage.get(_IS_VALUE) or next(iter(called), None):
        return [_whole(cell) for cell in cells]
    if _IS_LEAST in by_usage and _IS_MOST in by_usage:
        pairs = zip(by_usage[_IS_LEAST], by_usage[_IS_MOST], strict=True)
        return [_whole(low) if _whole(low) == _whole(high) else None for low, high in pairs]
    small = {name.lower(): value for name, value in about.items()}
    first, step = _whole(small.get("row0min", "")), _whole(small.get("binsize", ""))
    return None if first is None or step != 1 else [first + row for row in range(number)]


def _whole(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def without_numbers(pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    """The first name of each value; none that is empty, or the value itself."""
    found: dict[int, str] = {}
    for value, name in pairs:
        if (shown := " ".join(name.split())) and shown != str(value):
            found.setdefault(value, shown)
    return found


def read_dbf(file: Path) -> list[Column]:
    """Columns of a dBASE table.

    Raises:
        UserError: it is damaged.
    """
    try:
        content = file.read_bytes()
        number, start, length = struct.unpack_from("<IHH", content, 4)
        if not length or start + number * length > len(content):
            raise ValueError("it ends within its rows")
        starts = range(start, start + number * length, length)
        rows = [content[first : first + length] for first in starts]
        columns, place = [], 1  # a row begins with whether it was deleted
        for head in range(_DBF_HEAD, start - 1, _DBF_FIELD):
            if content[head] == 0x0D:  # the end of the fields
                break
            name, kind, width = struct.unpack_from("<11sc4xB", content, head)
            cells = [_text(row[place : place + width]) for row in rows if row[:1] != b"*"]
            columns.append(Column(_text(name.split(b"\0")[0]), "", kind == b"C", cells))
            place += width
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise UserError(f"{file} cannot be read as a table of dBASE: {error}") from error
    return columns


def _text(content: bytes) -> str:
    try:
        return content.decode().strip("\0 ")
    except UnicodeDecodeError:
        return content.decode("latin-1").strip("\0 ")

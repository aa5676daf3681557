"""Names that a file of labels brings for its values, as GDAL, QGIS and ArcGIS write them.

a.tif.aux.xml     CategoryNames (the first is that of 0), or GDALRasterAttributeTable, of band 1
a.tif             the same table in the tag GDAL_METADATA
a.vrt             the same of VRTRasterBand
a.tif.vat.dbf     ArcGIS's table: VALUE, COUNT and what else there is

In a table the column of values and that of names are told by their usage, or else by what they are
called (`attribute_table.py`); `data.class_column` names another one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from samtune.data.attribute_table import (
    names_of_values,
    read_dbf,
    read_gdal_table,
    without_numbers,
)
from samtune.data.settings import SourceSettings
from samtune.errors import UserError
from samtune.files import is_file
from samtune.images.tiff import gdal_metadata
from samtune.parsing import parse_xml, read_xml
from samtune.wording import counted

_PAM, _VAT = ".aux.xml", ".vat.dbf"
_SHOWN = 12


@dataclass(frozen=True)
class ValueNames:
    """What one file says.

    Attributes:
        file: where the names stand.
        names: by value; a name that is the value itself is none.
        trouble: why a table gives none; empty without one.
    """

    file: Path
    names: dict[int, str] = field(default_factory=dict)
    trouble: str = ""


def read_value_names(file: Path, column: str = "") -> ValueNames:
    """The names that a file of labels brings for its values; none for most.

    Args:
        file: the labels.
        column: of a table that holds the names, where the file does not say it or another is meant.

    Raises:
        UserError: a file of names is damaged, gives a value two names, or lacks the column.
    """
    found = [each for each in _sources(file, column) if each.names or each.trouble]
    named = [each for each in found if each.names]
    for other in named[1:]:
        for value in sorted(named[0].names.keys() & other.names.keys()):
            _require_same(value, named[0], other)
    if not named:
        return found[0] if found else ValueNames(file)
    names = {v: name for each in reversed(named) for v, name in each.names.items()}
    return ValueNames(named[0].file, names)


def _require_same(value: int, one: ValueNames, other: ValueNames) -> None:
    if one.names[value] != other.names[value]:
        raise UserError(
            f"{one.file} calls the value {value} '{one.names[value]}', but {other.file} "
            f"'{other.names[value]}': correct or delete one of them"
        )


def _sources(file: Path, column: str) -> Iterator[ValueNames]:
    """What each place says that names may stand in."""
    if is_file(beside := file.with_name(file.name + _PAM)):
        yield from _names_in(read_xml(beside), beside, column)
    if file.suffix.lower() == ".vrt":
        yield from _names_in(read_xml(file), file, column)
    elif text := gdal_metadata(file):
        try:
            yield from _names_in(parse_xml(text), file, column)
        except ValueError as error:
            raise UserError(f"{file} has a damaged tag GDAL_METADATA: {error}") from error
    if is_file(beside := file.with_name(file.name + _VAT)):
        yield ValueNames(beside, *names_of_values(read_dbf(beside), {}, beside, column))


def _names_in(root: Element, file: Path, column: str) -> Iterator[ValueNames]:
    """Category names and tables of the first band."""
    bands = [band for band in root if band.tag.endswith("RasterBand")]
    parts = [band for band in bands if band.get("band", "1") == "1"][:1]
    parts += [item for item in root if item.get("role") == "rat" and item.get("sample", "0") == "0"]
    for part in parts:
        names = [each.text or "" for each in part.iterfind("CategoryNames/Category")]
        yield ValueNames(file, without_numbers(enumerate(names)))
        for table in part.iterfind("GDALRasterAttributeTable"):
            columns = read_gdal_table(table)
            yield ValueNames(file, *names_of_values(columns, dict(table.attrib), file, column))


def mean_classes(found: Iterable[ValueNames], settings: SourceSettings) -> bool:
    """Whether values are classes because they have names, where no setting says what they are."""
    return settings.labels == "auto" and any(each.names for each in found)


def name_notes(found: Iterable[ValueNames], settings: SourceSettings) -> list[str]:
    """What a user should know of the names that files bring: which, and where something else was said.

    Args:
        found: of all files of labels.
        settings: how these are read.
    """
    files: dict[tuple[tuple[int, str], ...], list[Path]] = {}
    troubles: dict[str, list[Path]] = {}
    for each in found:
        if each.names:
            files.setdefault(tuple(sorted(each.names.items())), []).append(each.file)
        elif each.trouble:
            troubles.setdefault(each.trouble, []).append(each.file)
    notes = [f"{_and_more(where)}: {why}" for why, where in troubles.items()]
    for pairs, where in files.items():
        notes += _told(dict(pairs), _and_more(where), settings)
    return notes + list(_apart(files))


def _told(names: dict[int, str], where: str, settings: SourceSettings) -> Iterator[str]:
    if settings.labels in ("instances", "binary"):
        yield (
            f"{where} names values ({_listed(names)}), which is not used: data.labels is "
            f"{settings.labels}"
        )
        return
    zero = f"; 0, '{names[0]}', is background" if 0 in names else ""
    yield f"{where} names the values, which are classes: {_listed(names)}{zero}"
    for value, given in settings.class_names:
        if names.get(value, given) != given:
            yield (
                f"{where} calls the value {value} '{names[value]}', but data.class_names '{given}', "
                "which is taken"
            )


def _apart(files: dict[tuple[tuple[int, str], ...], list[Path]]) -> Iterator[str]:
    """Values that files call differently: right where each image has its own legend, else a mistake."""
    first: dict[int, tuple[str, Path]] = {}
    for pairs, where in files.items():
        for value, name in pairs:
            other, file = first.setdefault(value, (name, where[0]))
            if other != name:
                yield (
                    f"the value {value} is '{other}' in {file} and '{name}' in {where[0]}: each image "
                    "has the names of its own file (data.class_names gives one to all)"
                )
                return


def _listed(names: dict[int, str]) -> str:
    shown = [f"{value} {name}" for value, name in sorted(names.items()) if value]
    more = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {counted(more, 'more value')}" if more > 0 else "")


def _and_more(files: list[Path]) -> str:
    return f"{files[0]}" + (f" (and {len(files) - 1} more)" if len(files) > 1 else "")

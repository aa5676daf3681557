"""JSON, YAML, XML, CSV and lines as plain values: bounded, never code; damage is one line."""

import csv
import json
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

import yaml

from samtune.errors import UserError, first_line

# Values that a YAML file may stand for, aliases written out
_MOST_NODES = 1_000_000


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        UserError: the file is missing or not JSON; the message has line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error


def read_yaml(path: Path) -> Any:
    """Parse a YAML file, with plain values only.

    Raises:
        UserError: the file is missing or not YAML; the message has line and column.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise UserError(f"{path} cannot be read as YAML: {problem}{place}") from error


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text; aliases that stand for too much, or for themselves, are refused.

    A few lines of aliases of aliases would otherwise fill the memory of whoever walks through them.

    Raises:
        yaml.YAMLError: it is not YAML, or too much.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size_of(node, {}) > _MOST_NODES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_NODES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size_of(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for, aliases written out."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise yaml.YAMLError("an alias stands for what it lies in")
        return size
    known[id(node)] = None
    parts = [each for pair in node.value for each in (pair if isinstance(pair, tuple) else (pair,))]
    size = 1 + sum(_size_of(part, known) for part in parts)
    known[id(node)] = size
    return size


class _WithoutTypes(Xml.TreeBuilder):
    """Refuses document types, through which a small file can grow without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which no file of labels does")


def parse_xml(text: str) -> Xml.Element:
    """Parse a text as XML, without document types.

    Raises:
        ValueError: it is none.
    """
    try:
        parser = Xml.XMLParser(target=_WithoutTypes())  # noqa: S314
        return Xml.fromstring(text, parser)  # noqa: S314
    except (Xml.ParseError, LookupError) as error:
        raise ValueError(str(error)) from error


def read_xml(path: Path) -> Xml.Element:
    """Parse an XML file, without document types.

    Raises:
        UserError: the file is missing or not XML.
    """
    try:
        with path.open("rb") as content:
            parser = Xml.XMLParser(target=_WithoutTypes())  # noqa: S314
            root: Xml.Element = Xml.parse(content, parser).getroot()  # noqa: S314
    except FileNotFoundError:
        raise UserError(f"there is no {path}") from None
    except (OSError, Xml.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} cannot be read as XML: {error}") from error
    return root


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that hold more than white space, stripped.

    Raises:
        UserError: the file is missing or no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a table that samtune wrote, cells by column.

    Raises:
        UserError: the file is missing, no text, or has rows of another length than its head.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table: {first_line(error)}") from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise UserError(f"{path} is damaged: row {number} is of another length than its head")
    return rows

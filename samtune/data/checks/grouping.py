"""What ties images together, so that none of a patient, slide or video lies in two splits."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from samtune.data.checks.findings import Level
from samtune.data.source import SPACING_COLUMNS, Record, Source

# Columns by which images usually belong together, the strongest tie first.
_COLUMNS = (
    "patient", "subject", "case", "group", "video", "sequence", "slide", "scene", "site", "city",
)  # fmt: skip
# Of these, named splits may share the values: then they are kinds, such as a stain or a clinic
_KINDS = {"group", "site", "city"}


@dataclass(frozen=True)
class Grouping:
    """What seems to tie images together.

    Attributes:
        column: of the manifest; empty for none.
        num_groups: how many values it has.
        regex: of image ids; empty for none.
        is_grouped: images are tied together without a setting.
        is_split: the data name splits themselves.
    """

    column: str = ""
    num_groups: int = 0
    regex: str = ""
    is_grouped: bool = False
    is_split: bool = False


def find_grouping(sources: Mapping[str, Source]) -> Grouping:
    """Of the images of all splits; those that an evaluation is of say whether they are tied."""
    records = [record for source in sources.values() for record in source.records]
    evaluated = sources.get("test") or max(sources.values(), key=len)
    column = _find_column(records)
    return Grouping(
        column,
        len({dict(record.columns).get(column) for record in records}),
        find_group_regex([record.image_id for record in records]),
        any(_is_tied(record, evaluated.is_part) for record in evaluated.records),
        any(record.split for record in records),
    )


def manifest_columns(records: Sequence[Record]) -> tuple[str, ...]:
    """Names of the manifest's columns, but for those with a meaning of their own."""
    columns = dict.fromkeys(name for record in records for name, _ in record.columns)
    return tuple(c for c in columns if c not in (*SPACING_COLUMNS, "id", "split"))


def find_untied(sources: Mapping[str, Source]) -> Iterator[tuple[Level, str]]:
    """A column that says which images belong together, where no setting names it."""
    if not any(map(len, sources.values())):
        return
    found = find_grouping(sources)
    num_images = sum(map(len, sources.values()))
    if not found.column or found.is_grouped or found.num_groups == num_images:
        return
    torn = _torn(sources, found.column)
    if torn and found.is_split and found.column.lower() in _KINDS:
        return
    risk = "images that share one are counted as independent"
    if torn:
        risk = f"{len(torn)} of them, such as {torn[0]}, lie in two splits"
    yield (
        "warning",
        f"the column '{found.column}' ({found.num_groups} values) can say which images belong "
        f"together, and no setting names it: {risk}; set data.group_column {found.column}",
    )


def _torn(sources: Mapping[str, Source], column: str) -> list[str]:
    """Values of a column that several splits have."""
    splits: dict[str, set[str]] = {}
    for split, source in sources.items():
        for record in source.records:
            splits.setdefault(dict(record.columns)[column], set()).add(split)
    return sorted(value for value, where in splits.items() if len(where) > 1)


def _find_column(records: Sequence[Record]) -> str:
    """The manifest's column of the strongest tie that all images have; empty without one."""
    by_word = {name.lower(): name for name in reversed(manifest_columns(records))}
    rows = [dict(record.columns) for record in records]
    named = [by_word[word] for word in _COLUMNS if word in by_word]
    is_told = (name for name in named if all(name in row for row in rows))
    return next((name for name in is_told if len({row[name] for row in rows}) > 1), "")


def _is_tied(record: Record, is_part: bool) -> bool:
    """Whether data say what an image belongs to; that a slice is of its volume says nothing yet."""
    if is_part:
        return record.group == dict(record.columns).get("group")
    return record.group not in ("", record.image_id)


def find_group_regex(names: Sequence[str]) -> str:
    """A pattern that ties names like `p1_03` and `p1_07` together; empty if none does.

    Names must fall into several groups, of several images each, all by one number at their end.
    """
    pattern = r"^(.*?)[_\-. ]+[a-zA-Z]*\d+$"
    matches = [re.match(pattern, name) for name in names]
    groups = {match[1] for match in matches if match and match[1]}
    is_everywhere = bool(matches) and all(match and match[1] for match in matches)
    return pattern if is_everywhere and 2 <= len(groups) <= len(names) / 2 else ""

"""Which images belong together: what the settings, the data, names of files and the ground say."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from samtune.data.geo.ties import tied_by_ground
from samtune.data.settings import SplitSettings
from samtune.data.source import Record
from samtune.errors import UserError

# Roboflow's names of augmented copies: those of cat.jpg are cat_jpg.rf.HASH.jpg
_COPY = re.compile(r"(.+)\.rf\.\w{8,}(?:\.\w+)?")
# Of which splits can be drawn
_LEAST_GROUPS = 3


def value_in(record: Record, column: str) -> str | None:
    """A record's value in a column, whose name may differ in small letters and capitals."""
    columns = dict(record.columns)
    its = (value for name, value in columns.items() if name.lower() == column.lower())
    return columns.get(column) if column in columns else next(its, None)


def pool_of(named: list[str]) -> str | None:
    """The name of what missing splits are drawn from; `None` where nothing is drawn."""
    if "train" not in named:
        return ""
    return None if "val" in named else "train"


def find_groups(
    records: Sequence[Record], named: list[str], settings: SplitSettings
) -> tuple[list[str], list[str]]:
    """The group of each image, from the settings, the manifest's column `group` or the reader.

    Splits that the data names may share the values of that column: then these are kinds (a stain, a
    site) and tie nothing together, except in what is drawn. Where no setting says what belongs
    together, images that show the same ground do.

    Args:
        records: of all images.
        named: the split of each; empty where the data name none.
        settings: a column, or a pattern of names.

    Returns:
        The groups, and what is to be told of them.
    """
    values = [value_in(record, "group") or "" for record in records]
    records = _with_copies(records)
    places: dict[str, set[str]] = {value: set() for value in values}
    pool = pool_of(named)
    for value, split in zip(values, named, strict=True):
        if value and (split or not pool):
            places[value].add(split)
    is_torn = any(len(splits) > 1 for splits in places.values())
    groups = [
        _group(record, settings, "" if is_torn and split != pool else value)
        for record, value, split in zip(records, values, named, strict=True)
    ]
    if settings.group_column or settings.group_regex:
        return groups, []
    return _with_ground(groups, [record.path for record in records])


def _with_ground(groups: list[str], paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Groups, those in one whose images show the same ground, as long as some are left to be apart."""
    grounds = tied_by_ground(paths)
    num_tied = sum(count for count in Counter(grounds).values() if count > 1)
    joined = _joined(groups, grounds)
    if not num_tied or len(set(joined)) == len(set(groups)):
        return groups, []
    told = f"{num_tied} of {len(paths)} images show ground that others show too"
    if len(set(joined)) < min(_LEAST_GROUPS, len(set(groups))):
        return groups, [
            f"{told}, and nearly all hang together by it: neighbours lie in different splits, so that "
            "results look better than they are; leave out those in between, or name what belongs "
            "together (data.group_column)"
        ]
    return joined, [f"{told}: those that do are a group, which belongs in one split"]


def _joined(groups: Sequence[str], grounds: Sequence[int]) -> list[str]:
    """Groups that share a ground become one, which has the name of the first."""
    root = {name: name for name in groups}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    first: dict[int, str] = {}
    for name, ground in zip(groups, grounds, strict=True):
        one, other = find(first.setdefault(ground, name)), find(name)
        root[other] = one
    return [find(name) for name in groups]


def _with_copies(records: Sequence[Record]) -> Sequence[Record]:
    """Records, those of augmented copies of one picture in one group, as their names tell it."""
    names = [_COPY.fullmatch(record.image_id.rpartition("/")[2]) for record in records]
    times = Counter(name[1] for name in names if name)
    return [
        replace(record, group=name[1])
        if name and times[name[1]] > 1 and not record.group else record
        for record, name in zip(records, names, strict=True)
    ]  # fmt: skip


def _group(record: Record, settings: SplitSettings, named: str) -> str:
    if settings.group_column:
        value = value_in(record, settings.group_column)
        if value is None:
            columns = [name for name, _ in record.columns]
            raise UserError(
                f"there is no manifest column '{settings.group_column}' for {record.image_id}: "
                f"found {', '.join(columns) or 'no manifest.csv'}"
            )
        return value
    if settings.group_regex:
        try:
            match = re.search(settings.group_regex, record.image_id)
        except re.error as error:
            raise UserError(
                f"group_regex {settings.group_regex} is no regular expression: {error}"
            ) from error
        if match is None:
            raise UserError(
                f"group_regex {settings.group_regex} does not match the image {record.image_id}"
            )
        return match[1] if match.groups() else match[0]
    # a row is about a whole volume or scene: what it says ties more together than the reader does
    return named or record.group or record.image_id

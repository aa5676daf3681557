"""Train, validation and test: as the data says, or drawn so that no group is torn apart."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from samtune.data.source import Record, Source, Subset
from samtune.errors import UserError
from samtune.files import read_lines
from samtune.prompts.seeding import object_rng

SPLITS = ("train", "val", "test")
SYNONYMS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


@dataclass(frozen=True)
class SplitSettings:
    """How images are divided.

    Attributes:
        column: manifest column that names each image's split.
        folder: folder with `train.txt`, `val.txt`, `test.txt`, one image id a line; `None` without.
        group_column: manifest column whose values must not lie in two splits (patient, slide);
            without it the column `group`, unless the splits that the data names share its values.
        group_regex: the part of an image id that names its group, such as `^(.*)_\\d+$`.
        val_fraction, test_fraction: shares that are drawn where the data names no such split.
        seed: of the drawing.
    """

    column: str = "split"
    folder: Path | None = None
    group_column: str = ""
    group_regex: str = ""
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    seed: int = 0


def split_in(name: str) -> str:
    """The split that a file's or folder's name mentions; empty without one."""
    words = name.lower().replace("-", "_").replace("2017", "").replace("2014", "").split("_")
    words[-1] = SYNONYMS.get(words[-1], words[-1])  # Roboflow's folder `valid`
    return next((word for word in words if word in SPLITS), "")


def split_source(source: Source, settings: SplitSettings) -> dict[str, Source]:
    """Divide a source; what the data says is kept, and missing splits are drawn by group.

    Without any named split, `train`, `val` and `test` are drawn. With `train` and `test` named but
    no `val`, it is drawn from `train`: validating on training images would hide overfitting. With
    `test` alone, the others are drawn from what has no name.

    A split that comes out empty is an empty source.

    Raises:
        UserError: a column is unknown, or a list names no image or an image twice.
    """
    named = [_named_split(record, settings) for record in source.records]
    if settings.folder is not None:
        named = _splits_from_lists(source, settings.folder)
    elif settings.column != "split":
        _require_column(source, settings.column)
    groups = _groups(source, named, settings)
    splits = fill_splits(named, groups, settings)
    return {
        name: Subset(source, [index for index, split in enumerate(splits) if split == name], groups)
        for name in SPLITS
    }


def fill_splits(named: list[str], groups: list[str], settings: SplitSettings) -> list[str]:
    """Draw what has no split, by group; `split_source` says what is drawn from what.

    Args:
        named: a split or an empty string for each image.
        groups: the group of each image.
        settings: shares and seed of the drawing.

    Returns:
        The split of each image.
    """
    splits = dict(enumerate(named))
    pool = _pool(named)
    if not any(named):
        _draw(splits, groups, "", "test", settings.test_fraction, settings.seed)
    if pool is not None:
        _draw(splits, groups, pool, "val", settings.val_fraction, settings.seed)
    return [split or ("train" if pool == "" else "") for split in splits.values()]


def _pool(named: list[str]) -> str | None:
    """The name of what missing splits are drawn from; `None` where nothing is drawn."""
    if "train" not in named:
        return ""
    return None if "val" in named else "train"


def with_groups(source: Source, settings: SplitSettings) -> Source:
    """A source that is a split already, its images grouped as the settings say."""
    groups = _groups(source, [record.split for record in source.records], settings)
    return Subset(source, list(range(len(source))), groups)


def _require_column(source: Source, column: str) -> None:
    columns = [dict(record.columns) for record in source.records]
    if not any(column in row for row in columns):
        found = ", ".join(columns[0]) if columns and columns[0] else "no manifest.csv"
        raise UserError(f"there is no manifest column '{column}' that names splits: found {found}")


def _named_split(record: Record, settings: SplitSettings) -> str:
    value = dict(record.columns).get(settings.column, record.split).strip().lower()
    return SYNONYMS.get(value, value)


def _splits_from_lists(source: Source, folder: Path) -> list[str]:
    chosen: dict[str, str] = {}
    for name in SPLITS:
        file = folder / f"{name}.txt"
        if file.exists():
            listed = read_lines(file)
            if twice := sorted(chosen.keys() & set(listed)):
                raise UserError(f"{twice[0]} stands in two lists of {folder}")
            chosen |= dict.fromkeys(listed, name)
    ids = {name for record in source.records for name in (record.image_id, record.path.name)}
    unknown = sorted(chosen.keys() - ids)
    if not chosen or unknown:
        found = f"names {unknown[0]}, which is no image id" if unknown else "has no *.txt lists"
        raise UserError(f"{folder} {found}; expected train.txt, val.txt, test.txt with image ids")
    return [chosen.get(r.image_id, chosen.get(r.path.name, "")) for r in source.records]


def _groups(source: Source, named: list[str], settings: SplitSettings) -> list[str]:
    """The group of each image, from the settings, the reader or the manifest's column `group`.

    Splits that the data names may share the values of that column: then these are kinds (a stain, a
    site) and tie nothing together, except in what is drawn.
    """
    values = [dict(record.columns).get("group", "") for record in source.records]
    places: dict[str, set[str]] = {value: set() for value in values}
    pool = _pool(named)
    for value, split in zip(values, named, strict=True):
        if value and split in (pool, *SPLITS):
            places[value].add(split)
    is_torn = any(len(splits) > 1 for splits in places.values())
    return [
        _group(record, settings, "" if is_torn and split != pool else value)
        for record, value, split in zip(source.records, values, named, strict=True)
    ]


def _group(record: Record, settings: SplitSettings, usual: str) -> str:
    if settings.group_column:
        columns = dict(record.columns)
        if settings.group_column not in columns:
            raise UserError(
                f"there is no manifest column '{settings.group_column}' for {record.image_id}: "
                f"found {', '.join(columns) or 'no manifest.csv'}"
            )
        return columns[settings.group_column]
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
    return record.group or usual or record.image_id


def _draw(
    splits: dict[int, str], groups: list[str], source: str, target: str, share: float, seed: int
) -> None:
    """Move whole groups from `source` to `target` until it holds `share` of all images."""
    members = [index for index, split in splits.items() if split == source]
    names = sorted({groups[index] for index in members})
    wanted = share * len(splits)
    if share <= 0 or len(names) < 2:
        return
    sizes = Counter(groups[index] for index in members)
    order = [names[i] for i in object_rng(seed, "split", target).permutation(len(names))]
    moved = 0
    chosen: set[str] = set()
    for name in order:
        # a group that would overshoot by far is left for the others to be drawn from
        if (
            moved < wanted
            and moved + sizes[name] <= 1.5 * wanted + 1
            and len(chosen) < len(names) - 1
        ):
            chosen.add(name)
            moved += sizes[name]
    chosen = chosen or {min(order, key=sizes.__getitem__)}
    for index in members:
        if groups[index] in chosen:
            splits[index] = target

"""Train, validation and test: as the data says, or drawn so that no group is torn apart."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from samtune.data.groups import find_groups, pool_of, value_in
from samtune.data.settings import SplitSettings
from samtune.data.source import Joined, Source, Subset
from samtune.errors import UserError
from samtune.files import files_ending
from samtune.parsing import read_lines
from samtune.prompts.seeding import object_rng

SPLITS = ("train", "val", "test")
_WORDS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "ts"),
}
_BY_WORD = {word: split for split, words in _WORDS.items() for word in words}


def split_called(word: str) -> str:
    """The split that goes by this word (`val`, `Valid`, `dev`); empty if none does."""
    return _BY_WORD.get(word.strip().lower(), "")


def words_for(split: str) -> tuple[str, ...]:
    """The words that a split goes by, its own first; none for an empty name."""
    return _WORDS.get(split, ())


def splits_in(names: Iterable[str]) -> dict[str, str]:
    """The split that each name of a file or folder mentions; those that mention none are left out.

    It is the first or the last word, or `train`, `val` or `test` anywhere; numbers behind it are
    passed over (`train2017`, `validation-00000-of-00005`). A name that goes on in words, such as
    `training_data`, may be that of all the data: it mentions a split only where others beside it
    mention another one.

    Args:
        names: without suffix, of all that lie beside each other.
    """
    words = {name: _words_of(name) for name in names}
    found = {name: split for name, its in words.items() if (split := _split_among(its))}
    if len(set(found.values())) > 1:
        return found
    return {name: split for name, split in found.items() if split_called(words[name][-1])}


def _words_of(name: str) -> list[str]:
    parts = re.split(r"[\W_]+", re.sub(r"-\d+-of-\d+$", "", name.lower()))
    return [word for part in parts if (word := part.rstrip("0123456789"))]


def _split_among(words: list[str]) -> str:
    known = {word for word in words if word in SPLITS} | {*words[:1], *words[-1:]}
    found = {_BY_WORD[word] for word in known if word in _BY_WORD}
    return found.pop() if len(found) == 1 else ""


def split_folders(folder: Path) -> dict[Path, str]:
    """Folders inside one whose names mention a split: those of train first, then val, then test."""
    if not folder.is_dir():
        return {}
    # only what is named so is looked at: there may be a million files beside
    named = [entry for entry in folder.iterdir() if _split_among(_words_of(entry.name))]
    splits = splits_in(sorted(entry.name for entry in named if entry.is_dir()))
    in_order = sorted(splits.items(), key=lambda pair: SPLITS.index(pair[1]))
    return {folder / name: split for name, split in in_order}


def file_splits(path: Path, files: list[Path]) -> list[str]:
    """The split of each file below `path`, by its own name or else by that of its folder."""
    own = splits_in(file.stem for file in files)
    folders = split_folders(path)
    return [own.get(file.stem) or folders.get(file.parent, "") for file in files]


def split_source(source: Source, settings: SplitSettings) -> dict[str, Source]:
    """Divide a source; what the data says is kept, and missing splits are drawn by group.

    Without any named split, `train`, `val` and `test` are drawn. With `train` and `test` named but
    no `val`, it is drawn from `train`: validating on training images would hide overfitting. With
    `test` alone, the others are drawn from what has no name. Of two groups alone, none is for testing.

    A split that comes out empty is an empty source.

    Raises:
        UserError: a column or a split in it is unknown, or a list names no image or an image twice.
    """
    if settings.folder is not None:
        named = _splits_from_lists(source, settings.folder)
    else:
        named = _named_splits(source, settings)
    groups, notes = find_groups(source.records, named, settings)
    splits = fill_splits(named, groups, settings)
    if settings.folder is None:
        notes += _left_out(source, splits, settings)
    places = {name: [i for i, split in enumerate(splits) if split == name] for name in SPLITS}
    return {name: Subset(source, indices, groups, notes) for name, indices in places.items()}


def _left_out(source: Source, splits: list[str], settings: SplitSettings) -> list[str]:
    """What is to be told of images without a split beside those that have one."""
    names = [r.image_id for r, split in zip(source.records, splits, strict=True) if not split]
    if not names:
        return []
    return [
        f"{len(names)} of {len(splits)} images are in no split and are left out, such as {names[0]}: "
        f"name theirs in the manifest's column '{settings.column}'"
    ]


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
    pool = pool_of(named)
    is_for_validation = len(set(groups)) == 2 and settings.val_fraction > 0  # fit needs it, no test
    if not any(named) and not is_for_validation:
        _draw(splits, groups, "", "test", settings.test_fraction, settings.seed)
    if pool is not None:
        _draw(splits, groups, pool, "val", settings.val_fraction, settings.seed)
    return [split or ("train" if pool == "" else "") for split in splits.values()]


def with_groups(sources: Mapping[str, Source], settings: SplitSettings) -> dict[str, Source]:
    """Sources that are the splits already, their images grouped as the settings say."""
    records = [record for source in sources.values() for record in source.records]
    found, notes = find_groups(records, [record.split for record in records], settings)
    groups = iter(found)
    return {
        name: Subset(source, list(range(len(source))), list(islice(groups, len(source))), notes)
        for name, source in sources.items()
    }


@dataclass(frozen=True)
class Division:
    """Sources divided as they were before, and what has changed since.

    Attributes:
        sources: by split, those of the images that are still there.
        added: images that were in no split; they are left out.
        missing: images of each split that are gone.
    """

    sources: dict[str, Source]
    added: list[str]
    missing: dict[str, list[str]]


def divide_as_before(
    sources: Mapping[str, Source], before: Mapping[str, Sequence[str]]
) -> Division:
    """Put every image into the split that it was in, whatever the data or a drawing say now.

    Args:
        sources: by split, as they are found now.
        before: image ids by split.

    Raises:
        UserError: an id is there several times, so that it cannot be told which was meant.
    """
    now = {name: [record.image_id for record in source.records] for name, source in sources.items()}
    if all(now.get(name, []) == list(before.get(name, [])) for name in now.keys() | before.keys()):
        return Division(dict(sources), [], {})
    whole = Joined(list(sources.values()))
    places = {record.image_id: place for place, record in enumerate(whole.records)}
    if len(places) < len(whole):
        raise UserError(
            "the splits of the data have changed since the run began, and several images have the same "
            "name, so that it cannot be told which was in which split: put the data back"
        )
    found = {name: [places[i] for i in ids if i in places] for name, ids in before.items()}
    known = {image_id for ids in before.values() for image_id in ids}
    missing = {name: [i for i in ids if i not in places] for name, ids in before.items()}
    return Division(
        {name: Subset(whole, indices) for name, indices in found.items()},
        [image_id for image_id in places if image_id not in known],
        {name: ids for name, ids in missing.items() if ids},
    )


def _named_splits(source: Source, settings: SplitSettings) -> list[str]:
    """The split of each image, as its column or else its folder says; empty where neither does."""
    values = [value_in(record, settings.column) for record in source.records]
    if settings.column != "split" and all(value is None for value in values):
        columns = [name for name, _ in source.records[0].columns] if source.records else []
        raise UserError(
            f"there is no manifest column '{settings.column}' that names splits: found "
            f"{', '.join(columns) or 'no manifest.csv'}"
        )
    named = []
    unknown: dict[str, Path] = {}
    for record, value in zip(source.records, values, strict=True):
        named.append(split_called(value or "") or split_called(record.split))
        word = (value or record.split).strip()
        if word and not named[-1]:
            unknown.setdefault(word, record.path)
    if unknown:
        told = ", ".join(f"{word!r} for {path}" for word, path in list(unknown.items())[:3])
        raise UserError(
            f"the column '{settings.column}' holds {told}: expected {', '.join(_BY_WORD)}, or nothing "
            "(data.split_column names another column)"
        )
    return named


def _splits_from_lists(source: Source, folder: Path) -> list[str]:
    chosen: dict[str, str] = {}
    for file in files_ending(folder, ".txt"):
        if split := split_called(file.stem):
            listed = read_lines(file)
            if twice := sorted(chosen.keys() & set(listed)):
                raise UserError(f"{twice[0]} stands in two lists of {folder}")
            chosen |= dict.fromkeys(listed, split)
    ids = {name for record in source.records for name in (record.image_id, record.path.name)}
    unknown = sorted(chosen.keys() - ids)
    if not chosen or unknown:
        found = f"names {unknown[0]}, which is no image id" if unknown else "has no *.txt lists"
        raise UserError(f"{folder} {found}; expected train.txt, val.txt, test.txt with image ids")
    return [chosen.get(r.image_id, chosen.get(r.path.name, "")) for r in source.records]


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

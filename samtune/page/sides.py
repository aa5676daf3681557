"""Which images are held out for testing, and what of each is used: two sides never share a place.

An image gets its side when it gets its first object, and keeps it. Images that belong together (slices
beside each other, frames of one video) get one side. Of the first eight every second is held out, so
that a round of tuning can be judged early; of later ones every fourth, so that more is learned from.
"""

from collections.abc import Mapping

from samtune.data.source import Source
from samtune.page.annotations import Entry
from samtune.page.parts import Parts, SceneWindows, VolumeSlices
from samtune.page.state import Side

# So many have every second one held out, the others every fourth
_FIRST, _EVERY = 8, 4


def group_of(source: Source, index: int) -> str:
    """What an image belongs to: its own id, where it is nothing larger."""
    record = source.records[index]
    return record.group or record.image_id


def side_of(source: Source, index: int, entries: Mapping[str, Entry]) -> Side:
    """The side of an image that has none yet.

    Args:
        source: of the images.
        index: of the image.
        entries: what is known of images, by id.
    """
    split, group = source.records[index].split, group_of(source, index)
    if split:
        return placed(source, index, split != "train", entries)
    known = _sides_of_groups(source, entries)
    is_held_out = known.get(group, _is_turn(known))
    side = placed(source, index, is_held_out, entries)
    if side.is_used or group in known or source.records[index].group:
        return side
    # a window that lies nearly whole in those of the other side is of use on that side alone
    other = placed(source, index, not is_held_out, entries)
    return other if other.is_used else side


def placed(source: Source, index: int, is_held_out: bool, entries: Mapping[str, Entry]) -> Side:
    """A side for an image, with what is used of it: what shares nothing with images of the other side.

    Those that were there before keep all of theirs.
    """
    if not isinstance(source, Parts):
        return Side(is_held_out)
    group, others = group_of(source, index), []
    for place, record in enumerate(source.records):
        entry = entries.get(record.image_id)
        side = None if entry is None or group_of(source, place) == group else entry.side
        if side is not None and side.is_used and side.is_held_out != is_held_out:
            others.append((place, side.part))
    return Side(is_held_out, source.part_beside(index, others))


def _sides_of_groups(source: Source, entries: Mapping[str, Entry]) -> dict[str, bool]:
    """Of the images that are there now, and of those that were labelled before."""
    now = {record.image_id: group_of(source, n) for n, record in enumerate(source.records)}
    sides = {name: each.side for name, each in entries.items()}
    return {
        now.get(name, entries[name].group): side.is_held_out
        for name, side in sides.items() if side is not None
    }  # fmt: skip


def _is_turn(known: Mapping[str, bool]) -> bool:
    """Whether fewer are held out than should be, with one more."""
    number = len(known) + 1
    wanted = min(number, _FIRST) // 2 + (max(0, number - _FIRST) + _EVERY // 2) // _EVERY
    return sum(known.values()) < wanted


def rule_of(source: Source) -> str:
    """The rule in a sentence, for those who label."""
    if any(record.split for record in source.records):
        return "Which images are held out for testing is what their data set says."
    what, beside = "images", ""
    if isinstance(source, SceneWindows):
        what = "windows"
        beside = "; where two overlap, the one that had objects first keeps what both show"
    elif isinstance(source, VolumeSlices):
        what = f"ranges of {source.in_a_range} slices"
        beside = "; slices right beside one of the other side are not used"
    elif any(record.group for record in source.records):
        what = "groups of images (by their names)"
    return (
        f"Of the first eight {what} with objects every second is held out for testing, later every "
        f"fourth: no round learns from those{beside}."
    )

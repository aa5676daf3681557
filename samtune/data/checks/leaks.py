"""The same image, nearly the same one, or one group in two splits."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from samtune.data.checks.findings import Level
from samtune.data.checks.look import Seen

# Bits of 64 in which the fingerprints of near-duplicates differ at most.
_MOST_BITS = 2
# Correlation of the thumbnails of near-duplicates at least.
_LEAST_LIKENESS = 0.97
# Of slices that all look alike there would be millions.
_MOST_PAIRS = 1000


def find_leaks(seen: list[Seen]) -> Iterator[tuple[Level, str]]:
    """Levels and texts of what is wrong between the splits."""
    same = _pairs(seen)
    across = [pair for pair in same if pair[0].split != pair[1].split]
    within = [pair for pair in same if pair[0].split == pair[1].split]
    near = list(islice(_near(seen), _MOST_PAIRS + 1))
    if across:
        yield (
            "error",
            f"{len(across)} images lie in two splits, such as {_named(across[0])}: results on them are "
            "worth nothing",
        )
    if within:
        number = f"{len(within)} images are there twice within a split"
        yield "warning", f"{number}, such as {_named(within[0])}"
    if near:
        number = f"more than {_MOST_PAIRS}" if len(near) > _MOST_PAIRS else f"{len(near)}"
        yield (
            "warning",
            f"{number} pairs of images in two splits are nearly the same, such as "
            f"{_named(near[0])}: look at them, and keep frames of one scene together "
            "(data.group_column)",
        )


def find_torn_groups(groups: dict[str, list[str]]) -> Iterator[tuple[Level, str]]:
    """Groups that lie in two splits; `groups` are those of each split's images."""
    splits: dict[str, set[str]] = defaultdict(set)
    for split, names in groups.items():
        for name in names:
            splits[name].add(split)
    if torn := sorted(group for group, its in splits.items() if len(its) > 1):
        number = f"{len(torn)} groups lie in two splits"
        yield "error", f"{number}, such as {torn[0]}: what belongs together must stay together"


def _pairs(seen: list[Seen]) -> list[tuple[Seen, Seen]]:
    """Images with the same pixels: each with the first of its kind."""
    first: dict[str, Seen] = {}
    found = [(first.setdefault(image.digest, image), image) for image in seen if not image.is_flat]
    return [pair for pair in found if pair[0] is not pair[1]]


def _near(seen: list[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """Pairs of two splits whose fingerprints differ in few bits and whose thumbnails are alike.

    One of three parts of such fingerprints is the same.
    """
    kept = [image for image in seen if image.fingerprint is not None]
    if not kept:
        return
    prints = np.array([image.fingerprint for image in kept], np.uint64)
    splits = np.array([image.split for image in kept])
    thumbnails = np.stack([image.thumbnail for image in kept])
    found: set[tuple[int, int]] = set()
    for members in _same_parts(prints):
        for place, one in enumerate(members[:-1]):
            others = members[place + 1 :]
            others = others[splits[others] != splits[one]]
            others = others[np.bitwise_count(prints[others] ^ prints[one]) <= _MOST_BITS]
            # a common frame around other pictures gives like bits, but no like thumbnail
            others = others[thumbnails[others] @ thumbnails[one] >= _LEAST_LIKENESS]
            for other in others:
                if (one, other) not in found and kept[one].digest != kept[other].digest:
                    found.add((one, other))
                    yield kept[one], kept[other]


def _same_parts(prints: NDArray[np.uint64]) -> Iterator[NDArray[np.intp]]:
    """Places of fingerprints that have a third of their bits in common."""
    for part in range(3):
        bits = (prints >> np.uint64(22 * part)) & np.uint64(2**22 - 1)
        order = np.argsort(bits, kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(bits[order])) + 1)


def _named(pair: tuple[Seen, Seen]) -> str:
    return " and ".join(f"{image.image_id} ({image.split})" for image in pair)

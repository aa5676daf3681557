"""The same image or nearly the same one twice, or one group in two splits."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from samtune.data.checks.findings import Level
from samtune.data.checks.look import Seen
from samtune.types import FloatArray
from samtune.wording import counted

# Bits of 64 in which the fingerprints of near-duplicates differ at most.
_MOST_BITS = 3
# Correlation of the thumbnails of near-duplicates at least.
_LEAST_LIKENESS = 0.97
# And of their details, where both have some.
_LEAST_DETAILS_LIKENESS = 0.85
# That of what is left of their details without what all images have in common, unless they are nearly
# equal as they are; of fewer images that cannot be told.
_LEAST_REST_LIKENESS, _EQUAL = 0.6, 0.95
_LEAST_IMAGES = 16
# Of slices that all look alike there would be millions.
_MOST_PAIRS = 1000
# Images that are compared with all others at once.
_BLOCK = 256


def find_leaks(seen: list[Seen]) -> Iterator[tuple[Level, str]]:
    """Levels and texts of images that come again, in another split or within one."""
    same = _pairs(seen)
    across = [pair for pair in same if pair[0].split != pair[1].split]
    within = [pair for pair in same if pair[0].split == pair[1].split]
    if across:
        yield (
            "error",
            f"{counted(len(across), 'image lies', 'images lie')} in two splits, such as "
            f"{_named(across[0])}: results on them are "
            "worth nothing",
        )
    if within:
        number = f"{counted(len(within), 'image is', 'images are')} there twice within a split"
        yield "warning", f"{number}, such as {_named(within[0])}"
    yield from _near_findings(seen)


def _near_findings(seen: list[Seen]) -> Iterator[tuple[Level, str]]:
    advice = "look at them, and keep frames of one scene together (data.group_column)"
    counted = "each counts as one of its own: leave one out, or tie frames of one scene together"
    for is_across, where, what in (
        (True, "in two splits", advice),
        (False, "within a split", f"{counted} (data.group_column)"),
    ):
        pairs = list(islice(_near(seen, is_across), _MOST_PAIRS + 1))
        number = f"more than {_MOST_PAIRS}" if len(pairs) > _MOST_PAIRS else f"{len(pairs)}"
        if pairs:
            told = f"pairs of images {where} are nearly the same, such as {_named(pairs[0])}"
            yield "warning", f"{number} {told}: {what}"


def find_torn_groups(groups: dict[str, list[str]]) -> Iterator[tuple[Level, str]]:
    """Groups that lie in two splits; `groups` are those of each split's images."""
    splits: dict[str, set[str]] = defaultdict(set)
    for split, names in groups.items():
        for name in names:
            splits[name].add(split)
    if torn := sorted(group for group, its in splits.items() if len(its) > 1):
        number = f"{counted(len(torn), 'group lies', 'groups lie')} in two splits"
        yield "error", f"{number}, such as {torn[0]}: what belongs together must stay together"


def _pairs(seen: list[Seen]) -> list[tuple[Seen, Seen]]:
    """Images with the same pixels: each with the first of its kind."""
    first: dict[str, Seen] = {}
    found = [(first.setdefault(image.digest, image), image) for image in seen if not image.is_flat]
    return [pair for pair in found if pair[0] is not pair[1]]


def _near(seen: list[Seen], is_across: bool) -> Iterator[tuple[Seen, Seen]]:
    """Pairs whose fingerprints differ in few bits and whose thumbnails and details are alike.

    One of four parts of such fingerprints is the same. Pairs are of two splits, or else of one
    split and of two groups: slices of one volume, frames of one video are alike by nature.
    """
    kept = [image for image in seen if image.fingerprint is not None]
    if not kept:
        return
    prints = np.array([image.fingerprint for image in kept], np.uint64)
    splits, groups = (
        np.unique(names, return_inverse=True)[1]
        for names in ([image.split for image in kept], [image.group for image in kept])
    )
    thumbnails = np.stack([image.thumbnail for image in kept])
    details = np.stack([image.details for image in kept])
    has_details = np.asarray(details.any(axis=1))
    rests = _without_common(details, has_details)
    found: set[tuple[int, int]] = set()
    for members in _same_parts(prints):
        for start in range(0, len(members) - 1, _BLOCK):
            ones, others = members[start : start + _BLOCK], members[start:]
            is_wanted = (splits[ones, None] != splits[others]) == is_across
            if not is_across:
                is_wanted &= groups[ones, None] != groups[others]
            is_wanted &= np.bitwise_count(prints[ones, None] ^ prints[others]) <= _MOST_BITS
            if is_wanted.any():
                # a common frame around other pictures gives like bits, but no like thumbnail
                is_wanted &= thumbnails[ones] @ thumbnails[others].T >= _LEAST_LIKENESS
            if is_wanted.any():  # nor have pictures of one kind like details
                both = has_details[ones, None] & has_details[others]
                parts = details[ones].astype(np.float32), details[others].astype(np.float32)
                likeness = parts[0] @ parts[1].T
                is_wanted &= ~both | (likeness >= _LEAST_DETAILS_LIKENESS)
                rest = rests[ones].astype(np.float32) @ rests[others].astype(np.float32).T
                is_wanted &= ~both | (likeness >= _EQUAL) | (rest >= _LEAST_REST_LIKENESS)
            for row, column in np.argwhere(np.triu(is_wanted, 1)):
                pair = (int(ones[row]), int(others[column]))
                one, other = kept[pair[0]], kept[pair[1]]
                if pair not in found and one.digest != other.digest:
                    found.add(pair)
                    yield one, other


def _without_common(details: FloatArray, has_details: NDArray[np.bool_]) -> FloatArray:
    """(N, D) details without what all images have in common (the edge of a disc, say), of length 1."""
    if np.count_nonzero(has_details) < _LEAST_IMAGES:
        return details
    rests = details - details[has_details].mean(axis=0, dtype=np.float32)
    lengths = np.linalg.norm(rests, axis=1, keepdims=True)
    return np.asarray(rests / np.maximum(lengths, 1e-3), np.float16)


def _same_parts(prints: NDArray[np.uint64]) -> Iterator[NDArray[np.intp]]:
    """Places of fingerprints that have a quarter of their bits in common."""
    for part in range(_MOST_BITS + 1):
        bits = (prints >> np.uint64(16 * part)) & np.uint64(2**16 - 1)
        order = np.argsort(bits, kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(bits[order])) + 1)


def _named(pair: tuple[Seen, Seen]) -> str:
    return " and ".join(f"{image.image_id} ({image.split})" for image in pair)

"""The same image, nearly the same one, or one group in two splits."""

from collections import defaultdict
from collections.abc import Iterator

from samtune.data.checks.findings import Level
from samtune.data.checks.look import Seen

# Bits of 64 in which the fingerprints of near-duplicates differ at most.
_MOST_BITS = 2
# Correlation of the thumbnails of near-duplicates at least.
_LEAST_LIKENESS = 0.97


def find_leaks(seen: list[Seen]) -> Iterator[tuple[Level, str]]:
    """Levels and texts of what is wrong between the splits."""
    same = _pairs(seen)
    across = [pair for pair in same if pair[0].split != pair[1].split]
    within = [pair for pair in same if pair[0].split == pair[1].split]
    near = [pair for pair in _near(seen) if pair[0].split != pair[1].split]
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
        yield (
            "warning",
            f"{len(near)} pairs of images in two splits are nearly the same, such as "
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


def _near(seen: list[Seen]) -> list[tuple[Seen, Seen]]:
    """Pairs whose fingerprints differ in few bits: one of three parts of them is then the same."""
    buckets: dict[tuple[int, int], list[Seen]] = defaultdict(list)
    pairs: dict[tuple[int, int], tuple[Seen, Seen]] = {}
    for image in seen:
        if image.fingerprint is None:
            continue
        for part in range(3):
            bucket = buckets[part, (image.fingerprint >> (22 * part)) & (2**22 - 1)]
            for other in bucket:
                assert other.fingerprint is not None, "only those with one are kept"
                is_near = (image.fingerprint ^ other.fingerprint).bit_count() <= _MOST_BITS
                # a common frame around other pictures gives like bits, but no like thumbnail
                is_alike = float(image.thumbnail @ other.thumbnail) >= _LEAST_LIKENESS
                if is_near and is_alike and image.digest != other.digest:
                    pairs[id(other), id(image)] = (other, image)
            bucket.append(image)
    return list(pairs.values())


def _named(pair: tuple[Seen, Seen]) -> str:
    return " and ".join(f"{image.image_id} ({image.split})" for image in pair)

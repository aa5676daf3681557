"""A look at the data before training: what is there, and what would spoil the result."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from tqdm import tqdm

from samtune.data.objects import find_objects
from samtune.data.source import Source
from samtune.data.splits import SPLITS
from samtune.errors import UserError
from samtune.types import FloatArray, ImageArray

Level = Literal["error", "warning"]
# An object whose sides are shorter than this at the model's input covers less than two cells of its
# masks (S / 4) each way.
_SMALLEST_SIDE = 8.0
_DARK = 40.0
# Bits of 64 in which the fingerprints of near-duplicates differ at most.
_MOST_BITS = 2
# Correlation of the thumbnails of near-duplicates at least.
_LEAST_LIKENESS = 0.97
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """Something to put right (error) or to look at (warning), with what to do."""

    level: Level
    text: str


@dataclass
class SplitFacts:
    """What a split holds. Sizes are height x width; areas are pixels of the original image."""

    num_images: int = 0
    num_objects: int = 0
    num_without_objects: int = 0
    num_too_small: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    objects_per_image: list[float] = field(default_factory=list)
    area_quantiles: list[float] = field(default_factory=list)
    mean_brightness: float = 0.0


@dataclass
class _Seen:
    """One image as it was looked at."""

    split: str
    image_id: str
    group: str
    digest: str
    fingerprint: int | None
    thumbnail: FloatArray
    hw: tuple[int, int]
    areas: list[int]
    num_too_small: int
    classes: list[str]
    brightness: float


@dataclass
class CheckResult:
    """Facts by split, and findings, the worst first."""

    splits: dict[str, SplitFacts]
    findings: list[Finding]

    @property
    def verdict(self) -> str:
        levels = {finding.level for finding in self.findings}
        return "errors" if "error" in levels else "warnings" if levels else "ok"

    def as_dict(self) -> dict[str, Any]:
        return {"verdict": self.verdict, **asdict(self)}


def check(
    sources: Mapping[str, Source], input_side: int, stretch: str, min_area: int, tile: int = 0
) -> CheckResult:
    """Read every image of every split once.

    Args:
        sources: whole images by split.
        input_side: of the model's square input, pixels.
        stretch: how images are read.
        min_area: smaller objects are left out in training, pixels.
        tile: side of the tiles that images are cut into; 0 for none.
    """
    seen: list[_Seen] = []
    findings: list[Finding] = []
    for split, source in sources.items():
        for index in tqdm(range(len(source)), desc=f"check {split}", unit="image", disable=None):
            try:
                seen.append(_look(split, source, index, input_side, min_area, tile))
            except UserError as error:
                findings.append(Finding("error", f"cannot be read: {error}"))
    facts = {split: _facts([image for image in seen if image.split == split]) for split in SPLITS}
    findings += _findings_of_splits(facts, stretch, tile)
    findings += _leaks(seen)
    return CheckResult(facts, sorted(findings, key=lambda finding: finding.level != "error"))


def _look(
    split: str, source: Source, index: int, input_side: int, min_area: int, tile: int
) -> _Seen:
    sample = source.read(index)
    places = find_objects(sample.labels, min_area)
    hw = (sample.image.shape[0], sample.image.shape[1])
    scale = input_side / (tile if 0 < tile < max(hw) else max(hw))
    shortest = [
        min(p.rows.stop - p.rows.start, p.columns.stop - p.columns.start) * scale for p in places
    ]
    return _Seen(
        split, sample.image_id, sample.group or sample.image_id,
        hashlib.sha256(repr(hw).encode() + sample.image.tobytes()).hexdigest(),
        fingerprint(sample.image), thumbnail(sample.image), hw, [place.area for place in places],
        sum(side < _SMALLEST_SIDE for side in shortest),
        [sample.classes.get(place.object_id, "") for place in places], float(sample.image.mean()),
    )  # fmt: skip


def fingerprint(image: ImageArray) -> int | None:
    """64 bits that change little when an image is resized or saved anew (difference hash).

    `None` for images that are flat all over: these are all alike.
    """
    grey = image.mean(axis=2).astype(np.float32)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    if float(small.std()) < 4:
        return None
    bits = (small[:, 1:] > small[:, :-1]).reshape(-1)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def thumbnail(image: ImageArray) -> FloatArray:
    """(256,) float32: brightness on a grid of 16 x 16, of mean 0 and length 1."""
    grey = image.mean(axis=2).astype(np.float32)
    values = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).reshape(-1)
    values = values - values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), np.float32)


def _facts(seen: list[_Seen]) -> SplitFacts:
    areas = [area for image in seen for area in image.areas]
    counts = [len(image.areas) for image in seen]
    return SplitFacts(
        num_images=len(seen),
        num_objects=len(areas),
        num_without_objects=sum(count == 0 for count in counts),
        num_too_small=sum(image.num_too_small for image in seen),
        classes=dict(Counter(name for image in seen for name in image.classes).most_common()),
        sizes=dict(Counter(f"{image.hw[0]}x{image.hw[1]}" for image in seen).most_common()),
        objects_per_image=_quantiles(counts),
        area_quantiles=_quantiles(areas),
        mean_brightness=float(np.mean([image.brightness for image in seen])) if seen else 0.0,
    )


def _quantiles(values: list[int]) -> list[float]:
    """Smallest, quartiles, largest."""
    return [float(v) for v in np.quantile(values, [0, 0.25, 0.5, 0.75, 1])] if values else []


def _findings_of_splits(facts: dict[str, SplitFacts], stretch: str, tile: int) -> list[Finding]:
    found = []
    for split, its in facts.items():
        if not its.num_images:
            level: Level = "warning" if split == "test" else "error"
            found.append(Finding(level, f"{split} has no images: {_NO_IMAGES[split]}"))
            continue
        found += [Finding(*pair) for pair in _findings_of(split, its, stretch, tile)]
        if new := sorted(set(its.classes) - set(facts["train"].classes)):
            text = f"{split} has classes that train lacks: {', '.join(new[:_SHOWN])}"
            found.append(Finding("warning", text))
    return found


def _findings_of(
    split: str, its: SplitFacts, stretch: str, tile: int
) -> Iterator[tuple[Level, str]]:
    """What one split with images tells alone."""
    if not its.num_objects:
        yield "error", f"{split} has no objects: its masks are empty"
    elif its.num_without_objects > its.num_images / 5:
        number = f"{its.num_without_objects} of {its.num_images}"
        yield "warning", f"{number} images of {split} have no object: nothing is learned from them"
    if its.num_too_small > its.num_objects / 10:
        advice = "a smaller data.tile" if tile else "data.tile, or a larger model.image_size"
        yield (
            "warning",
            f"{its.num_too_small} of {its.num_objects} objects of {split} are narrower than "
            f"{_SMALLEST_SIDE:g} pixels at the model's input, too small to be seen: set {advice}",
        )
    if its.mean_brightness < _DARK and stretch == "none":
        brightness = f"mean {its.mean_brightness:.0f} of 255"
        yield "warning", f"the images of {split} are dark ({brightness}): set data.stretch auto"


_NO_IMAGES = {
    "train": "there is nothing to learn from",
    "val": "the best step cannot be chosen",
    "test": "samtune evaluate has nothing to measure on",
}


def _leaks(seen: list[_Seen]) -> list[Finding]:
    """The same image, nearly the same one, or the same group in two splits."""
    return [Finding(*pair) for pair in (*_duplicates(seen), *_torn_groups(seen))]


def _duplicates(seen: list[_Seen]) -> Iterator[tuple[Level, str]]:
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


def _torn_groups(seen: list[_Seen]) -> Iterator[tuple[Level, str]]:
    splits: dict[str, set[str]] = defaultdict(set)
    for image in seen:
        splits[image.group].add(image.split)
    if torn := sorted(group for group, its in splits.items() if len(its) > 1):
        number = f"{len(torn)} groups lie in two splits"
        yield "error", f"{number}, such as {torn[0]}: what belongs together must stay together"


def _pairs(seen: list[_Seen]) -> list[tuple[_Seen, _Seen]]:
    """Images with the same pixels: each with the first of its kind."""
    first: dict[str, _Seen] = {}
    found = [(first.setdefault(image.digest, image), image) for image in seen]
    return [pair for pair in found if pair[0] is not pair[1]]


def _near(seen: list[_Seen]) -> list[tuple[_Seen, _Seen]]:
    """Pairs whose fingerprints differ in few bits: one of three parts of them is then the same."""
    buckets: dict[tuple[int, int], list[_Seen]] = defaultdict(list)
    pairs: dict[tuple[int, int], tuple[_Seen, _Seen]] = {}
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


def _named(pair: tuple[_Seen, _Seen]) -> str:
    return " and ".join(f"{image.image_id} ({image.split})" for image in pair)

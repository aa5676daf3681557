"""What each split holds, and what of it is to be put right."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from samtune.data.checks.alignment import find_common_step
from samtune.data.checks.look import Seen, are_numbered
from samtune.data.checks.sizes import num_too_small, tell_too_small
from samtune.wording import counted

Level = Literal["error", "warning"]
DARK = 40.0
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """Something to put right (error) or to look at (warning), with what to do."""

    level: Level
    text: str


@dataclass
class SplitFacts:
    """What a split holds. Sizes are height x width; areas are pixels of the original image.

    Objects below `data.min_area` are counted as left out, and in nothing else.

    `num_too_small` are so at the model's input, in the tiles that are set.

    `values` are channels, dtype and range of the files, with how many images have them; quantiles
    are the smallest, the quartiles and the largest.
    """

    num_images: int = 0
    num_looked_at: int = 0
    num_objects: int = 0
    num_without_objects: int = 0
    num_flat: int = 0
    num_not_finite: int = 0
    num_with_empty_band: int = 0
    num_left_out: int = 0
    num_too_small: int = 0
    num_touching: int = 0
    num_interpolated: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    objects_per_image: list[float] = field(default_factory=list)
    area_quantiles: list[float] = field(default_factory=list)
    mean_brightness: float = 0.0


def facts_of(seen: list[Seen], num_images: int, input_side: int, tile: int = 0) -> SplitFacts:
    """Sum up the images of one split that were looked at.

    Args:
        seen: these.
        num_images: of the split.
        input_side: of the model's square input, pixels.
        tile: side of the tiles that images are cut into; 0 for none.
    """
    areas = [area for image in seen for area in image.areas]
    counts = [len(image.areas) for image in seen]
    return SplitFacts(
        num_images=num_images,
        num_looked_at=len(seen),
        num_objects=len(areas),
        num_without_objects=sum(count == 0 for count in counts),
        num_flat=sum(image.is_flat and image.stored.is_finite for image in seen),
        num_not_finite=sum(not image.stored.is_finite for image in seen),
        num_with_empty_band=sum(i.stored.is_finite and i.stored.has_empty_band for i in seen),
        num_left_out=sum(image.num_left_out for image in seen),
        num_too_small=num_too_small(seen, input_side, tile),
        num_touching=sum(image.num_touching for image in seen),
        num_interpolated=sum(image.is_interpolated for image in seen),
        classes=_counted([name for image in seen for name in image.classes]),
        sizes=_counted([f"{image.hw[0]}x{image.hw[1]}" for image in seen]),
        values=_values(seen),
        objects_per_image=_quantiles(counts),
        area_quantiles=_quantiles(areas),
        mean_brightness=float(np.mean([image.brightness for image in seen])) if seen else 0.0,
    )


def _counted(names: list[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _values(seen: list[Seen]) -> dict[str, int]:
    """Kinds of files, each with the range over all of them."""
    kinds: dict[tuple[int, str], list[Seen]] = {}
    for image in seen:
        kinds.setdefault((image.stored.num_channels, image.stored.dtype), []).append(image)
    return {
        f"{channels} x {dtype}, {min(i.stored.lowest for i in images):g} to "
        f"{max(i.stored.highest for i in images):g}": len(images)
        for (channels, dtype), images in sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    }


def _quantiles(values: list[int]) -> list[float]:
    return [float(v) for v in np.quantile(values, [0, 0.25, 0.5, 0.75, 1])] if values else []


_NO_IMAGES = {
    "train": "there is nothing to learn from",
    "val": "the best step cannot be chosen",
    "test": "samtune evaluate has nothing to measure on",
}


def findings_of_splits(facts: dict[str, SplitFacts], stretch: str) -> Iterator[tuple[Level, str]]:
    """What the splits tell, each alone and next to the training images."""
    for split, its in facts.items():
        if not its.num_images:
            level: Level = "warning" if split == "test" else "error"
            yield level, f"{split} has no images: {_NO_IMAGES[split]}"
            continue
        yield from _findings_of(split, its, stretch)
        if new := sorted(set(its.classes) - set(facts["train"].classes)):
            yield "warning", f"{split} has classes that train lacks: {', '.join(new[:_SHOWN])}"
    kinds = {kind.split(",")[0] for its in facts.values() for kind in its.values}
    if len(kinds) > 1:
        yield (
            "warning",
            f"the images are of several kinds ({', '.join(sorted(kinds))}): set data.stretch auto so "
            "that they come out alike",
        )


def _findings_of(split: str, its: SplitFacts, stretch: str) -> Iterator[tuple[Level, str]]:
    """What one split with images tells alone."""
    every = its.num_objects + its.num_left_out
    if its.num_looked_at and not its.num_objects:
        few = f"all {every} have fewer pixels than data.min_area (set it to 1) and are left out"
        why = few if every else "its masks are empty"
        yield "error", f"{split} has no objects: {why}"
    elif its.num_without_objects > its.num_looked_at / 5:
        number = f"{its.num_without_objects} of {counted(its.num_looked_at, 'image')}"
        yield "warning", f"{number} of {split} without an object: nothing is learned there"
    if its.num_interpolated:
        yield (
            "warning",
            f"{counted(its.num_interpolated, 'mask')} of {split} with grey levels along "
            "their outlines, as after "
            "resizing or JPEG, and each would be an object: set data.labels binary, or write them anew",
        )
    elif its.num_left_out > every / 100 and its.num_objects:
        yield (
            "warning",
            f"{its.num_left_out} of {every} objects of {split} are smaller than data.min_area pixels "
            "and are left out: if they are no specks, set data.min_area 1 (and data.tile, or a larger "
            "image_size, to see them well)",
        )
    if its.num_flat:
        yield (
            "warning",
            f"{counted(its.num_flat, 'image')} of {split} of one colour alone: nothing can "
            "be seen in it",
        )
    if its.num_not_finite:
        number = f"{counted(its.num_not_finite, 'image')} of {split}"
        yield "warning", f"{number} with nothing but NaN or infinity, seen as black"
    if its.num_with_empty_band:
        yield (
            "warning",
            f"{counted(its.num_with_empty_band, 'image')} of {split} with a band of nothing but NaN or "
            "infinity, which is seen as black: leave it out of data.bands",
        )
    if its.num_looked_at and its.mean_brightness < DARK and stretch == "none":
        brightness = f"mean {its.mean_brightness:.0f} of 255"
        yield "warning", f"the images of {split} are dark ({brightness}): set data.stretch auto"


def findings_of_sizes(seen: list[Seen], input_side: int, tile: int) -> Iterator[tuple[Level, str]]:
    """Objects of each split that are too small to be seen."""
    for split in dict.fromkeys(image.split for image in seen):
        its = [image for image in seen if image.split == split]
        for text in tell_too_small(split, its, input_side, tile):
            yield "warning", text


def findings_of_alignment(seen: list[Seen]) -> Iterator[tuple[Level, str]]:
    """Outlines that are off by the same step everywhere."""
    step = find_common_step([image.alignment for image in seen if image.alignment is not None])
    if step is not None:
        down, right = step
        yield (
            "warning",
            f"the outlines would lie on the images' edges if all were moved {_way(down, 'down', 'up')} "
            f"and {_way(right, 'right', 'left')}: are masks and images georeferenced or cut alike?",
        )


def findings_of_numbers(seen: list[Seen]) -> Iterator[tuple[Level, str]]:
    """Numbers of objects that are read as classes."""
    if are_numbered(seen):
        yield (
            "warning",
            "the masks' values are read as classes, but look like numbers of objects, 1 to n in each "
            "image: set data.labels instances",
        )


def _way(step: int, forward: str, backward: str) -> str:
    return f"{abs(step)} pixels {forward if step >= 0 else backward}"

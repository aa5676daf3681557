"""Which files of unpacked archives belong together, and what must stay together."""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from samtune.data.fetch.recipe import Division, Part, Recipe
from samtune.errors import UserError
from samtune.files import is_hidden


@dataclass(frozen=True)
class Pair:
    """An image with its masks (one file, or one for each object), its id, and its split if named."""

    image_id: str
    image: Path
    masks: tuple[Path, ...]
    split: str


def find_pairs(parts: list[Part], folders: list[Path]) -> list[Pair]:
    """Images with masks, by id; ids that occur in two parts get their split in front.

    Args:
        parts: where images and masks lie.
        folders: unpacked archives, or the user's own.

    Raises:
        UserError: a part has no images, an image no mask, or two images share an id.
    """
    # a user may name the very folder that a pattern begins with
    files = [
        (f"{folder.name}/{file.relative_to(folder).as_posix()}", file)
        for folder in folders
        for file in _files_of(folder)
    ]
    pairs = [pair for part in parts for pair in _pairs_of(part, files)]
    counts = Counter(pair.image_id for pair in pairs)
    return [
        Pair(f"{p.split}_{p.image_id}" if counts[p.image_id] > 1 else p.image_id,
             p.image, p.masks, p.split)
        for p in pairs
    ]  # fmt: skip


def _files_of(folder: Path) -> list[Path]:
    """Files that are no leftovers of an operating system."""
    return sorted(f for f in folder.rglob("*") if f.is_file() and not is_hidden(f))


def _pairs_of(part: Part, files: list[tuple[str, Path]]) -> list[Pair]:
    images = _matches(part.images, part.id, files)
    masks = _matches(part.masks, part.id, files)
    if part.is_optional and not masks:
        return []
    if not images:
        raise UserError(
            f"there is no image {part.images} in the archives: is one missing, or has their layout "
            "changed? (with --archives, name all archives, or the folder that they were unpacked to)"
        )
    for image_id, found in images.items():
        if len(found) > 1:
            raise UserError(f"{found[0]} and {found[1]} are both the image {image_id}")
        if image_id not in masks:
            raise UserError(f"{found[0]} has no mask: expected {part.masks}")
    return [Pair(i, found[0], tuple(masks[i]), part.split) for i, found in images.items()]


def _matches(pattern: str, fixed_id: str, files: list[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Files whose path ends as the pattern says, by id."""
    form = _compiled(pattern)
    found: dict[str, list[Path]] = defaultdict(list)
    for name, file in files:
        if match := form.fullmatch(name):
            found[fixed_id or match["id"]].append(file)
    return dict(found)


def _compiled(pattern: str) -> re.Pattern[str]:
    ending = re.escape(pattern).replace(r"\{id\}", "(?P<id>[^/]+)").replace(r"\*", "[^/]*")
    return re.compile(f"(?:.*/)?{ending}")


def wanted_in(recipe: Recipe) -> Callable[[str], bool]:
    """Tell by a member's name whether a recipe needs it; archives may hold much else."""
    layout = recipe.layout
    if layout.is_nested or not layout.parts:
        return lambda name: True
    patterns = [pattern for part in layout.parts for pattern in (part.images, part.masks)]
    forms = [_compiled(pattern) for pattern in (*patterns, *recipe.division.lists.values())]
    return lambda name: any(form.fullmatch(name) for form in forms)


def read_lists(division: Division, folders: list[Path]) -> dict[str, str]:
    """Split of each id that is listed, in the recipe or in files of the archives.

    Raises:
        UserError: a file is missing, or an id stands in two lists.
    """
    ids = {split: list(named) for split, named in division.ids.items()}
    for split, name in division.lists.items():
        file = next((folder / name for folder in folders if (folder / name).is_file()), None)
        file = file or next((f for folder in folders for f in sorted(folder.rglob(name))), None)
        if file is None:
            raise UserError(f"the archives hold no {name}, which lists the images of '{split}'")
        ids[split] = file.read_text(encoding="utf-8-sig").split()
    listed: dict[str, str] = {}
    for split, named in ids.items():
        if twice := sorted(listed.keys() & set(named)):
            raise UserError(f"{twice[0]} stands in two lists of splits")
        listed |= dict.fromkeys(named, split)
    return listed


def group_of(division: Division, image_id: str) -> str:
    """What an image must stay together with, by its id; itself if nothing.

    Raises:
        UserError: the id does not tell.
    """
    if division.last:
        numbers = re.findall(r"\d+", image_id)
        place = bisect_left(division.last, int(numbers[-1])) if numbers else len(division.last)
        if place == len(division.last):
            raise UserError(f"the image {image_id} has no number up to {division.last[-1]}")
        return str(place + 1)
    if division.group:
        match = re.search(division.group, image_id)
        if match is None:
            raise UserError(f"the image {image_id} does not tell its group ({division.group})")
        return match[1]
    return image_id


def block_of(division: Division, image: Path) -> str:
    """The square of land that a GeoTIFF's upper left corner lies in; empty without `block`.

    Tag 33922 ties a pixel to a place (GeoTIFF 1.1, 7.1.1: i, j, k, x, y, z).

    Raises:
        UserError: the image does not tell its place.
    """
    if not division.block:
        return ""
    tie = _tie_point(image)
    if tie is None or len(tie) < 6:
        raise UserError(f"{image} does not tell where it lies (no tie point of a GeoTIFF)")
    return f"{tie[3] // division.block:.0f}_{tie[4] // division.block:.0f}"


def _tie_point(image: Path) -> tuple[float, ...] | None:
    import tifffile

    try:
        with tifffile.TiffFile(image) as file:
            tag = file.pages.first.tags.get(33922)
            return None if tag is None else tuple(tag.value)
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise UserError(f"{image} cannot be read as TIFF: {error}") from error

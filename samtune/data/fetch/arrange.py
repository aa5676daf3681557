"""Images, masks and a manifest in samtune's folders, out of whatever the archives hold."""

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samtune.bars import bar
from samtune.data.fetch.layout import Pair, block_of, find_pairs, group_of, read_lists
from samtune.data.fetch.recipe import Layout, Recipe
from samtune.data.fetch.samples import MAKERS
from samtune.data.settings import SplitSettings
from samtune.data.splits import SPLITS, fill_splits
from samtune.errors import UserError
from samtune.files import write_text
from samtune.images.labels import read_labels
from samtune.images.pixels import read_pixels

Transfer = Callable[[Path, Path], Any]
# id, split as named, group
Row = tuple[str, str, str]


def arrange(recipe: Recipe, folders: list[Path], out: Path, is_ours: bool) -> dict[str, int]:
    """Write a data set.

    Args:
        recipe: of the data set.
        folders: unpacked archives.
        out: an empty folder.
        is_ours: files may be moved out of `folders`.

    Returns:
        Number of images of each split.

    Raises:
        UserError: something is missing or unreadable.
    """
    if recipe.layout.kind in MAKERS:
        return MAKERS[recipe.layout.kind](folders, out)
    listed = read_lists(recipe.division, folders)
    transfer: Transfer = shutil.move if is_ours else shutil.copyfile
    rows: list[Row] = []
    pairs = find_pairs(recipe.layout.parts, folders)
    for pair in bar(pairs, "arrange", "image"):
        block = block_of(recipe.division, pair.image)
        for image_id in _write_pair(pair, recipe.layout, out, listed, transfer):
            group = block or group_of(recipe.division, image_id)
            rows.append((image_id, listed.get(image_id, pair.split), group))
    if missing := sorted(listed.keys() - {row[0] for row in rows}):
        raise UserError(f"{missing[0]} is listed in a split, but there is no such image")
    return _write_manifest(rows, out)


def _write_pair(
    pair: Pair, layout: Layout, out: Path, listed: dict[str, str], transfer: Transfer
) -> Iterator[str]:
    """Write what a pair becomes; gives the ids."""
    if layout.cut:
        yield from _write_tiles(pair, layout, out, listed)
        return
    flat, masks = (
        layout.kind == "geo",
        "labels" if layout.kind in ("objects", "volumes") else "masks",
    )
    image = (out if flat else out / "images") / f"{pair.image_id}{_suffix(pair.image)}"
    image.parent.mkdir(exist_ok=True)
    if layout.kind in ("geo", "volumes"):
        mask = (out if flat else out / masks) / f"{pair.image_id}{_suffix(pair.masks[0])}"
        mask.parent.mkdir(exist_ok=True)
        transfer(pair.masks[0], mask)
    else:
        _write_png(_read_masks(pair, layout), out / masks / f"{pair.image_id}.png")
    transfer(pair.image, image)
    yield pair.image_id


def _suffix(file: Path) -> str:
    return ".nii.gz" if file.name.endswith(".nii.gz") else file.suffix.lower()


def _write_tiles(pair: Pair, layout: Layout, out: Path, listed: dict[str, str]) -> Iterator[str]:
    """Tiles from left to right and top to bottom; what is no whole tile counts, but is left out."""
    image, masks = read_pixels(pair.image), _read_masks(pair, layout)
    side = layout.cut
    corners = [
        (y, x) for y in range(0, image.shape[0], side) for x in range(0, image.shape[1], side)
    ]
    for number, (y, x) in enumerate(corners):
        name = f"{pair.image_id}_{number}"
        is_whole = y + side <= image.shape[0] and x + side <= image.shape[1]
        if not is_whole or (listed and name not in listed):
            continue
        window = (slice(y, y + side), slice(x, x + side))
        _write_png(image[window].squeeze(), out / "images" / f"{name}.png")
        _write_png(masks[window], out / "masks" / f"{name}.png")
        yield name


def _read_masks(pair: Pair, layout: Layout) -> NDArray[Any]:
    """Masks as they are written: 0 and 255, a value for each class, or a number for each object.

    Returns:
        (H, W) uint8; uint16 for objects.

    Raises:
        UserError: a mask cannot be read, or values are no classes.
    """
    if layout.kind == "objects":
        masks = (read_pixels(file).max(axis=2) > layout.above for file in pair.masks)
        return _number(masks)
    file = pair.masks[0]
    if layout.kind == "binary":
        pixels = read_pixels(file)
        values = pixels * 255 if pixels.dtype == np.bool_ else pixels
        return np.where(values.max(axis=2) > layout.above, 255, 0).astype(np.uint8)
    if layout.kind == "colours":
        return _nearest_colours(read_pixels(file), layout.colours)
    classes = read_labels(file)
    if classes.ndim == 3 or classes.min(initial=0) < 0 or classes.max(initial=0) > 255:
        raise UserError(f"{file} holds no classes from 0 to 255")
    return classes.astype(np.uint8)


def _number(masks: Iterator[NDArray[np.bool_]]) -> NDArray[np.uint16]:
    """(H, W) masks -> (H, W) numbers from 1; where two overlap, the first keeps the pixel."""
    labels: NDArray[np.uint16] | None = None
    for number, mask in enumerate(masks, start=1):
        labels = np.zeros(mask.shape, np.uint16) if labels is None else labels
        if mask.shape != labels.shape:
            raise UserError(f"masks of one image are {labels.shape} and {mask.shape} pixels large")
        labels[mask & (labels == 0)] = number
    assert labels is not None, "pairs have masks"
    return labels


def _nearest_colours(pixels: NDArray[Any], colours: dict[str, int]) -> NDArray[np.uint8]:
    """(H, W, C) -> (H, W): the class of the nearest colour, 0 for black."""
    palette = [(0, 0, 0), *(tuple(bytes.fromhex(colour)) for colour in colours)]
    classes = np.array([0, *colours.values()], np.uint8)
    rgb = np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3)).astype(np.int32)
    distances = np.stack([((rgb - np.array(colour)) ** 2).sum(axis=2) for colour in palette])
    return np.asarray(classes[distances.argmin(axis=0)])


def _write_png(values: NDArray[Any], file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(values)).save(file)


def _write_manifest(rows: list[Row], out: Path) -> dict[str, int]:
    """Write `manifest.csv`; splits that nobody named are drawn by group.

    Without images for the test, train and validation are drawn anew as well.
    """
    named, groups = [row[1] for row in rows], [row[2] for row in rows]
    if "test" not in named:
        named = [""] * len(rows)
    splits = fill_splits(named, groups, SplitSettings())
    if len(rows) == 1:  # a single scene is divided where it is read
        return {"all": 1}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "split", "group"))
    for (image_id, _, group), split in zip(rows, splits, strict=True):
        writer.writerow((image_id, split, group))
    write_text(out / "manifest.csv", text.getvalue())
    return {split: splits.count(split) for split in SPLITS if split in splits}

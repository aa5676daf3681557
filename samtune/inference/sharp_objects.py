"""Objects of a label map, each sharpened in a crop of the image, and put together again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from samtune.models.sharpening.crops import Crop, crop_around, extent, inputs_of
from samtune.models.sharpening.network import Sharpener
from samtune.types import FloatArray, ImageArray, LabelArray, MaskArray, Prompt, Window

# Objects that are looked at together
_TOGETHER = 16
# Of all logits of an object, at least, so that what lies at the threshold has a side
_LEAST_LOGIT = 0.05


@dataclass(frozen=True)
class FoundObject:
    """An object as a head has found it.

    Attributes:
        number: in the labels.
        window: of the image, that holds the object and as much again around it.
        logits: (h, w) of the window: above 0 in the object.
        prompt: its box, original frame.
    """

    number: int
    window: Window
    logits: FloatArray
    prompt: Prompt

    @property
    def corner(self) -> tuple[int, int]:
        """x and y of the window."""
        return (self.window.x, self.window.y)


def found_objects(labels: LabelArray, foreground: FloatArray) -> Iterator[FoundObject]:
    """The objects of labels, with what is around them.

    Args:
        labels: (H, W) from 1.
        foreground: (H, W) logits of all objects together, above 0 where one is.
    """
    places: list[Any] = ndimage.find_objects(labels)
    for number, place in enumerate(places, start=1):
        if place is None:
            continue
        rows, columns = place
        longer = max(rows.stop - rows.start, columns.stop - columns.start)
        window = _around(rows, columns, longer, labels.shape)
        box = np.array([columns.start, rows.start, columns.stop - 1, rows.stop - 1], np.float32)
        logits = _logits_of(labels[window.slices], foreground[window.slices], number)
        yield FoundObject(number, window, logits, Prompt(box_xyxy=box))


def _around(rows: slice, columns: slice, more: int, hw: tuple[int, ...]) -> Window:
    y, x = max(0, rows.start - more), max(0, columns.start - more)
    bottom, right = min(hw[0], rows.stop + more), min(hw[1], columns.stop + more)
    return Window(y, x, bottom - y, right - x)


def _logits_of(labels: LabelArray, foreground: FloatArray, number: int) -> FloatArray:
    """Of one object: what belongs to others is as sure not to be its own."""
    sure = np.maximum(np.abs(foreground), _LEAST_LOGIT)
    background = np.minimum(foreground, -_LEAST_LOGIT)
    others = np.where(labels > 0, -sure, background)
    return np.asarray(np.where(labels == number, sure, others), np.float32)


@torch.no_grad()
def sharpened_objects(
    sharpener: Sharpener, image: ImageArray, labels: LabelArray, foreground: FloatArray
) -> LabelArray:
    """Labels with sharper outlines.

    Args:
        sharpener: that learned from such objects, in evaluation mode.
        image: (H, W, 3), as the head saw it.
        labels: (H, W) from 1.
        foreground: (H, W) logits of all objects together, above 0 where one is.

    Returns:
        (H, W) with the same numbers. Where two objects claim a pixel the surer one has it; an object of
        which nothing would be left stays where it was.
    """
    result, surest = np.zeros_like(labels), np.zeros(labels.shape, np.float32)
    objects = list(found_objects(labels, foreground))
    for start in range(0, len(objects), _TOGETHER):
        some = objects[start : start + _TOGETHER]
        for one, logits in zip(some, _answers(sharpener, image, some), strict=True):
            part = one.window.slices
            is_its = logits > surest[part]
            result[part][is_its] = one.number
            surest[part][is_its] = logits[is_its]
    return _tidied(result, labels)


def _answers(
    sharpener: Sharpener, image: ImageArray, objects: Sequence[FoundObject]
) -> Iterator[FloatArray]:
    """Logits (h, w) of the window of each object."""
    crops = [_crop_of(sharpener, one) for one in objects]
    inputs = np.stack([
        inputs_of(
            crop, crop.cut(image), crop.cut(one.logits, one.corner, float(one.logits.min())), one.prompt
        )
        for crop, one in zip(crops, objects, strict=True)
    ])  # fmt: skip
    seen = torch.from_numpy(inputs).to(sharpener.last.weight)
    answers, features = sharpener(seen)
    shares = sharpener.share(seen, features, answers).tolist()
    for crop, one, answer, share in zip(crops, objects, answers.float().cpu(), shares, strict=True):
        logits, part = one.logits.copy(), crop.window(one.window)
        if part is not None and share > 0:
            y, x = part.y - one.window.y, part.x - one.window.x
            own = logits[y : y + part.height, x : x + part.width]
            own += share * (crop.spread(answer.numpy(), part) - own)
        yield logits


def _crop_of(sharpener: Sharpener, one: FoundObject) -> Crop:
    edges = extent(one.prompt, one.logits > 0, one.corner)
    assert edges is not None  # it has a box
    return crop_around(edges, sharpener.settings.ratio, sharpener.settings.cells)


def _tidied(labels: LabelArray, before: LabelArray) -> LabelArray:
    """One piece without holes of each object; those of which nothing is left as they were before."""
    result = np.zeros_like(labels)
    places: list[Any] = ndimage.find_objects(labels)
    for number, place in enumerate(places, start=1):
        if place is not None:
            whole, part = _whole(labels[place] == number), result[place]
            part[whole & (part == 0)] = number
    is_lost = ~np.isin(before, np.unique(result)) & (result == 0)
    return np.asarray(np.where(is_lost, before, result), labels.dtype)


def _whole(mask: MaskArray) -> MaskArray:
    """The largest piece, and its holes."""
    pieces, _ = ndimage.label(mask)
    sizes: NDArray[np.int64] = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(pieces == sizes.argmax()), np.bool_)

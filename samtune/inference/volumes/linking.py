"""Objects of a volume from masks that were found on each slice by itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from samtune.inference.volumes.carrying import Progress, Rle, VolumeObject


class SliceMask(NamedTuple):
    """A mask that was found on a slice.

    Attributes:
        rle: COCO run lengths of the slice as seen.
        score: the IoU that the model expects.
    """

    rle: Rle
    score: float


# Number of a slice -> the masks on it.
Finder = Callable[[int], Sequence[SliceMask]]


def link_slices(
    slices: Iterable[Sequence[Rle]], min_iou: float = 0.5
) -> Iterator[list[tuple[int, Rle]]]:
    """Number masks so that those of one object on neighbouring slices have the same number.

    Masks of two slices are paired one to one, so that the sum of the IoUs of the pairs is the greatest
    that there is (`scipy.optimize.linear_sum_assignment`). Masks may overlap.

    Args:
        slices: COCO run lengths of each slice, in order; they are gone through once.
        min_iou: of a pair.

    Yields:
        For each slice its masks, each with its number, from 1.
    """
    before: list[tuple[int, Rle]] = []
    largest = 0
    for masks in slices:
        linked = dict(_pairs(masks, [rle for _, rle in before], min_iou))
        found = []
        for index, rle in enumerate(masks):
            if index in linked:
                found.append((before[linked[index]][0], rle))
            else:
                largest += 1
                found.append((largest, rle))
        before = found
        yield found


def _pairs(
    masks: Sequence[Rle], before: Sequence[Rle], min_iou: float
) -> Iterator[tuple[int, int]]:
    """Pairs (mask, mask of the slice before)."""
    if not before or not masks:
        return
    ious = np.asarray(coco_mask.iou(list(masks), list(before), [0] * len(before)))
    is_pair = (ious >= min_iou) & (ious > 0)
    rows, columns = linear_sum_assignment(-np.where(is_pair, ious, 0))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if is_pair[row, column]:
            yield row, column


def segment_slices(
    num_slices: int, find: Finder, min_iou: float = 0.5, min_slices: int = 2,
    progress: Progress = iter,
) -> list[VolumeObject]:  # fmt: skip
    """Find objects on each slice and link them through the volume.

    Args:
        num_slices: of the volume.
        find: masks of a slice; empty ones are left out.
        min_iou: see `link_slices`.
        min_slices: objects on fewer slices are left out.
        progress: wraps the numbers of the slices.

    Returns:
        Objects numbered from 1, in the order in which their first slices come; their scores are those
        of their masks.
    """
    found = [
        [mask for mask in find(number) if coco_mask.area(mask.rle)]
        for number in progress(range(num_slices))
    ]
    chains: dict[int, VolumeObject] = {}
    linked = link_slices(([mask.rle for mask in masks] for masks in found), min_iou)
    for number, (masks, numbered) in enumerate(zip(found, linked, strict=True)):
        for mask, (chain, _) in zip(masks, numbered, strict=True):
            known = chains.setdefault(chain, VolumeObject(chain, str(chain)))
            known.masks[number], known.scores[number] = mask
    kept = [known for _, known in sorted(chains.items()) if len(known.masks) >= min_slices]
    return renumbered(kept)


def renumbered(objects: Iterable[VolumeObject]) -> list[VolumeObject]:
    """Objects that nobody has named, numbered from 1 in their order."""
    return [
        replace(found, object_id=number, name=str(number))
        for number, found in enumerate(objects, start=1)
    ]

"""Objects of a volume, from masks of slices to voxels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage

from samtune.data.volume_slices import SliceStack, slice_of
from samtune.geometry import mask_to_rle, rle_to_mask
from samtune.inference.volumes import Masks, VolumeObject
from samtune.types import MaskArray


def to_voxels(masks: Masks, stack: SliceStack) -> MaskArray:
    """Masks of slices as one (X, Y, Z) boolean array in right-anterior-superior order."""
    volume = np.zeros(stack.voxels.shape, np.bool_)
    for number, rle in masks.items():
        slice_of(volume, stack.axis, number)[:] = rle_to_mask(rle)
    return volume


def num_voxels(masks: Masks) -> int:
    """How large an object is."""
    return sum(int(coco_mask.area(rle)) for rle in masks.values())


def largest_part(masks: Masks, stack: SliceStack) -> Masks:
    """Keep the largest connected part in space (26 neighbours) of an object's masks."""
    parts, count = ndimage.label(to_voxels(masks, stack), np.ones((3, 3, 3)))
    if count < 2:
        return masks
    largest = 1 + int(np.bincount(parts.ravel())[1:].argmax())
    kept = {number: slice_of(parts, stack.axis, number) == largest for number in masks}
    return {number: mask_to_rle(mask) for number, mask in kept.items() if mask.any()}


def without_overlaps(objects: Sequence[VolumeObject]) -> list[VolumeObject]:
    """Give the voxels that objects share to the smallest of them, as `segments.merged` does.

    Slices on which nothing is left of an object are no longer among its masks.
    """
    front = sorted(objects, key=lambda found: num_voxels(found.masks), reverse=True)[::-1]
    left: dict[int, Masks] = {found.object_id: {} for found in objects}
    for number in sorted({number for found in objects for number in found.masks}):
        taken: MaskArray = np.zeros((), np.bool_)
        for found in front:
            if number in found.masks:
                mask = rle_to_mask(found.masks[number])
                own, taken = mask & ~taken, mask | taken
                if own.any():
                    left[found.object_id][number] = mask_to_rle(own)
    return [replace(found, masks=left[found.object_id]) for found in objects]

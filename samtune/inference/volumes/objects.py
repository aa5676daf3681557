"""Objects of a volume, from masks of slices to voxels, labels and the report beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage

from samtune.data.volumes.segments import Segment
from samtune.data.volumes.slices import AXES, SliceStack, slice_of
from samtune.data.volumes.writing import (
    LABEL_SUFFIXES,
    is_dicom_seg,
    may_overlap,
    write_volume_labels,
)
from samtune.errors import UserError
from samtune.files import write_json
from samtune.inference.volumes.carrying import Masks, VolumeObject
from samtune.inference.volumes.linking import renumbered
from samtune.masks import mask_to_rle, rle_to_mask
from samtune.types import MaskArray


def to_voxels(masks: Masks, stack: SliceStack) -> MaskArray:
    """Masks of slices as one (X, Y, Z) boolean array in right-anterior-superior order."""
    volume = np.zeros(stack.shape, np.bool_)
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


def report_path(out: Path) -> Path:
    """The file beside the labels that tells of them."""
    suffix = next(s for s in LABEL_SUFFIXES if out.name.lower().endswith(s))
    return out.with_name(out.name[: len(out.name) - len(suffix)] + ".json")


def as_written(
    objects: list[VolumeObject], stack: SliceStack, out: Path, is_one_part: bool,
    is_automatic: bool,
) -> list[VolumeObject]:  # fmt: skip
    """Objects as the file can hold them, so that all that is told of them is true of it."""
    if is_one_part:
        for found in objects:
            found.masks = largest_part(found.masks, stack)
    if not is_automatic and may_overlap(out, len(objects), math.prod(stack.shape)):
        return objects
    parted = without_overlaps(objects)
    return renumbered(found for found in parted if found.masks) if is_automatic else parted


def write_objects(
    out: Path, volume: Path, objects: list[VolumeObject], stack: SliceStack, kind: Any,
    is_automatic: bool,
) -> str:  # fmt: skip
    """Write the labels; returns why they could not be, for what was found is told all the same."""
    segments = [
        Segment(
            found.object_id, found.name, num_voxels(found.masks),
            partial(to_voxels, found.masks, stack), is_automatic, kind,
        )
        for found in objects
    ]  # fmt: skip
    try:
        write_volume_labels(out, volume, segments)
    except UserError as error:
        return str(error)
    return ""


def write_report(
    out: Path, stack: SliceStack, objects: list[VolumeObject],
    agreement: Mapping[int, Mapping[str, float]], about: Mapping[str, Any],
) -> list[dict[str, Any]]:  # fmt: skip
    """Write what became of each object: its slices, scores, and why it stopped where.

    Args:
        out: the labels, beside which it goes.
        stack: the volume.
        objects: as they were written.
        agreement: with the truth, by number of an object.
        about: what else it tells.
    """
    rows = [
        # SEG numbers its segments in their order
        {
            **_entry(found, stack, agreement.get(found.object_id)),
            "label": place if is_dicom_seg(out) else found.object_id,
        }
        for place, found in enumerate(objects, start=1)
    ]
    seen = {
        "axis": AXES[stack.axis], "num_slices": len(stack),
        "spacing_mm": [_number(size) for size in stack.spacing],
        "range": stack.ranges[0] if len(stack.ranges) == 1 else stack.ranges,
    }  # fmt: skip
    write_json(report_path(out), {**about, **seen, "objects": rows})
    return rows


def _entry(
    found: VolumeObject, stack: SliceStack, agreement: Mapping[str, float] | None
) -> dict[str, Any]:
    count = num_voxels(found.masks)
    entry = {
        "id": found.object_id, "name": found.name, "num_voxels": count,
        "millilitres": _number(count * math.prod(stack.spacing) / 1000),
        "score": found.score and round(found.score, 4),
        "slices": {str(n): round(found.scores[n], 4) for n in sorted(found.masks)},
        "stops": found.stops,
    }  # fmt: skip
    if agreement is None:
        return entry
    return {**entry, "truth": {name: _number(value) for name, value in agreement.items()}}


def _number(value: float) -> float | None:
    """As JSON has it: what cannot be told without a spacing is null."""
    return None if math.isnan(value) else value

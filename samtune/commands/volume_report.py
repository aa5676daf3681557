"""What `samtune segment-volume` tells of its objects, on the screen and in a file."""

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.data.volume_slices import AXES, SliceStack
from samtune.data.volume_writing import LABEL_SUFFIXES, is_dicom_seg
from samtune.evaluation.metrics.volume import VolumeScores
from samtune.files import write_json
from samtune.inference.volume_objects import num_voxels
from samtune.inference.volumes import VolumeObject

_RULE = ("min_contrast", "min_score", "max_change", "min_overlap", "growth")


def report_path(out: Path) -> Path:
    """The file beside the labels that tells of them."""
    suffix = next(s for s in LABEL_SUFFIXES if out.name.lower().endswith(s))
    return out.with_name(out.name[: len(out.name) - len(suffix)] + ".json")


def partial_folder(out: Path) -> Path:
    """Where slices that were searched lie until the labels are written."""
    return report_path(out).with_suffix(".partial")


def write_report(
    options: argparse.Namespace, stack: SliceStack, objects: list[VolumeObject],
    scores: dict[int, VolumeScores], search: dict[str, Any] | None, not_written: str,
) -> None:  # fmt: skip
    """Write what became of each object: its slices, scores, and why it stopped where.

    Args:
        options: of the command.
        stack: the volume.
        objects: as they are in the labels.
        scores: against the truth, by object.
        search: what objects were looked for with; `None` of prompted ones.
        not_written: why there are no labels; empty where there are.
    """
    write_json(
        report_path(options.out),
        {
            "model": str(options.model),
            "volume": str(options.volume),
            "labels": None if not_written else options.out.name,
            "not_written": not_written or None,
            "axis": AXES[stack.axis],
            "num_slices": len(stack),
            "spacing_mm": [_number(size) for size in stack.spacing],
            "range": [stack.low, stack.high],
            "rule": None if search else {name: getattr(options, name) for name in _RULE},
            "search": search,
            "tolerance_mm": options.tolerance,
            "objects": [
                # SEG numbers its segments in their order
                {
                    **_entry(found, stack, scores.get(found.object_id)),
                    "label": place if is_dicom_seg(options.out) else found.object_id,
                }
                for place, found in enumerate(objects, start=1)
            ],
        },
    )


def _entry(found: VolumeObject, stack: SliceStack, scores: VolumeScores | None) -> dict[str, Any]:
    slices = {str(number): round(found.scores[number], 4) for number in sorted(found.masks)}
    entry = {
        "id": found.object_id, "name": found.name, "num_voxels": num_voxels(found.masks),
        "millilitres": _number(_millilitres(found, stack)),
        "score": found.score and round(found.score, 4), "slices": slices, "stops": found.stops,
    }  # fmt: skip
    if scores is None:
        return entry
    return {**entry, "truth": {name: _number(value) for name, value in asdict(scores).items()}}


def _number(value: float) -> float | None:
    """As JSON has it: what cannot be told without a spacing is null."""
    return None if math.isnan(value) else value


def _millilitres(found: VolumeObject, stack: SliceStack) -> float:
    return num_voxels(found.masks) * math.prod(stack.spacing) / 1000


def told(
    found: VolumeObject, stack: SliceStack, options: argparse.Namespace, scores: VolumeScores | None
) -> str:
    """One object in a line."""
    numbers = sorted(found.masks)
    ends = f"slices {numbers[0]} to {numbers[-1]}" if numbers else "nothing found"
    stops = [f"{way}: {reason}" for way, reason in sorted(found.stops.items())]
    volume = _millilitres(found, stack)
    size = f"{num_voxels(found.masks)} voxels" if math.isnan(volume) else f"{volume:.3g} ml"
    parts = [f"{ends}, {size}", *stops]
    if found.score is not None:
        parts.insert(1, f"score {found.score:.2f}")
    if scores is not None:
        parts.append(f"Dice {scores.dice:.3f}, IoU {scores.iou:.3f}{_distances(scores, options)}")
    name = "" if found.name == str(found.object_id) else f" {found.name}"
    return f"{found.object_id}{name}: {'; '.join(parts)}"


def _distances(scores: VolumeScores, options: argparse.Namespace) -> str:
    """What is measured in millimetres; nothing of a film, whose frames have no distance."""
    if math.isnan(scores.hd95):
        return ""
    return f", NSD {scores.surface_dice:.3f} at {options.tolerance:g} mm, HD95 {scores.hd95:.1f} mm"

"""What `samtune segment-volume` tells of its objects, on the screen and in a file."""

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.data.volume_slices import AXES, SliceStack
from samtune.data.volume_writing import LABEL_SUFFIXES
from samtune.evaluation.metrics.volume import VolumeScores
from samtune.files import write_json
from samtune.inference.volume_objects import num_voxels
from samtune.inference.volumes import VolumeObject

_RULE = ("min_contrast", "min_score", "max_change", "min_overlap", "growth")


def report_path(out: Path) -> Path:
    """The file beside the labels that tells of them."""
    suffix = next(s for s in LABEL_SUFFIXES if out.name.lower().endswith(s))
    return out.with_name(out.name[: len(out.name) - len(suffix)] + ".json")


def write_report(
    options: argparse.Namespace, stack: SliceStack, objects: list[VolumeObject],
    scores: dict[int, VolumeScores],
) -> None:  # fmt: skip
    """Write what became of each object: its slices, scores, and why it stopped where."""
    write_json(
        report_path(options.out),
        {
            "model": str(options.model),
            "volume": str(options.volume),
            "labels": options.out.name,
            "axis": AXES[stack.axis],
            "num_slices": len(stack),
            "spacing_mm": list(stack.spacing),
            "range": [stack.low, stack.high],
            "rule": {name: getattr(options, name) for name in _RULE},
            "tolerance_mm": options.tolerance,
            "objects": [_entry(found, stack, scores.get(found.object_id)) for found in objects],
        },
    )


def _entry(found: VolumeObject, stack: SliceStack, scores: VolumeScores | None) -> dict[str, Any]:
    slices = {
        str(number): round(found.scores[number], 4) if number in found.scores else None
        for number in sorted(found.masks)
    }
    entry = {
        "id": found.object_id, "name": found.name, "num_voxels": num_voxels(found.masks),
        "millilitres": _millilitres(found, stack), "slices": slices, "stops": found.stops,
    }  # fmt: skip
    return entry if scores is None else {**entry, "truth": asdict(scores)}


def _millilitres(found: VolumeObject, stack: SliceStack) -> float:
    return num_voxels(found.masks) * math.prod(stack.spacing) / 1000


def told(
    found: VolumeObject, stack: SliceStack, options: argparse.Namespace, scores: VolumeScores | None
) -> str:
    """One object in a line."""
    numbers = sorted(found.masks)
    ends = f"slices {numbers[0]} to {numbers[-1]}" if numbers else "nothing found"
    stops = [f"{way}: {reason}" for way, reason in sorted(found.stops.items())]
    parts = [f"{ends}, {_millilitres(found, stack):.3g} ml", *stops]
    if scores is not None:
        parts.append(
            f"Dice {scores.dice:.3f}, IoU {scores.iou:.3f}, NSD {scores.surface_dice:.3f} at "
            f"{options.tolerance:g} mm, HD95 {scores.hd95:.1f} mm"
        )
    name = "" if found.name == str(found.object_id) else f" {found.name}"
    return f"{found.object_id}{name}: {'; '.join(parts)}"

"""What is printed of tasks that use a model."""

import sys
from typing import Any

from samtune.tasks.class_mapping import ClassSegmentation
from samtune.tasks.export import Export
from samtune.tasks.models import Models
from samtune.tasks.open import Opened
from samtune.tasks.predict import Predictions
from samtune.tasks.prelabel import Prelabels
from samtune.tasks.results import Result, markdown
from samtune.tasks.segment import Segmentation
from samtune.tasks.segment_volume import VolumeSegmentation
from samtune.tasks.serve import Served
from samtune.wording import counted

Arguments = dict[str, Any]
# Objects that are shown at most
_MOST_ROWS = 10


def tell(result: Result, options: Arguments) -> None:
    print(result.headline)


def tell_predict(result: Predictions, options: Arguments) -> None:
    print(markdown(result.objects[:_MOST_ROWS]))
    if (more := len(result.objects) - _MOST_ROWS) > 0:
        print(f"... and {more:,} more")
    print(result.headline)


def serve(result: Opened | Served, options: Arguments) -> None:
    try:
        result.serve()
    except KeyboardInterrupt:
        print()
    print(result.headline)


def tell_segment(result: Segmentation | ClassSegmentation, options: Arguments) -> int:
    for note in result.notes:
        print(f"NOTE: {note}", file=sys.stderr)
    print(result.headline)
    if result.failures:
        print(f"{counted(len(result.failures), 'image')} failed", file=sys.stderr)
    return int(bool(result.failures))


def tell_volume(result: VolumeSegmentation, options: Arguments) -> int:
    for note in result.notes:
        print(f"NOTE: {note}", file=sys.stderr)
    for found in result.objects:
        print(_told(found, result.tolerance))
    print(result.headline)
    if result.hint and result.is_empty:
        print(f"nothing was found: {result.hint}")
    if result.not_written:
        print(f"{result.out} is not written: {result.not_written}", file=sys.stderr)
    elif result.is_empty and not result.hint:
        print(f"{result.out} is empty: nothing was found at the prompts", file=sys.stderr)
    return int(bool(result.not_written) or (result.is_empty and not result.hint))


def _told(found: dict[str, Any], tolerance: float) -> str:
    """One object in a line."""
    numbers = [int(number) for number in found["slices"]]
    ends = f"slices {numbers[0]} to {numbers[-1]}" if numbers else "nothing found"
    volume = found["millilitres"]
    size = f"{counted(found['num_voxels'], 'voxel')}" if volume is None else f"{volume:.3g} ml"
    score = [] if found["score"] is None else [f"score {found['score']:.2f}"]
    stops = [f"{way}: {reason}" for way, reason in sorted(found["stops"].items())]
    parts = [f"{ends}, {size}", *score, *stops]
    if truth := found.get("truth"):
        parts.append(f"Dice {truth['dice']:.3f}, IoU {truth['iou']:.3f}{_far(truth, tolerance)}")
    name = "" if found["name"] == str(found["id"]) else f" {found['name']}"
    return f"{found['id']}{name}: {'; '.join(parts)}"


def _far(truth: dict[str, Any], tolerance: float) -> str:
    """What is measured in millimetres; nothing of a film, whose frames have no distance."""
    if truth["hd95"] is None:
        return ""
    return f", NSD {truth['surface_dice']:.3f} at {tolerance:g} mm, HD95 {truth['hd95']:.1f} mm"


def tell_prelabel(result: Prelabels, options: Arguments) -> int:
    print("\n".join([result.headline, *result.notes]))
    return int(bool(result.failures))


def tell_models(result: Models, options: Arguments) -> None:
    print(markdown(result.rows))


def tell_export(result: Export, options: Arguments) -> None:
    for line in (*result.checks, *(f"NOTE: {note}" for note in result.notes)):
        print(line)
    print(result.headline)
    if result.would_upload:
        print(f"would be uploaded to {result.address}:", *result.would_upload, sep="\n")
    elif result.address:
        print(f"uploaded to {result.address}")

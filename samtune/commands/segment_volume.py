"""`samtune segment-volume MODEL VOLUME --out OUT`: objects of a volume, prompted on a slice or not."""

import argparse
import sys
import time
from collections.abc import Iterable
from functools import partial

from tqdm import tqdm

from samtune.commands.generator_options import refuse_generator_options
from samtune.commands.options import choose_device, parse_alone, quieten
from samtune.commands.volume_options import (
    kind_of,
    read_settings_for,
    require_sense,
    seeds_of,
    volume_parser,
)
from samtune.commands.volume_report import report_path, told, write_report
from samtune.commands.volume_search import VolumeSearch
from samtune.data.segment_codes import SegmentProperty
from samtune.data.segments import Segment
from samtune.data.volume_io import Labels, read_volume_labels
from samtune.data.volume_slices import SliceStack, open_stack
from samtune.data.volume_writing import may_overlap, require_writable, write_volume_labels
from samtune.errors import UserError
from samtune.evaluation.metrics.volume import VolumeScores, volume_scores
from samtune.inference.predictor import SamPredictor
from samtune.inference.volume_linking import renumbered
from samtune.inference.volume_objects import (
    largest_part,
    num_voxels,
    to_voxels,
    without_overlaps,
)
from samtune.inference.volumes import Carrier, Seed, StopRule, VolumeObject, require_inside
from samtune.models.backend import Sam
from samtune.models.loading import load_model


def main(arguments: list[str]) -> int:
    quieten()
    parser = volume_parser()
    options = parse_alone(parser, arguments)
    _require_place(options)
    require_sense(options)
    kind = kind_of(options)
    device = choose_device(options.device)
    sam = load_model(options.model, options.checkpoint, options.image_size or None, device)
    stack = open_stack(options.volume, read_settings_for(options, sam))
    seeds = seeds_of(options, stack)
    if seeds:
        refuse_generator_options(parser, options)
    for seed in seeds:
        require_inside(seed, stack)
    truth = _read_truth(options, seeds)
    search = None if seeds else VolumeSearch(sam, stack, options)
    began = time.perf_counter()
    objects = search.objects(_progress) if search else _carried(options, sam, stack, seeds)
    objects = _as_written(objects, stack, options, search is not None)
    seconds = time.perf_counter() - began
    not_written = _write(options, objects, stack, kind, search is not None)
    scores = {} if truth is None else _measured(objects, stack, truth, options)
    write_report(options, stack, objects, scores, search.settings if search else None, not_written)
    for found in objects:
        print(told(found, stack, options, scores.get(found.object_id)))
    place = report_path(options.out) if not_written else options.out
    print(f"{len(objects)} objects, {len(stack)} slices, {seconds:.1f} s: {place}")
    return _conclude(objects, search, not_written, options)


def _require_place(options: argparse.Namespace) -> None:
    """Say at once where the outputs cannot go.

    Raises:
        UserError: a file is there already, or the format cannot be written.
    """
    if not options.volume.exists():
        raise UserError(f"there is no volume {options.volume}")
    require_writable(options.out, options.volume)
    if options.out.resolve().parent == options.volume.resolve():
        raise UserError(
            f"{options.out} would lie among the slices of its volume: name another folder"
        )
    inputs = [options.volume, options.truth, options.from_labels, options.prompts]
    read = {path.resolve() for path in inputs if path is not None}
    for path in (options.out, report_path(options.out)):
        if path.resolve() in read or path.is_dir():
            raise UserError(f"{path} cannot be written over: name another file with --out")
        if path.exists() and not options.overwrite:
            raise UserError(
                f"{path} is there already: name another with --out, or give --overwrite"
            )


def _read_truth(options: argparse.Namespace, seeds: list[Seed]) -> Labels | None:
    """Labels to measure against.

    Raises:
        UserError: they lack an object that is asked for.
    """
    if options.truth is None:
        return None
    if not seeds:
        raise UserError(
            "--truth goes with prompts: objects that are found have numbers of their own"
        )
    truth = read_volume_labels(options.truth, options.volume)
    missing = [seed.object_id for seed in seeds if not (truth.layers == seed.object_id).any()]
    if missing:
        raise UserError(
            f"{options.truth} has no label {missing[0]}: give the objects the ids that they have there "
            "('id' in --prompts)"
        )
    return truth


def _carried(
    options: argparse.Namespace, sam: Sam, stack: SliceStack, seeds: list[Seed]
) -> list[VolumeObject]:
    rule = StopRule(
        options.min_contrast, options.min_score, options.max_change, options.min_overlap
    )
    carrier = Carrier(SamPredictor(sam), stack, rule, options.growth)
    return carrier.carry(seeds, _progress)


def _progress(numbers: range) -> Iterable[int]:
    return tqdm(numbers, desc="up" if numbers.step > 0 else "down", unit="slice", disable=None)


def _as_written(
    objects: list[VolumeObject], stack: SliceStack, options: argparse.Namespace, is_automatic: bool
) -> list[VolumeObject]:
    """Objects as OUT can hold them, so that all that is told of them is true of OUT."""
    if options.largest_part:
        for found in objects:
            found.masks = largest_part(found.masks, stack)
    if not is_automatic and may_overlap(options.out, len(objects), stack.voxels.size):
        return objects
    parted = without_overlaps(objects)
    return renumbered(found for found in parted if found.masks) if is_automatic else parted


def _write(
    options: argparse.Namespace, objects: list[VolumeObject], stack: SliceStack,
    kind: SegmentProperty, is_automatic: bool,
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
        write_volume_labels(options.out, options.volume, segments)
    except UserError as error:
        return str(error)
    return ""


def _conclude(
    objects: list[VolumeObject], search: VolumeSearch | None, not_written: str,
    options: argparse.Namespace,
) -> int:  # fmt: skip
    """Say what is missing; returns the exit code."""
    is_empty = not any(found.masks for found in objects)
    if search:
        if is_empty:
            print(f"nothing was found: {search.hint}")
        if is_empty or not not_written:  # else labels of another format can still be had
            search.forget_slices()
    if not_written:
        print(f"{options.out} is not written: {not_written}", file=sys.stderr)
    elif is_empty and not search:
        print(f"{options.out} is empty: nothing was found at the prompts", file=sys.stderr)
    return 1 if not_written or (is_empty and not search) else 0


def _measured(
    objects: list[VolumeObject], stack: SliceStack, truth: Labels, options: argparse.Namespace
) -> dict[int, VolumeScores]:
    """Agreement of each object with the label of its number."""
    return {
        found.object_id: volume_scores(
            to_voxels(found.masks, stack), (truth.layers == found.object_id).any(0),
            stack.spacing, options.tolerance,
        )
        for found in objects
    }  # fmt: skip

"""`samtune segment-volume MODEL VOLUME --out OUT`: objects of a volume, from a prompt on one slice."""

import argparse
import time
from collections.abc import Iterable
from functools import partial
from importlib import import_module

from tqdm import tqdm

from samtune.commands.options import choose_device, parse_alone, quieten
from samtune.commands.volume_options import read_settings_for, seeds_of, volume_parser
from samtune.commands.volume_report import report_path, told, write_report
from samtune.data.segments import Segment
from samtune.data.volume_io import Labels, read_volume_labels
from samtune.data.volume_slices import SliceStack, open_stack
from samtune.data.volume_writing import require_writable, write_volume_labels
from samtune.errors import UserError
from samtune.evaluation.metrics.volume import VolumeScores, volume_scores
from samtune.inference.predictor import SamPredictor
from samtune.inference.volume_linking import Finder, segment_slices
from samtune.inference.volume_objects import largest_part, num_voxels, to_voxels
from samtune.inference.volumes import Carrier, Seed, StopRule, VolumeObject, require_inside
from samtune.models.backend import Sam
from samtune.models.loading import load_model


def main(arguments: list[str]) -> None:
    quieten()
    options = parse_alone(volume_parser(), arguments)
    _require_place(options)
    stack = open_stack(options.volume, read_settings_for(options))
    seeds = seeds_of(options, stack)
    for seed in seeds:
        require_inside(seed, stack)
    truth = _read_truth(options, seeds)
    device = choose_device(options.device)
    sam = load_model(options.model, options.checkpoint, options.image_size or None, device)
    began = time.perf_counter()
    objects = _carried(options, sam, stack, seeds) if seeds else _found(options, sam, stack)
    if options.largest_part:
        for found in objects:
            found.masks = largest_part(found.masks, stack)
    seconds = time.perf_counter() - began
    write_volume_labels(
        options.out, options.volume, [_segment(o, stack, not seeds) for o in objects]
    )
    scores = {} if truth is None else _measured(objects, stack, truth, options)
    write_report(options, stack, objects, scores)
    for found in objects:
        print(told(found, stack, options, scores.get(found.object_id)))
    print(f"{len(objects)} objects, {len(stack)} slices, {seconds:.1f} s: {options.out}")


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


def _found(options: argparse.Namespace, sam: Sam, stack: SliceStack) -> list[VolumeObject]:
    return segment_slices(stack, _finder(sam), options.min_iou, options.min_slices, _progress)


def _finder(sam: Sam) -> Finder:
    """The automatic mask generator.

    Raises:
        UserError: this samtune has none.
    """
    try:
        generator = import_module("samtune.inference.automatic").AutomaticMaskGenerator(sam)
    except ModuleNotFoundError as error:
        raise UserError(
            "there is no prompt: give --slice N with --box X0,Y0,X1,Y1 or --point X,Y, --prompts FILE, "
            "or --from-labels FILE (finding objects without a prompt is not in this samtune yet)"
        ) from error
    return lambda picture: [candidate.rle() for candidate in generator.search(picture)]


def _progress(numbers: range) -> Iterable[int]:
    return tqdm(numbers, desc="up" if numbers.step > 0 else "down", unit="slice", disable=None)


def _segment(found: VolumeObject, stack: SliceStack, is_automatic: bool) -> Segment:
    return Segment(
        found.object_id, found.name, num_voxels(found.masks),
        partial(to_voxels, found.masks, stack), is_automatic,
    )  # fmt: skip


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

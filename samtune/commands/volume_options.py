"""Options of `samtune segment-volume`, and what they stand for."""

import argparse
import math
from pathlib import Path

from samtune.commands.generator_options import add_generator_options
from samtune.commands.options import parse_numbers
from samtune.data.image_io import as_range
from samtune.data.segment_codes import TISSUE, SegmentProperty, parse_property
from samtune.data.source import ReadSettings
from samtune.data.volume_io import read_volume_labels
from samtune.data.volume_slices import AXES, SliceStack
from samtune.data.volume_writing import is_dicom_seg
from samtune.errors import UserError
from samtune.inference.prompt_files import build_prompt
from samtune.inference.volume_prompts import read_seeds, require_object, seeds_from_labels
from samtune.inference.volumes import Carrier, Seed, StopRule
from samtune.models.backend import Sam

_DESCRIPTION = """Segment objects of a volume (NIfTI, NRRD, MetaImage, a folder of DICOM slices or a
multi-frame file). An object is prompted on one slice and carried through its neighbours: the box of
each mask, grown a little, and its logits are the prompt for the next slice, until a rule says stop.
Slices are numbered from 0 towards the patient's head (front, right) and seen with the body's front (or
head) up and its right on the left; coordinates are pixels of the slice as seen, from the top-left
corner, x to the right and y down. They are cut and shown as the run was trained.

Without a prompt everything is looked for on each slice, and masks that overlap on neighbouring slices
are one object."""
_EPILOG = """Beside OUT lies OUT's name with .json: each object's slices, scores, and on which slice it
stopped and why, as written to OUT. An object's score is the mean over its slices of the IoU that the
model expects. OUT has the orientation and the affine of the volume. Of objects that overlap the smaller
one keeps what they share; DICOM SEG keeps both, if they were prompted and objects times voxels are not
above 2**30.

A run without a prompt that was interrupted goes on where it was: slices that are done lie in OUT's name
with .partial until OUT is written. Where DICOM SEG cannot be written, as nothing was found, the .json
is, and the exit code is 1."""


def volume_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        "samtune segment-volume", description=_DESCRIPTION, epilog=_EPILOG, exit_on_error=False
    )
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    parser.add_argument("volume", type=Path, help="a file, or a folder of DICOM slices")
    parser.add_argument(
        "-o", "--out", type=Path, required=True,
        help="labels: .nii.gz, .nii, .nrrd, .mha, or .dcm for DICOM SEG of a DICOM volume",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.add_argument(
        "--segment-code", metavar="SCHEME:VALUE:MEANING",
        help="what the objects are, for DICOM SEG: a type of the standard's CID 7151, such as "
        "SCT:52988006:Lesion, from which the category follows (default: SCT:85756007:Tissue)",
    )  # fmt: skip
    _add_prompts(parser)
    _add_rule(parser)
    _add_search(parser)
    _add_reading(parser)
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--image-size", type=int, default=0, help="of a base model; 0: its own")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, auto")
    return parser


def _add_prompts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("prompts")
    group.add_argument("--slice", type=int, metavar="N", help="that --box and --point lie on")
    group.add_argument("--box", action="append", default=[], metavar="X0,Y0,X1,Y1")
    group.add_argument(
        "--point", action="append", default=[], metavar="X,Y[,LABEL]",
        help="pixel of the object; with ,0 one that is not of it; may be given several times",
    )  # fmt: skip
    group.add_argument("--name", default="", help="of the object (default: 1)")
    group.add_argument(
        "--prompts", type=Path, metavar="FILE",
        help='several objects: a JSON list of {"slice": N, "box": [x0, y0, x1, y1], "points": [[x, y], '
        '...], "labels": [1, 0, ...], "name": ..., "id": ...}',
    )  # fmt: skip
    group.add_argument(
        "--from-labels", type=Path, metavar="LABELS",
        help="the box of each label on the slice where it is largest, to measure a model",
    )  # fmt: skip
    group.add_argument(
        "--truth", type=Path, metavar="LABELS",
        help="measure each object against the label of its id: Dice, IoU, NSD, HD95, in space",
    )  # fmt: skip
    group.add_argument("--tolerance", type=float, default=2.0, help="of NSD, mm (default: 2)")


def _add_rule(parser: argparse.ArgumentParser) -> None:
    group, rule = parser.add_argument_group("carrying"), StopRule()
    group.add_argument(
        "--min-contrast", type=float, default=rule.min_contrast, metavar="SHARE",
        help="stop where an object stands out from around it by less than this share of how it did on "
        f"the prompted slice, as medians of grey; 0 does not look (default: {rule.min_contrast:g})",
    )  # fmt: skip
    group.add_argument(
        "--min-score", type=float, default=rule.min_score, metavar="IOU",
        help=f"stop where the model expects less of its mask (default: {rule.min_score:g})",
    )  # fmt: skip
    group.add_argument(
        "--max-change", type=float, default=rule.max_change, metavar="FACTOR",
        help=f"stop where the area changes by more from slice to slice (default: {rule.max_change:g})",
    )  # fmt: skip
    group.add_argument(
        "--min-overlap", type=float, default=rule.min_overlap, metavar="IOU",
        help="stop where a mask and that of the slice before have less in common (default: "
        f"{rule.min_overlap:g})",
    )  # fmt: skip
    group.add_argument(
        "--growth", type=float, default=Carrier.GROWTH, metavar="SHARE",
        help="of a box's sides that it grows by on every side, a pixel at least (default: "
        f"{Carrier.GROWTH:g})",
    )  # fmt: skip
    group.add_argument(
        "--largest-part", action="store_true", help="keep each object's largest connected part"
    )


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("without a prompt")
    group.add_argument(
        "--min-iou", type=float, default=0.5, metavar="IOU",
        help="masks of neighbouring slices are one object from here (default: 0.5)",
    )  # fmt: skip
    group.add_argument(
        "--min-slices", type=int, default=2, metavar="N",
        help="objects on fewer slices are left out (default: 2)",
    )  # fmt: skip
    add_generator_options(group)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("slices", "as the run was trained, unless given")
    group.add_argument("--axis", choices=("auto", *AXES), help="that slices are cut across")
    group.add_argument(
        "--window", help="lung, bone, soft_tissue, brain, liver, CENTRE,WIDTH; '' for percentiles"
    )
    group.add_argument(
        "--value-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="what becomes 0 and 255"
    )
    group.add_argument(
        "--with-neighbours", action=argparse.BooleanOptionalAction,
        help="a slice's neighbours as red and blue",
    )  # fmt: skip


def read_settings_for(options: argparse.Namespace, sam: Sam) -> ReadSettings:
    """How slices are read: as the model was trained, unless a flag says otherwise.

    Raises:
        UserError: the value range makes no sense.
    """
    view, value_range = sam.view, sam.value_range
    if options.window is not None or options.value_range is not None:
        value_range = as_range(options.value_range)
    return ReadSettings(
        value_range=value_range,
        window=view.window if options.window is None else options.window,
        axis=options.axis or view.axis,
        with_neighbours=(
            view.with_neighbours if options.with_neighbours is None else options.with_neighbours
        ),
    )


def require_sense(options: argparse.Namespace) -> None:
    """Say before the long work what cannot be meant.

    Raises:
        UserError: a number makes no sense, or a flag is not for this output.
    """
    if options.segment_code and not is_dicom_seg(options.out):
        raise UserError(f"--segment-code is for DICOM SEG, a .dcm: {options.out} keeps no codes")
    if options.max_change < 1:
        raise UserError(f"--max-change is {options.max_change:g}: give a factor from 1 up")
    for name in ("growth", "tolerance"):
        if not 0 <= getattr(options, name) < math.inf:
            raise UserError(f"--{name} is {getattr(options, name):g}: give a number from 0 up")


def seeds_of(options: argparse.Namespace, stack: SliceStack) -> list[Seed]:
    """Objects with their prompts; none without a prompt.

    Raises:
        UserError: prompts are given in two ways, or make no sense.
    """
    is_flag = bool(options.box or options.point) or options.slice is not None
    ways = [is_flag, options.prompts is not None, options.from_labels is not None]
    if sum(ways) > 1:
        raise UserError(
            "give prompts in one way: --slice with --box or --point, --prompts, --from-labels"
        )
    if options.prompts is not None:
        return read_seeds(options.prompts)
    if options.from_labels is not None:
        return seeds_from_labels(
            read_volume_labels(options.from_labels, options.volume), stack.axis
        )
    return [_own_seed(options)] if is_flag else []


def _own_seed(options: argparse.Namespace) -> Seed:
    """The object of --slice, --box and --point."""
    if options.slice is None:
        raise UserError("--box and --point lie on a slice: give --slice N")
    if len(options.box) > 1:
        raise UserError("--box is given twice: several objects go into a file, --prompts FILE")
    box = [parse_numbers(text, (4,), "--box") for text in options.box]
    points = [parse_numbers(text, (2, 3), "--point") for text in options.point]
    labels = [int(point[2]) if len(point) == 3 else 1 for point in points]
    prompt = build_prompt(
        [point[:2] for point in points] or None, labels if points else None,
        box[0] if box else None, f"--slice {options.slice}",
    )  # fmt: skip
    require_object(prompt, f"--slice {options.slice}")
    return Seed(1, options.name or "1", options.slice, prompt)


def kind_of(options: argparse.Namespace) -> SegmentProperty:
    """What the objects are, as DICOM SEG codes it.

    Raises:
        UserError: the code is none.
    """
    return parse_property(options.segment_code) if options.segment_code else TISSUE

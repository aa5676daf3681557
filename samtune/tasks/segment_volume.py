"""`segment_volume`: objects of CT and MR volumes, prompted on a slice or not."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError
from samtune.files import require_new
from samtune.inference.settings import Focus, SearchSettings
from samtune.inference.volumes.rule import StopRule
from samtune.ranges import Count, NotNegative, Positive, Share
from samtune.reading import Reading
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run
from samtune.tasks.searching import search_settings, way_of
from samtune.tasks.settings import Layer, build, reading_of, require_reading
from samtune.wording import counted, duration

if TYPE_CHECKING:
    from samtune.data.volumes.labels import Labels
    from samtune.data.volumes.slices import SliceStack
    from samtune.inference.volumes.carrying import Seed, VolumeObject
    from samtune.models.backend import Sam
    from samtune.tasks.volume_mapping import VolumeMapping
    from samtune.tasks.volume_search import VolumeSearch

GROWTH = 0.05
# Of masks on neighbouring slices, where nothing is prompted
MIN_IOU, MIN_SLICES = 0.5, 2


@dataclass(frozen=True)
class VolumeSegmentation(Result):
    """What was found.

    Attributes:
        out: the labels.
        report: JSON beside them: slices, scores, and on which slice each object stopped and why.
        objects: what the report tells of each.
        num_slices: of the volume.
        seconds: that it took.
        tolerance: how far surfaces may be apart and still count as equal in NSD, mm.
        not_written: why there are no labels; empty where there are.
        hint: what to try where nothing was found without a prompt.
        notes: what to know of how the volume was read.
    """

    out: Path
    report: Path
    objects: Rows
    num_slices: int
    seconds: float
    tolerance: float
    not_written: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(each["slices"] for each in self.objects)

    @property
    def headline(self) -> str:
        place = self.report if self.not_written else self.out
        count = len(self.objects)
        return (
            f"{counted(count, 'object')} in {counted(self.num_slices, 'slice')}, "
            f"{duration(self.seconds)}: {place}"
        )

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {"objects": self.objects}


@task
def segment_volume(
    model: str | Path | Run,
    volume: str | Path,
    *,
    out: str | Path,
    slice: int | None = None,
    box: Sequence[float] | None = None,
    points: Sequence[Sequence[float]] = (),
    name: str = "",
    prompts: str | Path | None = None,
    from_labels: str | Path | None = None,
    truth: str | Path | None = None,
    ignore_values: Sequence[int] = (),
    with_foreign_labels: bool = False,
    tolerance: NotNegative = 2.0,
    stop: Layer | StopRule | None = None,
    growth: NotNegative = GROWTH,
    largest_part: bool = False,
    search: Layer | SearchSettings | None = None,
    min_iou: Share = MIN_IOU,
    min_slices: Positive = MIN_SLICES,
    focus: Focus = "auto",
    reading: Layer | Reading | None = None,
    segment_code: str = "",
    overwrite: bool = False,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> VolumeSegmentation:
    """Segment objects of a volume: NIfTI, NRRD, MetaImage, DICOM.

    An object is prompted on one slice and carried through its neighbours: the box of each mask, grown
    a little, and its logits are the prompt for the next slice, until a rule says stop. Slices are
    numbered from 0 towards the patient's head (front, right) and seen with the body's front (or head)
    up and its right on the left; coordinates are pixels of the slice as seen, from the top-left
    corner, x to the right and y down. They are cut and shown as the run was trained. Without a prompt
    everything is looked for on each slice, and masks that overlap on neighbouring slices are one
    object; a model with a semantic head gives every voxel a class instead, and the labels are the
    numbers of its classes.

    Beside the labels lies their name with .json: each object's slices, scores, and on which slice it
    stopped and why. An object's score is the mean over its slices of the IoU that the model expects.
    Labels have the orientation and the affine of the volume. Of objects that overlap the smaller one
    keeps what they share; DICOM SEG keeps both, if they were prompted and objects times voxels are
    not above 2**30. A search that was interrupted goes on where it was.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        volume: a file, or a folder of DICOM slices; of nnU-Net's channels the first, ID_0000.
        out: labels: .nii.gz, .nii, .nrrd, .mha, or .dcm for DICOM SEG of a DICOM volume.
        slice: number of the slice that box and points lie on.
        box: X0,Y0,X1,Y1 of the object.
        points: X,Y of a pixel inside the object; X,Y,0 of a pixel outside it.
        name: name of the object (default: 1).
        prompts: several objects: a JSON list of {"slice": N, "box": [x0, y0, x1, y1], "points":
            [[x, y], ...], "labels": [1, 0, ...], "name": ..., "id": ...}.
        from_labels: a label file to take prompts from, to measure a model: the box of each object
            on the slice where it is largest.
        truth: a label file to compare with, object by object of the same id: Dice, IoU, NSD, HD95
            in 3D. NSD and HD95 count voxels of surfaces, as MONAI does; by area (in the report)
            they are those of the package surface-distance, which differ for small objects.
        ignore_values: values of those labels that are no object.
        with_foreign_labels: take DICOM labels also where they say that they belong to another patient,
            study or frame of reference than the volume.
        tolerance: how far surfaces may be apart and still count as equal in NSD, mm.
        stop: when an object has come to its end.
        growth: how much a box grows on every side before the next slice, as a share of its sides.
        largest_part: keep each object's largest connected part.
        search: without a prompt: grid of points, thresholds and crops.
        min_iou: without a prompt: masks on neighbouring slices are one object if their IoU is at
            least this.
        min_slices: without a prompt: objects on fewer slices are left out.
        focus: `auto` looks at small objects in a window around them; `off` never does.
        reading: how slices are cut and shown, where it is to be otherwise than in training.
        segment_code: SCHEME:VALUE:MEANING of what the objects are, for DICOM SEG: a type of the
            standard's CID 7151 (default: SCT:85756007:Tissue).
        overwrite: replace what is there.
        checkpoint: official weights for a registry name.
        image_size: side of the square input of a base model; 0 takes its own.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: a path or number makes no sense, or the model answers with NaN.
    """
    from samtune.data.volumes.finding import channel_files
    from samtune.data.volumes.labels import LabelRules
    from samtune.data.volumes.segment_codes import TISSUE, parse_property
    from samtune.data.volumes.slices import open_stack
    from samtune.data.volumes.voxels import read_volume_notes
    from samtune.evaluation.metrics.contour import DEFINITION
    from samtune.inference.volumes.carrying import require_inside
    from samtune.inference.volumes.objects import (
        as_written,
        report_path,
        write_objects,
        write_report,
    )
    from samtune.tasks.volume_mapping import VolumeMapping
    from samtune.tasks.volume_prompts import VolumePrompts, read_truth

    place, source = Path(out), Path(volume)
    files = [Path(file) for file in (prompts, from_labels, truth) if file is not None]
    _require_place(place, source, files, overwrite)
    rule = build(StopRule, "stop", stop)
    _require_sense(place, segment_code, rule, growth, tolerance)
    require_reading(reading, ("value_range", "window", "axis", "with_neighbours", "bands"))
    kind = parse_property(segment_code) if segment_code else TISSUE
    given = VolumePrompts(
        slice, box, points, name, _path(prompts), _path(from_labels)
    )  # fmt: skip
    sam = open_model(model, checkpoint, image_size, device)
    shown, rules = reading_of(sam, reading), LabelRules(tuple(ignore_values), with_foreign_labels)
    stack = open_stack(channel_files(source) if shown.bands else [source], shown)
    seeds = given.seeds(source, stack, rules)
    settings = search_settings(search, bool(seeds))
    for seed in seeds:
        require_inside(seed, stack)
    labels = read_truth(_path(truth), source, rules, seeds)
    notes = tuple(read_volume_notes([source], shown.intensity_range is None))
    finder = None if seeds else _finder(sam, stack, settings, place, min_iou, min_slices)
    began = time.perf_counter()
    objects = finder.objects() if finder else _carried(sam, stack, rule, growth, focus, seeds)
    # classes keep their numbers; objects that nobody has named are numbered once they are written
    is_nameless = finder is not None and not isinstance(finder, VolumeMapping)
    objects = as_written(objects, stack, place, largest_part, is_nameless)
    seconds = time.perf_counter() - began
    not_written = write_objects(place, source, objects, stack, kind, finder is not None)
    scores = {} if labels is None else _measured(objects, stack, labels, tolerance)
    about = {
        "model": str(model), "volume": str(source),
        "labels": None if not_written else place.name, "not_written": not_written or None,
        "rule": None if finder else {**asdict(rule), "growth": growth, "focus": focus},
        "search": finder.causes if finder else None, "tolerance_mm": tolerance,
        "nsd_hd95": None if truth is None else DEFINITION,
    }  # fmt: skip
    rows = write_report(place, stack, objects, scores, about)
    result = VolumeSegmentation(
        place, report_path(place), rows, len(stack), seconds, tolerance, not_written,
        finder.hint if finder else "", notes,
    )  # fmt: skip
    if finder and (result.is_empty or not not_written):  # else another format can still be had
        finder.forget_slices()
    return result


def _finder(
    sam: Sam, stack: SliceStack, settings: SearchSettings, out: Path, min_iou: float,
    min_slices: int,
) -> VolumeSearch | VolumeMapping:  # fmt: skip
    """What looks on each slice without a prompt."""
    from samtune.tasks.volume_mapping import VolumeMapping, require_usual
    from samtune.tasks.volume_search import VolumeSearch

    if way_of(sam, settings) != "semantic":
        return VolumeSearch(sam, stack, settings, out, min_iou, min_slices)
    require_usual(min_iou=(min_iou, MIN_IOU), min_slices=(min_slices, MIN_SLICES))
    return VolumeMapping(sam, stack, settings, out)


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)


def _require_place(out: Path, volume: Path, files: list[Path], overwrite: bool) -> None:
    """Say at once where the outputs cannot go.

    Raises:
        UserError: a file is there already, or the format cannot be written.
    """
    from samtune.data.volumes.writing import require_writable
    from samtune.inference.volumes.objects import report_path

    if not volume.exists():
        raise UserError(f"there is no volume {volume}")
    require_writable(out, volume)
    if out.resolve().parent == volume.resolve():
        raise UserError(f"{out} would lie among the slices of its volume: name another folder")
    read = {path.resolve() for path in [volume, *files]}
    for path in (out, report_path(out)):
        if path.resolve() in read or path.is_dir():
            raise UserError(f"{path} cannot be written over: name another file with --out")
        require_new(path, overwrite)


def _require_sense(
    out: Path, segment_code: str, rule: StopRule, growth: float, tolerance: float
) -> None:
    """Say before the long work what cannot be meant.

    Raises:
        UserError: a number makes no sense, or an argument is not for this output.
    """
    from samtune.data.volumes.writing import is_dicom_seg

    if segment_code and not is_dicom_seg(out):
        raise UserError(f"segment_code is for DICOM SEG, a .dcm: {out} keeps no codes")
    if rule.max_change < 1:
        raise UserError(f"stop.max_change is {rule.max_change:g}: give a factor from 1 up")
    for name, value in (("growth", growth), ("tolerance", tolerance)):
        if not 0 <= value < math.inf:
            raise UserError(f"{name} is {value:g}: give a number from 0 up")


def _carried(
    sam: Sam, stack: SliceStack, rule: StopRule, growth: float, focus: Focus, seeds: list[Seed]
) -> list[VolumeObject]:
    from samtune.inference.volumes.carrying import Carrier
    from samtune.tasks.volume_search import slice_bar

    return Carrier(sam, stack, rule, growth, focus == "auto").carry(seeds, slice_bar)


def _measured(
    objects: list[VolumeObject], stack: SliceStack, truth: Labels, tolerance: float
) -> dict[int, dict[str, float]]:
    """Agreement of each object with the label of its number."""
    from samtune.evaluation.metrics.volume import volume_scores
    from samtune.inference.volumes.objects import to_voxels

    return {
        found.object_id: asdict(
            volume_scores(
                to_voxels(found.masks, stack), (truth.layers == found.object_id).any(0),
                stack.spacing, tolerance,
            )
        )
        for found in objects
    }  # fmt: skip

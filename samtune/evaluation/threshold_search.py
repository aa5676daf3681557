"""Which thresholds of automatic masks suit a model: everything is found once, then they are tried.

Suppression goes from the best score down, and so does the making apart of masks that overlap: of one
stability threshold and one IoU of boxes, every threshold of predicted IoU keeps the first so many. So
one pass over an image tries them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from samtune.bars import bar
from samtune.data.objects import ObjectPlace, find_objects, object_mask
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.evaluation.metrics.instances import (
    THRESHOLDS,
    Instances,
    Rle,
    instance_scores,
    segmentation_accuracy,
)
from samtune.evaluation.statistics import Difference, bootstrap_interval, paired_difference
from samtune.inference.automatic.candidates import Candidate, suppress
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.masks import mask_to_rle
from samtune.models.mask_thresholds import MaskThresholds
from samtune.types import LabelArray

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rule = tuple[float, float]

DEFAULTS = MaskThresholds()
PREDICTED_IOUS = np.arange(0.0, 1.0, 0.01).round(2)
STABILITIES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97)
BOX_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9)
# All pairs of a stability threshold and an IoU of boxes.
RULES: tuple[Rule, ...] = tuple(product(STABILITIES, BOX_IOUS))


@dataclass(frozen=True)
class Kept:
    """What a rule keeps of an image's masks, best first.

    Attributes:
        numbers: (K,) of the masks.
        scores: (K,) predicted IoUs, falling.
        hits: (K, T) whether it is matched with an object, by threshold of mSA.
        is_there: (K,) whether better masks leave anything of it.
    """

    numbers: NDArray[np.int64]
    scores: Values
    hits: Flags
    is_there: Flags


@dataclass(frozen=True)
class SearchedImage:
    """An image in which everything was looked for.

    Attributes:
        cluster: the image, patient or scene that it belongs to.
        truths: its objects.
        found: number -> mask, of all that any rule keeps.
        kept: by rule.
    """

    cluster: str
    truths: list[Rle]
    found: dict[int, Rle]
    kept: dict[Rule, Kept]

    def instances(self, thresholds: MaskThresholds) -> Instances:
        """What a generator with these thresholds would give, before any of it is sharpened."""
        kept = self.kept[thresholds.stability_score_thresh, thresholds.box_nms_thresh]
        count = _passing(kept, thresholds.pred_iou_thresh)
        masks = [self.found[number] for number in kept.numbers[:count].tolist()]
        return Instances(
            self.truths, ["object"] * len(self.truths), masks, ["object"] * count,
            kept.scores[:count].tolist(),
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How good automatic masks are.

    Attributes:
        scores: of `instance_scores`; classes do not count.
        ci95: interval of mSA; `None` for a single cluster.
        num_masks: that were found.
    """

    scores: dict[str, float]
    ci95: tuple[float, float] | None
    num_masks: int


@dataclass(frozen=True)
class Judgement:
    """segment_anything's thresholds against those that were chosen.

    Attributes:
        before, after: with the ones and with the others.
        difference: of mSA, paired by image.
        num_objects, num_images: that were measured on.
    """

    before: Outcome
    after: Outcome
    difference: Difference
    num_objects: int
    num_images: int


def search(
    generator: AutomaticMaskGenerator, source: Source, min_area: int, rules: Sequence[Rule],
    max_images: int = 0, what: str = "search",
) -> list[SearchedImage]:  # fmt: skip
    """Look for everything in all images.

    An image without an object is one in which nothing should be found: its mSA is 0 where anything is,
    else 1. One whose objects are all too small to count is passed over.

    Args:
        generator: its thresholds of predicted IoU and stability must be 0, or at least no higher than
            any that will be tried.
        source: images with objects, as they are to be seen.
        min_area: objects of fewer pixels are left out.
        rules: that will be tried.
        max_images: 0 for all.
        what: stands before the progress bar.

    Raises:
        UserError: an image cannot be read, or there are no objects.
    """
    count = source.num_of_first(max_images)
    images = []
    for number in bar(range(count), what, "image"):
        sample = source.read(number)
        places = find_objects(sample.labels, min_area)
        if not places and sample.labels.any():
            continue
        height, width = sample.image.shape[:2]
        grid, whole = generator.point_grids[0], (0, 0, width, height)
        candidates = list(generator.candidates(sample.image, whole, grid))
        kept = {rule: _keep(candidates, sample.labels, places, rule) for rule in rules}
        numbers = {number for each in kept.values() for number in each.numbers.tolist()}
        images.append(
            SearchedImage(
                sample.group or sample.image_id,
                [mask_to_rle(object_mask(sample.labels, place)) for place in places],
                {number: candidates[number].rle() for number in sorted(numbers)},
                kept,
            )
        )
    if not any(image.truths for image in images):
        raise UserError("there is no object to choose thresholds by: the masks are empty")
    return images


def _keep(
    candidates: list[Candidate], labels: LabelArray, places: list[ObjectPlace], rule: Rule
) -> Kept:
    """Apply a rule, and match what stays with the objects, each with one at most."""
    stability, box_iou = rule
    stable = [n for n, each in enumerate(candidates) if each.stability_score >= stability]
    scores = np.array([candidates[number].predicted_iou for number in stable], np.float32)
    boxes = np.array([candidates[number].box_xyxy for number in stable], np.int64).reshape(-1, 4)
    order = suppress(boxes, scores, box_iou)
    numbers = np.array([stable[place] for place in order], np.int64)
    hits, is_there = _match([candidates[number] for number in numbers], labels, places)
    return Kept(numbers, scores[order].astype(np.float64), hits, is_there)


def _match(
    found: list[Candidate], labels: LabelArray, places: list[ObjectPlace]
) -> tuple[Flags, Flags]:
    """Which masks hit an object, best mask first; made apart unless objects overlap too.

    Where they do, a mask takes the best object that is left, which may be a little less than mSA's
    best assignment.
    """
    is_apart = int(np.count_nonzero(labels, axis=0).max()) <= 1
    areas = {place.object_id: place.area for place in places}
    taken = {object_id: np.zeros(len(THRESHOLDS), np.bool_) for object_id in areas}
    hits, is_there = (
        np.zeros((len(found), len(THRESHOLDS)), np.bool_),
        np.zeros(len(found), np.bool_),
    )
    free = np.ones(labels.shape[1:], np.bool_)
    for number, candidate in enumerate(found):
        mask, window = candidate.cropped(), candidate.window
        if is_apart:
            mask &= free[window]
            free[window] &= ~mask
        area = int(np.count_nonzero(mask))
        is_there[number] = area > 0
        ids, shared = np.unique(labels[:, *window][:, mask], return_counts=True)
        ious = {
            object_id: pixels / (areas[object_id] + area - pixels)
            for object_id, pixels in zip(ids.tolist(), shared.tolist(), strict=True)
            if object_id in areas
        }
        for object_id in sorted(ious, key=lambda each: -ious[each]):
            new = (ious[object_id] > THRESHOLDS) & ~taken[object_id] & ~hits[number]
            hits[number] |= new
            taken[object_id] |= new
    return hits, is_there


def _passing(kept: Kept, predicted_iou: float) -> int:
    """How many masks a threshold of predicted IoU lets through; 0 lets all."""
    if predicted_iou <= 0:
        return len(kept.scores)
    # as the generator compares
    return int(np.count_nonzero(kept.scores.astype(np.float32) > np.float32(predicted_iou)))


def choose(images: Sequence[SearchedImage]) -> MaskThresholds:
    """The thresholds of the highest mSA, the mean over images; of equal ones the strictest."""
    best, chosen = -1.0, DEFAULTS
    for rule in images[0].kept:
        accuracies = np.mean([_accuracies(image, rule) for image in images], axis=0)
        strictest = len(accuracies) - 1 - int(np.argmax(accuracies[::-1]))
        if accuracies[strictest] >= best:
            best = float(accuracies[strictest])
            chosen = MaskThresholds(float(PREDICTED_IOUS[strictest]), *rule)
    return chosen


def _accuracies(image: SearchedImage, rule: Rule) -> Values:
    """mSA of one image by threshold of predicted IoU."""
    kept = image.kept[rule]
    counts = [_passing(kept, threshold) for threshold in PREDICTED_IOUS]
    hits = np.concatenate([np.zeros((1, len(THRESHOLDS))), np.cumsum(kept.hits, axis=0)])[counts]
    found = np.append(0, np.cumsum(kept.is_there))[counts][:, None]
    union = found + len(image.truths) - hits
    is_any = union > 0  # nothing found where nothing is cannot be better
    accuracies: Values = np.divide(hits, union, out=np.ones_like(hits), where=is_any)
    return np.asarray(accuracies.mean(axis=1))


def judge(images: Sequence[SearchedImage], chosen: MaskThresholds, seed: int) -> Judgement:
    """Measure what generators with segment_anything's thresholds and with the chosen ones give."""
    clusters = np.array([image.cluster for image in images])
    outcomes, accuracies = [], []
    for thresholds in (DEFAULTS, chosen):
        instances = [image.instances(thresholds) for image in images]
        each = np.array([segmentation_accuracy(one) for one in instances])
        accuracies.append(each)
        outcomes.append(
            Outcome(
                instance_scores(instances),
                bootstrap_interval(each, clusters, seed),
                sum(len(one.predictions) for one in instances),
            )
        )
    return Judgement(
        outcomes[0], outcomes[1], paired_difference(accuracies[1] - accuracies[0], clusters, seed),
        sum(len(image.truths) for image in images), len(images),
    )  # fmt: skip

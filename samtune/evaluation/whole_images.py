"""Objects that were looked for in whole images against all that are there: two ways, in pairs."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.bars import bar
from samtune.data.label_maps import without_ignored
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.evaluation.calibration import error_of
from samtune.evaluation.metrics.instances import (
    Instances,
    best_ious,
    instance_scores,
    mean_precision,
    precision_by_class,
    segmentation_accuracy,
)
from samtune.evaluation.statistics import bootstrap_interval, paired_difference
from samtune.inference.automatic.candidates import Candidate
from samtune.masks import mask_to_rle
from samtune.types import ImageArray, MaskArray

Search = Callable[[ImageArray], Sequence[Candidate]]
_CLASS = "object"


@dataclass(frozen=True)
class Looked:
    """One image and what each way found there.

    Attributes:
        image_id, cluster: the image, and the patient or scene that it belongs to.
        found: by way; classes do not count.
        named: the same with their classes, "" where nobody told; a mask is the surer the better it is
            and the likelier its class.
        seconds: by way.
    """

    image_id: str
    cluster: str
    found: dict[str, Instances]
    named: dict[str, Instances]
    seconds: dict[str, float]


def look(
    ways: dict[str, Search], source: Source, min_area: int, max_images: int = 0
) -> list[Looked]:
    """Look for everything in whole images.

    An image without objects counts: its mSA is 1 where nothing is found, else 0. One whose objects are
    all too small to count is passed over.

    Raises:
        UserError: an image cannot be read, or there are no objects in any.
    """
    looked = []
    for index in bar(range(min(len(source), max_images or len(source))), "evaluate", "image"):
        sample, is_ignored = without_ignored(source.read(index))
        places = find_objects(sample.labels, min_area)
        if not places and sample.labels.any():
            continue
        truths = [mask_to_rle(object_mask(sample.labels, place)) for place in places]
        classes = [sample.classes.get(place.object_id) or "" for place in places]
        found, named, seconds = {}, {}, {}
        for name, search in ways.items():
            start = time.perf_counter()
            candidates = search(sample.image)
            seconds[name] = time.perf_counter() - start
            found[name], named[name] = _instances(truths, classes, candidates, is_ignored)
        group = sample.group or sample.image_id
        looked.append(Looked(sample.image_id, group, found, named, seconds))
    if not any(found.truths for each in looked for found in each.found.values()):
        raise UserError("there is no object in these images: the masks are empty")
    return looked


def _instances(
    truths: Sequence[Any], classes: Sequence[str], candidates: Sequence[Candidate],
    is_ignored: MaskArray,
) -> tuple[Instances, Instances]:  # fmt: skip
    """What was found, less what is ignored, without classes and with them; masks that nothing is left
    of are none.
    """
    kept, masks = [], []
    for each in candidates:
        mask = each.mask() & ~is_ignored
        if mask.any():
            kept.append(each)
            masks.append(mask_to_rle(mask))
    scores = [each.predicted_iou for each in kept]
    surer = [each.predicted_iou * each.class_score for each in kept]
    return (
        Instances(truths, [_CLASS] * len(truths), masks, [_CLASS] * len(masks), scores),
        Instances(truths, classes, masks, [each.class_name for each in kept], surer),
    )


def accuracies(looked: Sequence[Looked], way: str) -> NDArray[np.float64]:
    """mSA (N,) of each image."""
    return np.array([segmentation_accuracy(each.found[way]) for each in looked])


def summarise(looked: Sequence[Looked], way: str, seed: int) -> dict[str, Any]:
    """Scores of one way over all images: AP, AP50, mSA with its interval, PQ; how far predicted IoU is
    from the measured one (`score_error`, expected calibration error); counts and time.
    """
    instances = [each.found[way] for each in looked]
    clusters = np.array([each.cluster for each in looked])
    return {
        **instance_scores(instances),
        "ci95": bootstrap_interval(accuracies(looked, way), clusters, seed),
        "score_error": score_error(instances),
        "num_found": sum(len(each.predictions) for each in instances),
        "num_objects": sum(len(each.truths) for each in instances),
        "num_images": len(instances),
        "seconds_an_image": float(np.mean([each.seconds[way] for each in looked])),
    }


def score_error(images: Sequence[Instances]) -> float | None:
    """Expected calibration error of scores: a mask's IoU is that with the object it fits best; `None`
    where nothing was found.
    """
    scores = [score for each in images for score in each.scores]
    ious = [iou for each in images for iou in best_ious(each)]
    return float(error_of(np.array(scores), np.array(ious))["ece"]) if scores else None


def difference(looked: Sequence[Looked], one: str, other: str, seed: int) -> dict[str, Any]:
    """mSA of one way less that of the other, paired by image: mean, interval, p (Wilcoxon)."""
    deltas = accuracies(looked, one) - accuracies(looked, other)
    found = paired_difference(deltas, np.array([each.cluster for each in looked]), seed)
    return {"mean": found.mean, "ci95": found.ci95, "p": found.p}


def class_precisions(looked: Sequence[Looked], way: str) -> dict[str, Any]:
    """COCO's mask AP with classes, of one way.

    Returns:
        `ap`, `ap50`, `ap75`: means over the classes that objects have; `classes`: by name the same of
        each, with `num_objects` and `num_named`, masks that were named so; empty where no object has a
        class.
    """
    images = [each.named[way] for each in looked]
    there = Counter(name for each in images for name in each.truth_classes)
    named = Counter(name for each in images for name in each.classes)
    by_class = precision_by_class(images)
    return {
        **mean_precision(by_class),
        "classes": {
            name: {**its, "num_objects": there[name], "num_named": named[name]}
            for name, its in by_class.items()
        },
    }

"""All objects of an image at once: average precision, mean segmentation accuracy, panoptic quality.

Each prompt gives one predicted instance, scored by the IoU that the model expects of it; an empty
mask is no instance. So these measures tell of the objects that were prompted for: they are not those
of a search for objects, which also has to find them.

An IoU of a threshold or more is a hit, everywhere, as in COCO's AP. The paper of PQ and the Data
Science Bowl make a miss of an IoU that is the threshold exactly.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

THRESHOLDS = np.arange(0.5, 1.0, 0.05).round(2)
Rle = dict[str, Any]


@dataclass(frozen=True)
class Instances:
    """Truth and predictions of one image, as COCO run lengths.

    Attributes:
        truths, truth_classes: objects, and the class of each.
        predictions, classes, scores: predicted instances, their classes and expected IoUs.
    """

    truths: Sequence[Rle]
    truth_classes: Sequence[str]
    predictions: Sequence[Rle]
    classes: Sequence[str]
    scores: Sequence[float]


def instance_scores(images: Sequence[Instances]) -> dict[str, float]:
    """`ap`, `ap50`, `ap75`, `msa`, `pq`, `sq`, `rq` over images."""
    return {**average_precision(images), **_matched_scores(images)}


def average_precision(images: Sequence[Instances]) -> dict[str, float]:
    """COCO's AP of masks by pycocotools, over classes; without its limit of 100 an image."""
    return mean_precision(_precision(images, _classes(images)))


def precision_by_class(images: Sequence[Instances]) -> dict[str, dict[str, float]]:
    """The same of each class that objects have. One without a class ("") may be of any: what is found
    there counts neither for nor against a class, as in a crowd of COCO's.
    """
    return _precision(images, [name for name in _classes(images) if name])


def mean_precision(by_class: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`ap`, `ap50`, `ap75`: means over classes; 0 without one."""
    return {
        key: float(np.mean([each[key] for each in by_class.values()])) if by_class else 0.0
        for key in ("ap", "ap50", "ap75")
    }


def _classes(images: Sequence[Instances]) -> list[str]:
    return sorted({name for image in images for name in image.truth_classes})


def _precision(images: Sequence[Instances], names: Sequence[str]) -> dict[str, dict[str, float]]:
    numbers = {name: number for number, name in enumerate(names, start=1)}
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for rle, name in zip(image.truths, image.truth_classes, strict=True):
            for category in [numbers[name]] if name in numbers else numbers.values():
                own = _annotation(rle, number, category, len(truths) + 1)
                truths.append(own | {"iscrowd": int(name not in numbers)})
        for rle, name, score in zip(image.predictions, image.classes, image.scores, strict=True):
            if name in numbers and coco_mask.area(rle):
                found.append({**_annotation(rle, number, numbers[name], 0), "score": float(score)})
    if not found:
        return {name: {"ap": 0.0, "ap50": 0.0, "ap75": 0.0} for name in names}
    sizes = [image.truths[0]["size"] if image.truths else [0, 0] for image in images]
    precision = _coco_precision(sizes, list(numbers.values()), truths, found)
    return {
        name: {
            "ap": float(precision[..., place].mean()),
            "ap50": float(precision[0, :, place].mean()),
            "ap75": float(precision[5, :, place].mean()),
        }
        for place, name in enumerate(names)
    }


def _annotation(rle: Rle, image: int, category: int, number: int) -> dict[str, Any]:
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": rle,
        "area": float(coco_mask.area(rle)), "bbox": coco_mask.toBbox(rle).tolist(), "iscrowd": 0,
    }  # fmt: skip


def _coco_precision(
    sizes: list[Any], categories: list[int], truths: list[Any], found: list[Any]
) -> NDArray[np.float64]:
    """Precision by (threshold, recall, class), classes without an object left out."""
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": number, "height": height, "width": width}
            for number, (height, width) in enumerate(sizes, start=1)
        ],
        "categories": [{"id": number} for number in categories],
        "annotations": truths,
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "segm")
        evaluation.params.maxDets = [len(found)]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e12]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"][:, :, :, 0, 0])


def _matched_scores(images: Sequence[Instances]) -> dict[str, float]:
    """mSA (Data Science Bowl 2018) over images; PQ, SQ and RQ (arXiv 1801.00868) over classes.

    Predictions that overlap are first made apart: a pixel goes to the higher score. Not where the
    truth itself overlaps, for then they should.
    """
    accuracies = []
    classes = sorted({name for image in images for name in image.truth_classes})
    sums = {name: np.zeros(4) for name in classes}  # IoU of pairs, pairs, predictions, truths
    for image in images:
        parts, names = _counted(image)
        accuracies.append(_accuracy(_ious(parts, image.truths)))
        for name in classes:
            mine = [part for part, its in zip(parts, names, strict=True) if its == name]
            pairs = zip(image.truths, image.truth_classes, strict=True)
            truths = [truth for truth, its in pairs if its == name]
            matched = _matched(_ious(mine, truths), 0.5)
            sums[name] += (matched.sum(), len(matched), len(mine), len(truths))
    quality = np.array([_panoptic(*values) for values in sums.values()]).mean(0)
    return {
        "msa": float(np.mean(accuracies)),
        "pq": float(quality[0]), "sq": float(quality[1]), "rq": float(quality[2]),
    }  # fmt: skip


def segmentation_accuracy(image: Instances) -> float:
    """mSA of one image; 1 where there is no object and none is predicted."""
    return _accuracy(_ious(_counted(image)[0], image.truths))


def best_ious(image: Instances) -> list[float]:
    """Of each prediction the IoU with the object that it fits best; 0 without one."""
    return [float(each) for each in _ious(image.predictions, image.truths).max(1, initial=0.0)]


def _counted(image: Instances) -> tuple[list[Rle], list[str]]:
    """Predictions that are matched with the truth, and their classes."""
    return _there(image) if _overlap(image.truths) else _made_apart(image)


def _overlap(truths: Sequence[Rle]) -> bool:
    areas = sum(float(coco_mask.area(truth)) for truth in truths)
    return len(truths) > 1 and float(coco_mask.area(coco_mask.merge(list(truths)))) < areas


def _there(image: Instances) -> tuple[list[Rle], list[str]]:
    """Predictions as they are, but for empty ones."""
    pairs = zip(image.predictions, image.classes, strict=True)
    found = [(rle, name) for rle, name in pairs if coco_mask.area(rle)]
    return [rle for rle, _ in found], [name for _, name in found]


def _made_apart(image: Instances) -> tuple[list[Rle], list[str]]:
    """Predictions without common pixels; those that nothing is left of are gone."""
    order = np.argsort(-np.asarray(image.scores, np.float64), kind="stable")
    parts, names = [], []
    taken: NDArray[np.bool_] | None = None
    for index in order:
        mask = coco_mask.decode(image.predictions[index]).astype(np.bool_)
        taken = np.zeros_like(mask) if taken is None else taken
        mask &= ~taken
        taken |= mask
        if mask.any():
            parts.append(coco_mask.encode(np.asfortranarray(mask, np.uint8)))
            names.append(image.classes[index])
    return parts, names


def _ious(parts: Sequence[Rle], truths: Sequence[Rle]) -> NDArray[np.float64]:
    """(predictions, truths)."""
    if not parts or not truths:
        return np.zeros((len(parts), len(truths)))
    return np.asarray(coco_mask.iou(list(parts), list(truths), [0] * len(truths)))


def _matched(ious: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """IoUs of the pairs of a threshold or more, as many as there can be (one to one)."""
    rows, columns = linear_sum_assignment(-np.where(ious >= threshold, 1 + ious, 0))
    values = ious[rows, columns]
    return values[values >= threshold]


def _accuracy(ious: NDArray[np.float64]) -> float:
    """TP / (TP + FP + FN), the mean over thresholds."""
    if not sum(ious.shape):
        return 1.0
    hits = np.array([len(_matched(ious, threshold)) for threshold in THRESHOLDS])
    return float(np.mean(hits / (sum(ious.shape) - hits)))


def _panoptic(iou: float, pairs: float, found: float, there: float) -> tuple[float, float, float]:
    """PQ, SQ, RQ of one class."""
    recognition = pairs / ((found + there) / 2)
    quality = iou / pairs if pairs else 0.0
    return recognition * quality, quality, recognition

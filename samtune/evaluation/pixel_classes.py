"""Classes of pixels against the truth: confusion, Dice, IoU and outlines, over pixels and by image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.bars import bar
from samtune.data.label_maps import without_ignored
from samtune.data.source import Source
from samtune.evaluation.metrics.contour import contour_scores
from samtune.evaluation.statistics import bootstrap_interval, paired_difference
from samtune.heads.semantic import class_map
from samtune.inference.automatic.candidates import Candidate
from samtune.types import ImageArray, LabelArray

Counts = NDArray[np.int64]
# Distance between outlines that surface Dice forgives, pixels
TOLERANCE = 2.0
# (image, truth (H, W)) -> (H, W) numbers of classes
Mapper = Callable[[ImageArray, NDArray[np.int64]], LabelArray]


@dataclass(frozen=True)
class Mapped:
    """One image and how its pixels were taken for each other.

    Attributes:
        image_id, cluster: the image, and the patient or scene that it belongs to.
        confusion: by way, (classes, classes): truth by row, answer by column.
        outlines: by way, (classes, 2): boundary IoU and surface Dice; NaN for a class that is neither
            there nor found, and for background.
    """

    image_id: str
    cluster: str
    confusion: dict[str, Counts]
    outlines: dict[str, NDArray[np.float64]]


def map_classes(
    ways: Mapping[str, Mapper], source: Source, classes: Sequence[str], max_images: int = 0
) -> list[Mapped]:
    """Ask for the class of every pixel of whole images; what is ignored does not count.

    Raises:
        UserError: an image cannot be read.
    """
    mapped = []
    for index in bar(range(min(len(source), max_images or len(source))), "evaluate", "image"):
        sample, is_ignored = without_ignored(source.read(index))
        truth = class_map(sample.labels, sample.classes, classes)
        found = {name: mapper(sample.image, truth) for name, mapper in ways.items()}
        confusion = {
            name: _confusion(truth[~is_ignored], its[~is_ignored], classes)
            for name, its in found.items()
        }
        # what is ignored is background to both, so that it makes no difference
        shown = [np.where(is_ignored, 0, each) for each in (truth, *found.values())]
        outlines = {
            name: _outlines(shown[0], its, classes)
            for name, its in zip(found, shown[1:], strict=True)
        }
        group = sample.group or sample.image_id
        mapped.append(Mapped(sample.image_id, group, confusion, outlines))
    return mapped


def _outlines(
    truth: NDArray[Any], found: NDArray[Any], classes: Sequence[str]
) -> NDArray[np.float64]:
    scores = np.full((len(classes), 2), np.nan)
    for number in range(1, len(classes)):
        its, own = found == number, truth == number
        if its.any() or own.any():
            agreed = contour_scores(its, own, tolerance=TOLERANCE)
            scores[number] = agreed.boundary_iou, agreed.surface_dice
    return scores


def _confusion(truth: NDArray[Any], found: NDArray[Any], classes: Sequence[str]) -> Counts:
    count = len(classes)
    pairs = np.bincount(truth.astype(np.int64) * count + found, minlength=count * count)
    return np.asarray(pairs.reshape(count, count), np.int64)


def named_by_truth(search: Callable[[ImageArray], Sequence[Candidate]]) -> Mapper:
    """Masks without classes, each given that class of the truth which it covers most of.

    The best that masks of no class can come to: who uses them has to name them first. Where masks
    overlap the better one is seen.
    """

    def mapper(image: ImageArray, truth: NDArray[np.int64]) -> LabelArray:
        found = np.zeros(truth.shape, np.int32)
        for candidate in sorted(search(image), key=lambda one: one.predicted_iou):
            inside = candidate.cropped()
            most = int(np.bincount(truth[candidate.window][inside]).argmax())
            found[candidate.window][inside] = most
        return found

    return mapper


def dice_and_iou(confusion: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each class; NaN where it is neither there nor found."""
    hits = np.diag(confusion).astype(np.float64)
    there, found = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * hits / (there + found), hits / (there + found - hits)


def by_class(mapped: Sequence[Mapped], way: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each class: Dice and IoU over all pixels, and means over images that have it.

    Those of the outlines are boundary IoU and surface Dice; background has none.
    """
    total = np.sum([each.confusion[way] for each in mapped], axis=0)
    dice, iou = dice_and_iou(total)
    each_dice, each_iou = zip(*(dice_and_iou(each.confusion[way]) for each in mapped), strict=True)
    rows = []
    for number, name in enumerate(classes):
        ious = np.array([values[number] for values in each_iou])
        is_there = ~np.isnan(ious)
        dices = np.array([values[number] for values in each_dice])[is_there]
        outlines = np.array([each.outlines[way][number] for each in mapped])
        edges = outlines[~np.isnan(outlines[:, 0])]
        rows.append(
            {
                "by": way,
                "class": name,
                "Dice": _number(dice[number]),
                "IoU": _number(iou[number]),
                "Dice by image": float(dices.mean()) if len(dices) else None,
                "IoU by image": float(ious[is_there].mean()) if is_there.any() else None,
                "boundary IoU": float(edges[:, 0].mean()) if len(edges) else None,
                f"NSD ({TOLERANCE:g} px)": float(edges[:, 1].mean()) if len(edges) else None,
                "pixels": int(total[number].sum()),
                "images": int(is_there.sum()),
            }
        )
    return rows


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def image_ious(mapped: Sequence[Mapped], way: str) -> NDArray[np.float64]:
    """(N,) mean IoU of each image over the classes, without background, that are there or found.

    1 of an image in which nothing is and nothing was found.
    """
    found = [dice_and_iou(each.confusion[way])[1][1:] for each in mapped]
    means = [np.nanmean(values) if not np.isnan(values).all() else 1.0 for values in found]
    return np.array(means, np.float64)


def summarise(mapped: Sequence[Mapped], way: str, seed: int) -> dict[str, Any]:
    """Mean IoU over classes (pixels of all images together; without background), by image, interval."""
    total = np.sum([each.confusion[way] for each in mapped], axis=0)
    iou = dice_and_iou(total)[1][1:]
    ious = image_ious(mapped, way)
    return {
        "miou": 1.0 if np.isnan(iou).all() else float(np.nanmean(iou)),
        "miou_by_image": float(ious.mean()),
        "ci95": bootstrap_interval(ious, np.array([each.cluster for each in mapped]), seed),
        "accuracy": float(np.trace(total) / max(1, total.sum())),
        "confusion": total.tolist(),
        "num_images": len(mapped),
    }


def difference(mapped: Sequence[Mapped], one: str, other: str, seed: int) -> dict[str, Any]:
    """Mean IoU by image of one way less that of the other: mean, interval, p (Wilcoxon)."""
    deltas = image_ious(mapped, one) - image_ious(mapped, other)
    found = paired_difference(deltas, np.array([each.cluster for each in mapped]), seed)
    return {"mean": found.mean, "ci95": found.ci95, "p": found.p}

"""What each mask of an image is: by the class head, or by a classifier of one's own."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samtune.bars import bar
from samtune.data.label_maps import without_ignored
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import Source
from samtune.heads.classes import ClassHead
from samtune.inference.automatic.candidates import Candidate
from samtune.inference.classifier import Classify, classify
from samtune.inference.fitting import fitting_side
from samtune.inference.head_maps import find_head, maps_of
from samtune.models.backend import Sam
from samtune.types import FloatArray, ImageArray, MaskArray


class MaskNamer:
    """Gives masks their classes by the head `classes`.

    Args:
        sam: with that head.

    Raises:
        UserError: it has none.
    """

    def __init__(self, sam: Sam) -> None:
        self.sam = sam
        self.head = find_head(sam, ClassHead.name)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.head.classes)

    def maps(self, image: ImageArray, masks: Sequence[MaskArray]) -> FloatArray:
        """What each pixel of an image (stretched already) says for each class, (classes, H, W).

        Views are as large as the masks (H, W) want it.

        Raises:
            UserError: the model answers with NaN.
        """
        sides = [math.sqrt(area) for mask in masks if (area := int(np.count_nonzero(mask)))]
        tile = fitting_side(self.sam, self.head, float(np.median(sides)) if sides else 0.0)
        return maps_of(self.sam, self.head, image, tile)

    def name(self, image: ImageArray, masks: Sequence[MaskArray]) -> NDArray[np.float64]:
        """Probabilities (K, classes) of K masks (H, W) of an image, stretched already."""
        if not masks:  # no need to look
            return np.zeros((0, len(self.classes)))
        probabilities: NDArray[np.float64] = self.head.probabilities(self.maps(image, masks), masks)
        return probabilities


def named_by_head(sam: Sam, image: ImageArray, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Masks of an image (stretched already) with the likeliest class of each."""
    namer = MaskNamer(sam)
    told = namer.name(image, [each.mask() for each in candidates])
    return [
        replace(each, class_name=namer.classes[int(row.argmax())], class_score=float(row.max()))
        for each, row in zip(candidates, told, strict=True)
    ]


def named_by_classifier(
    classifier: Classify, image: ImageArray, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """The same by a classifier of one's own.

    Raises:
        UserError: it answers with something else than classes.
    """
    told = classify(classifier, image, [each.mask() for each in candidates])
    best = [max(each.items(), key=lambda pair: pair[1]) for each in told]
    return [
        replace(each, class_name=name, class_score=float(score))
        for each, (name, score) in zip(candidates, best, strict=True)
    ]


@dataclass(frozen=True)
class NamedObject:
    """A true object, and what a head says of its mask.

    Attributes:
        image_id, object_id: which one.
        cluster: the patient or scene that the image belongs to.
        told: (classes,) probabilities.
        kind: its true class, from 0.
    """

    image_id: str
    object_id: int
    cluster: str
    told: NDArray[np.float64]
    kind: int


def named_objects(namer: MaskNamer, source: Source, min_area: int) -> Iterator[NamedObject]:
    """All objects of a source that have a class which the head knows, image by image.

    Raises:
        UserError: an image cannot be read.
    """
    numbers = {name: number for number, name in enumerate(namer.classes)}
    for index in bar(range(len(source)), "naming objects", "image"):
        sample, _ = without_ignored(source.read(index))
        kinds = {n: numbers[name] for n, name in sample.classes.items() if name in numbers}
        places = [p for p in find_objects(sample.labels, min_area) if p.object_id in kinds]
        masks = [object_mask(sample.labels, place) for place in places]
        for place, told in zip(places, namer.name(sample.image, masks), strict=True):
            group = sample.group or sample.image_id
            yield NamedObject(sample.image_id, place.object_id, group, told, kinds[place.object_id])

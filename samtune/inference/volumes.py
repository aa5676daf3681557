"""Segmenting a volume: one prompted slice carried through its neighbours, until a rule says stop."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.preprocess import resize_to_frame
from samtune.data.volume_slices import SliceStack
from samtune.errors import UserError
from samtune.geometry import mask_to_box, mask_to_rle
from samtune.inference.contrast import contrast, contrast_left
from samtune.inference.predictor import SamPredictor
from samtune.types import FloatArray, MaskArray, Prompt

Rle = dict[str, Any]
# Slices by number -> COCO run lengths, of one object.
Masks = dict[int, Rle]
Progress = Callable[[range], Iterable[int]]


@dataclass(frozen=True)
class Seed:
    """An object with its prompt on one slice.

    Attributes:
        object_id: its value among the labels, from 1.
        name: for people.
        number: of the slice, from 0.
        prompt: pixels of the slice as seen.
    """

    object_id: int
    name: str
    number: int
    prompt: Prompt


@dataclass(frozen=True)
class Answer:
    """What the model says of one object on one slice.

    Attributes:
        mask: (H, W) boolean, as seen.
        score: the IoU that it expects.
        logits: (h, w), input frame.
        is_there: whether it finds an object at all.
    """

    mask: MaskArray
    score: float
    logits: NDArray[np.float32]
    is_there: bool


@dataclass(frozen=True)
class StopRule:
    """When an object has come to its end: the first slice that breaks a rule is not of it.

    A model that is given a box finds something in it, also where the object is no more, expects much
    of it and goes on for long: what told the end in MR (README) is that the object no longer stands
    out from what is around it. The expected IoU did not, and its scale is each model's own.

    Attributes:
        min_contrast: what is left of the contrast on the prompted slice is at least this share; 0
            does not look at it.
        min_score: the IoU that the model expects is at least this.
        max_change: the area grows or shrinks by this factor at most, from a slice to the next.
        min_overlap: IoU with the mask of the slice before is at least this.
    """

    min_contrast: float = 0.3
    min_score: float = 0.0
    max_change: float = 3.0
    min_overlap: float = 0.2

    def reason(self, before: MaskArray, answer: Answer, contrast_left: float) -> str:
        """Why to stop in front of an answer; empty to go on."""
        areas = np.count_nonzero(before), np.count_nonzero(answer.mask)
        if not answer.is_there or not areas[1]:
            return "nothing found"
        if self.min_contrast > 0 and contrast_left < self.min_contrast:
            return f"contrast {contrast_left:.2f} of that prompted, below {self.min_contrast:g}"
        if answer.score < self.min_score:
            return f"expected IoU {answer.score:.2f} below {self.min_score:g}"
        if max(areas) > self.max_change * min(areas):
            return f"area from {areas[0]} to {areas[1]} pixels, beyond {self.max_change:g} times"
        common = np.count_nonzero(before & answer.mask)
        overlap = common / (sum(areas) - common)
        if overlap < self.min_overlap:
            return f"overlap {overlap:.2f} with the slice before, below {self.min_overlap:g}"
        return ""


@dataclass
class VolumeObject:
    """One object of a volume.

    Attributes:
        object_id: its value among the labels, from 1.
        name: for people.
        masks: slices of it that are not empty.
        scores: slice -> the IoU that the model expects.
        stops: `up` and `down` -> the slice that was refused and why.
    """

    object_id: int
    name: str
    masks: Masks = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    stops: dict[str, str] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """Mean of the expected IoU over the slices that it is on; `None` where it is on none."""
        return fmean(self.scores[number] for number in self.masks) if self.masks else None

    def add(self, number: int, answer: Answer) -> None:
        """Take a slice's mask, unless it is empty."""
        if answer.mask.any():
            self.masks[number] = mask_to_rle(answer.mask)
            self.scores[number] = answer.score


@dataclass(frozen=True)
class _Track:
    """An object on its way: how it stood out on the prompted slice, and its last mask."""

    found: VolumeObject
    contrast: float
    answer: Answer


class Carrier:
    """Carries objects through a volume; one slice's embedding is held at a time.

    Every slice is encoded once for each direction, whatever the number of objects.

    Args:
        predictor: of the model.
        stack: the volume.
        rule: when to stop.
        growth: share of its size that the box of a mask grows to every side for the next slice.
    """

    GROWTH = 0.05

    def __init__(
        self, predictor: SamPredictor, stack: SliceStack, rule: StopRule, growth: float = GROWTH
    ) -> None:
        self.predictor, self.stack = predictor, stack
        self.rule, self.growth = rule, growth

    def carry(self, seeds: list[Seed], progress: Progress = iter) -> list[VolumeObject]:
        """Segment each object on its own slice, then up and down from there.

        Args:
            seeds: objects with their prompts.
            progress: wraps the numbers of the slices that are gone through, in each direction.

        Raises:
            UserError: a prompt lies outside its slice, or a slice outside the volume, or the model
                answers with NaN.
        """
        for seed in seeds:
            require_inside(seed, self.stack)
        objects = [VolumeObject(seed.object_id, seed.name) for seed in seeds]
        starts: dict[int, list[_Track]] = {}
        is_multi = self.predictor.model.with_multimask
        for number in sorted({seed.number for seed in seeds}):
            grey = self._look_at(number)
            for seed, found in zip(seeds, objects, strict=True):
                if seed.number == number:
                    answer = best(self._answers(seed.prompt, is_multi and seed.prompt.is_single))
                    found.add(number, answer)
                    track = _Track(found, contrast(grey, answer.mask), answer)
                    starts.setdefault(number, []).append(track)
        for step, way in ((1, "up"), (-1, "down")):
            self._sweep(starts, step, way, progress)
        return objects

    def _sweep(
        self, starts: dict[int, list[_Track]], step: int, way: str, progress: Progress
    ) -> None:
        """Follow all objects in one direction, each from its own slice on."""
        numbers = range(min(starts) + 1, len(self.stack))
        if step < 0:
            numbers = range(max(starts) - 1, -1, -1)
        active: list[_Track] = []
        for number in progress(numbers):
            active += starts.get(number - step, [])
            if active:
                grey = self._look_at(number)
                followed = [self._follow(track, grey, number, way) for track in active]
                active = [track for track in followed if track is not None]
        for track in active + starts.get(numbers.stop - step, []):
            track.found.stops[way] = "the volume ends"

    def _follow(
        self, track: _Track, grey: NDArray[np.uint8], number: int, way: str
    ) -> _Track | None:
        """The object on the next slice; `None` where it ends."""
        before = track.answer
        prompt = self.next_prompt(before)
        if prompt is None:
            track.found.stops[way] = "nothing found on the prompted slice"
            return None
        # which of the two is better depends on how the model was tuned, and it knows
        kinds = (False, True) if self.predictor.model.with_multimask else (False,)
        answer = best([each for kind in kinds for each in self._answers(prompt, kind)])
        left = contrast_left(contrast(grey, answer.mask), track.contrast)
        if reason := self.rule.reason(before.mask, answer, left):
            track.found.stops[way] = f"slice {number}: {reason}"
            return None
        track.found.add(number, answer)
        return replace(track, answer=answer)

    def _look_at(self, number: int) -> NDArray[np.uint8]:
        """Encode a slice as in training: intensities are mapped, nothing else stretches it.

        Returns:
            The slice itself, (H, W), without its neighbours.
        """
        picture = self.stack.picture(number)
        values = resize_to_frame(picture, self.predictor.model.frame)[None]
        self.predictor.set_torch_image(values.to(self.predictor.device), picture.shape[:2])
        return picture[..., 1]

    def next_prompt(self, before: Answer) -> Prompt | None:
        """The box of a mask, grown, with its logits as mask prompt; `None` of an empty mask."""
        box = mask_to_box(before.mask)
        if box is None:
            return None
        return Prompt(box_xyxy=grow(box, self.growth, before.mask.shape), mask_input=before.logits)

    def _answers(self, prompt: Prompt, with_multimask: bool) -> list[Answer]:
        """What the model says to a prompt: three masks, or one."""
        masks, scores, logits = self.predictor.predict(
            prompt.point_coords, prompt.point_labels, prompt.box_xyxy,
            None if prompt.mask_input is None else prompt.mask_input[None],
            multimask_output=with_multimask,
        )  # fmt: skip
        if not np.isfinite(scores).all():
            raise UserError(
                "the model answers with NaN: its training has diverged (tune again with a lower "
                "learning rate, or without 16-bit precision)"
            )
        there = self.predictor.object_logits
        is_there = there is None or float(there[0]) > 0
        return [
            Answer(mask, float(score), own, is_there)
            for mask, score, own in zip(masks, scores, logits, strict=True)
        ]


def best(answers: list[Answer]) -> Answer:
    """The one that the model itself rates best."""
    return max(answers, key=lambda answer: answer.score)


def grow(box: FloatArray, share: float, hw: tuple[int, ...]) -> FloatArray:
    """A box (4,) xyxy with `share` of its sides, and a pixel at least, more on every side."""
    width, height = np.maximum(1, np.round((box[2:] - box[:2] + 1) * share))
    x0, y0, x1, y1 = box + np.array([-width, -height, width, height])
    return np.array([max(x0, 0), max(y0, 0), min(x1, hw[1] - 1), min(y1, hw[0] - 1)], np.float32)


def require_inside(seed: Seed, stack: SliceStack) -> None:
    """Refuse a prompt that lies outside.

    Raises:
        UserError: the slice or a coordinate is not of the volume.
    """
    if not 0 <= seed.number < len(stack):
        raise UserError(
            f"{seed.name}: there is no slice {seed.number}: the volume has 0 to {len(stack) - 1}"
        )
    height, width = stack.hw
    for x, y in _corners(seed.prompt):
        if not (-0.5 <= x <= width and -0.5 <= y <= height):
            raise UserError(
                f"{seed.name}: the prompt {x:g},{y:g} lies outside slice {seed.number} "
                f"({width}x{height} pixels)"
            )


def _corners(prompt: Prompt) -> Iterator[list[float]]:
    for part in (prompt.box_xyxy, prompt.point_coords):
        if part is not None:
            yield from part.reshape(-1, 2).tolist()

"""Segmenting a volume: one prompted slice carried through its neighbours, until a rule says stop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.slices import SliceStack
from samtune.errors import UserError
from samtune.geometry import logits_to_window
from samtune.images.intensity import require_values
from samtune.inference.views import ImageViews, ask_in_views
from samtune.inference.volumes.rule import SliceAnswer, StopRule
from samtune.masks import mask_to_box, mask_to_rle
from samtune.models.backend import Sam
from samtune.types import FloatArray, MaskArray, Prompt, Window

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

    def add(self, number: int, answer: SliceAnswer) -> None:
        """Take a slice's mask, unless it is empty."""
        if answer.mask.any():
            self.masks[number] = mask_to_rle(answer.mask)
            self.scores[number] = answer.score


@dataclass(frozen=True)
class _Track:
    """An object on its way: how it stood out on the prompted slice, and its last mask."""

    found: VolumeObject
    contrast: float
    answer: SliceAnswer


class Carrier:
    """Carries objects through a volume; one slice's embedding is held at a time.

    A slice, or a window of it, is encoded once for each direction, whatever the number of objects.

    Args:
        sam: the model.
        stack: the volume.
        rule: when to stop.
        growth: share of its size that the box of a mask grows to every side for the next slice.
        with_focus: small objects are looked at in a window around them.
    """

    GROWTH = 0.05

    def __init__(
        self, sam: Sam, stack: SliceStack, rule: StopRule, growth: float = GROWTH,
        with_focus: bool = True,
    ) -> None:  # fmt: skip
        self.sam, self.stack = sam, stack
        self.rule, self.growth, self.with_focus = rule, growth, with_focus
        self._views: ImageViews

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
        for number in sorted({seed.number for seed in seeds}):
            grey = self._look_at(number)
            for seed, found in zip(seeds, objects, strict=True):
                if seed.number == number:
                    answer = self._ask(seed.prompt)
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
        # one mask or three: which is better depends on how the model was tuned, and it knows
        kinds = (False, True) if self.sam.with_multimask else (False,)
        answers = (self._ask(prompt, before.window, kind) for kind in kinds)
        answer = max(answers, key=lambda each: each.score)
        left = contrast_left(contrast(grey, answer.mask), track.contrast)
        if reason := self.rule.reason(before.mask, answer, left):
            track.found.stops[way] = f"slice {number}: {reason}"
            return None
        track.found.add(number, answer)
        return replace(track, answer=answer)

    def _look_at(self, number: int) -> NDArray[np.uint8]:
        """Show a slice as in training: intensities are mapped, nothing else stretches it.

        Returns:
            The slice itself, (H, W), without its neighbours.
        """
        picture = self.stack.picture(number)
        self._views = ImageViews(picture, self.sam, with_focus=self.with_focus)
        return picture[..., 1]

    def next_prompt(self, before: SliceAnswer) -> Prompt | None:
        """The box of a mask, grown, with its logits as mask prompt; `None` of an empty mask."""
        box = mask_to_box(before.mask)
        if box is None:
            return None
        return Prompt(box_xyxy=grow(box, self.growth, before.mask.shape), mask_input=before.logits)

    def _ask(
        self, prompt: Prompt, seen: Window | None = None, is_single: bool | None = None
    ) -> SliceAnswer:
        """The model's answer on the slice that it looks at; a mask prompt is of the window `seen`."""
        views, windows = self._views, None
        if prompt.mask_input is not None and seen is not None:
            windows = [views.first(replace(prompt, mask_input=None))]
            logits = logits_to_window(prompt.mask_input, seen, windows[0], self.sam.frame)
            prompt = replace(prompt, mask_input=logits)
        (viewed,) = ask_in_views(self.sam, views, [prompt], windows, is_single=is_single)
        (mask,), answer = viewed.masks(self.sam), viewed.answer
        logits = answer.logits[0].cpu().numpy()
        return SliceAnswer(
            mask, float(answer.scores[0]), logits, answer.has_object[0], viewed.window
        )


def grow(box: FloatArray, share: float, hw: tuple[int, ...]) -> FloatArray:
    """A box (4,) xyxy with `share` of its sides, and a pixel at least, more on every side."""
    width, height = np.maximum(1, np.round((box[2:] - box[:2] + 1) * share))
    x0, y0, x1, y1 = box + np.array([-width, -height, width, height])
    return np.array([max(x0, 0), max(y0, 0), min(x1, hw[1] - 1), min(y1, hw[0] - 1)], np.float32)


def require_inside(seed: Seed, stack: SliceStack) -> None:
    """Refuse a prompt that lies outside, or where the volume has no values.

    Raises:
        UserError: the slice or a coordinate is not of the volume, or the slice is NaN throughout.
    """
    if not 0 <= seed.number < len(stack):
        raise UserError(
            f"{seed.name}: there is no slice {seed.number}: the volume has 0 to {len(stack) - 1}"
        )
    seed.prompt.require_inside(stack.hw, f"slice {seed.number} of {seed.name}")
    require_values(stack.values(seed.number), f"{seed.name}: slice {seed.number} of the volume")


# Width of the ring around an object, as a share of the root of its area.
_RING = 0.25
# Grey values of 255; an object that stands out by less is told by something else than its grey.
_FAINT = 4.0


def contrast(grey: NDArray[np.uint8], mask: MaskArray) -> float:
    """Median of an object less that of a ring around it, in grey values; 0 without object or ring.

    Args:
        grey: (H, W).
        mask: (H, W).
    """
    box = mask_to_box(mask)
    if box is None:
        return 0.0
    width = max(2, round(_RING * float(np.sqrt(np.count_nonzero(mask)))))
    x0, y0 = np.maximum(box[:2].astype(int) - width, 0)
    x1, y1 = box[2:].astype(int) + width + 1
    inside, values = mask[y0:y1, x0:x1], grey[y0:y1, x0:x1]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    ring = (cv2.dilate(inside.astype(np.uint8), disc) > 0) & ~inside
    if not ring.any():
        return 0.0
    return float(np.median(values[inside]) - np.median(values[ring]))


def contrast_left(now: float, prompted: float) -> float:
    """Share of the prompted slice's contrast that is left; 1 where there was none to speak of."""
    return 1.0 if abs(prompted) < _FAINT else now / prompted

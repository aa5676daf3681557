"""Base and tuned asked side by side: the masks that a person compares, with what is expected of each.

What a user gets for a prompt is decided by `inference.ask` and `inference.views`, here as everywhere:
masks are those of `SamPredictor` and of `samtune predict`.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samtune.data.volumes.slices import SliceStack
from samtune.errors import UserError
from samtune.evaluation.contestants import BASE, TUNED, Contestants
from samtune.inference.certainty import certainty
from samtune.inference.prelabel.placed_mask import PlacedMask, placed_iou
from samtune.inference.settings import Focus
from samtune.inference.views import ImageViews, Viewed, ask_in_views
from samtune.inference.volumes.carrying import Carrier, Seed
from samtune.inference.volumes.rule import StopRule
from samtune.models.backend import Sam
from samtune.models.strength import TunedScale, can_be_scaled
from samtune.page.state import Accepted, By
from samtune.page.suggesting import find_everything
from samtune.page.truth import iou_with
from samtune.types import ImageArray, MaskArray, Prompt

# Images whose embeddings are kept, by both contestants.
_KEPT = 5
# Points along a side of the grid that is asked of an image to learn how doubtful it is.
_GRID = 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that a contestant offers.

    Attributes:
        mask: original frame.
        score: the IoU that is expected of it, calibrated where the model has a calibration.
        iou: with the truth; `None` where nobody knows it.
        certainty: of its pixels, see `certainty`; `None` where it was not asked for, or is not known.
    """

    mask: PlacedMask
    score: float
    iou: float | None = None
    certainty: float | None = None


@dataclass(frozen=True, eq=False)
class Offer:
    """What a contestant says to a prompt.

    Attributes:
        candidates: three masks for a single click or box, one for more.
        best: place of the one that counts.
        agreement: mean IoU of the best one with the others; `None` where there is one alone.
    """

    candidates: list[Candidate]
    best: int

    @property
    def agreement(self) -> float | None:
        chosen = self.candidates[self.best].mask
        others = [each.mask for each in self.candidates if each.mask is not chosen]
        if not others:
            return None
        return float(np.mean([placed_iou(chosen, other) for other in others]))


class Answering:
    """A network and its base, and what was encoded for them.

    One thread at a time may ask.

    Args:
        sam: the network.
        is_tuned: it has a base.
        focus: `auto` looks at small objects in a window around them.
        tile: side of the windows in which clicks are looked at first; 0 is the whole image.
        with_base: the base is asked too, where there is one.

    Attributes:
        names: of the contestants: base and tuned, or one of them alone.
    """

    def __init__(
        self, sam: Sam, is_tuned: bool, focus: Focus = "auto", tile: int = 0,
        with_base: bool = True,
    ) -> None:  # fmt: skip
        self.sam, self.with_focus, self.tile = sam, focus == "auto", tile
        self._contestants = Contestants(sam, is_tuned, with_base)
        self.names = self._contestants.names
        self._scale: TunedScale | None = None
        if len(self.names) > 1 and can_be_scaled(sam):
            with self._contestants.playing(BASE) as base:
                self._scale = TunedScale(sam, base)
        self._strength = 1.0
        self._views: OrderedDict[tuple[int, float], dict[str, ImageViews]] = OrderedDict()

    @property
    def can_be_scaled(self) -> bool:
        """Whether the adapter can be applied more or less strongly."""
        return self._scale is not None

    @property
    def notes(self) -> list[str]:
        """What to know of the model before its masks are trusted."""
        notes = []
        if self.sam.is_better is False:
            how = " with prompts" if self.sam.heads else ""
            notes.append(f"this model was not shown to be better than its base{how}")
        if self.sam.base.is_random:
            notes.append("the weights of its base are random: its masks mean nothing")
        return notes

    def set_strength(self, strength: float) -> None:
        """How strongly the adapter is applied from now on: 0 is the base, 1 as it was tuned.

        Raises:
            UserError: it has no strengths.
        """
        if strength == self._strength:
            return
        if self._scale is None:
            raise UserError("this model has no strengths between its base and itself")
        self._scale.set(strength)
        self._strength = strength

    def encode(self, index: int, image: ImageArray) -> bool:
        """Encode the whole of an image for both contestants, which is what a click is answered from.

        Returns:
            Whether there was anything to do.
        """
        is_known = (index, self._strength) in self._views
        for views in self._views_of(index, image).values():
            views.features([views.whole])
        return not is_known

    def glance(
        self, index: int, image: ImageArray, prompt: Prompt, truth: MaskArray | None = None
    ) -> tuple[dict[str, Offer], bool]:
        """What each contestant says at once, in a view that is encoded already.

        A small object may be worth a closer look, which `ask` takes.

        Args:
            index, image, prompt, truth: see `ask`.

        Returns:
            The offers, and whether `ask` would say the same.
        """
        views, found, is_all = self._views_of(index, image), {}, True
        for name in self.names:
            its = views[name]
            window = its.encoded_for(prompt)
            with self._contestants.playing(name) as sam:
                is_calibrated = self._is_calibrated(name)
                (viewed,) = ask_in_views(sam, its, [prompt], [window], is_calibrated=is_calibrated)
                found[name] = offer = self._offer(sam, viewed, name, truth)
            box = offer.candidates[offer.best].mask.box
            is_all &= window == its.first(prompt) and its.next(prompt, box, window) is None
        return found, is_all

    def ask(
        self, index: int, image: ImageArray, prompt: Prompt, truth: MaskArray | None = None
    ) -> dict[str, Offer]:
        """What each contestant says to a prompt, in the view that fits its object.

        Args:
            index: of the image, by which its embeddings are kept.
            image: (H, W, 3), as the network is to see it.
            prompt: original frame.
            truth: (H, W) of the object that is meant, where it is known.

        Raises:
            UserError: the network answers with NaN.
        """
        views, found = self._views_of(index, image), {}
        for name in self.names:
            with self._contestants.playing(name) as sam:
                is_calibrated = self._is_calibrated(name)
                (viewed,) = ask_in_views(sam, views[name], [prompt], is_calibrated=is_calibrated)
                found[name] = self._offer(sam, viewed, name, truth)
        return found

    def find_everything(
        self, image: ImageArray, name: str, known: Iterable[Accepted]
    ) -> tuple[Accepted, ...]:
        """What the tuned model finds in an image besides what is known; see `suggesting`."""
        self.set_strength(1.0)
        by: By = "tuned" if TUNED in self.names else "base"
        return find_everything(self.sam, image, self.tile, by, name, known)

    def carry(
        self, stack: SliceStack, number: int, prompt: Prompt
    ) -> dict[int, tuple[dict[str, Any], float]]:
        """An object through the slices of a volume: run lengths and expected IoU by slice.

        Args:
            stack: the volume.
            number: of the slice that the prompt is on.
            prompt: pixels of that slice.

        Raises:
            UserError: the network answers with NaN.
        """
        self.set_strength(1.0)
        carrier = Carrier(self.sam, stack, StopRule(), with_focus=self.with_focus)
        (found,) = carrier.carry([Seed(1, "1", number, prompt)])
        return {place: (rle, found.scores[place]) for place, rle in found.masks.items()}

    def doubt(self, index: int, image: ImageArray) -> float:
        """How doubtful the answers on an image are, 0 to 1: mean over a grid of clicks.

        A click is the more doubtful the lower the expected IoU, the less certain the mask's pixels, the
        more the candidates differ, and the more base and tuned do.
        """
        grid = _grid_of((image.shape[0], image.shape[1]))
        views = self._views_of(index, image)
        by_name: dict[str, list[Offer]] = {}
        for name in self.names:
            with self._contestants.playing(name) as sam:
                places = [views[name].first(prompt) for prompt in grid]
                offers: dict[int, Offer] = {}
                for viewed in ask_in_views(
                    sam, views[name], grid, places, is_calibrated=self._is_calibrated(name)
                ):
                    for row, place in enumerate(viewed.answer.indices):
                        one = viewed.rows([row])
                        offers[place] = self._offer(sam, one, name, None, with_certainty=True)
                by_name[name] = [offers[place] for place in range(len(grid))]
        return float(np.mean([_doubt_of(offers) for offers in zip(*by_name.values(), strict=True)]))

    def _offer(
        self, sam: Sam, viewed: Viewed, name: str, truth: MaskArray | None,
        with_certainty: bool = False,
    ) -> Offer:  # fmt: skip
        """What a contestant says; certainty is for doubt, and a click would wait for it."""
        answer, window = viewed.answer, viewed.window
        scores = answer.candidates.iou_scores[0].float()
        if sam.calibration is not None and self._is_calibrated(name):
            scores = sam.calibration(scores)
        (full,) = viewed.full_logits(sam, with_all=True)
        masks = (full[0] > sam.mask_threshold).cpu().numpy()
        candidates = []
        sure = certainty(sam, full[0]) if with_certainty else [None] * len(masks)
        for mask, score, own in zip(masks, scores.tolist(), sure, strict=True):
            placed = PlacedMask.of(mask, window.y, window.x)
            iou = None if truth is None else iou_with(placed, truth)
            candidates.append(Candidate(placed, score, iou, own))
        return Offer(candidates, int(answer.best[0]))

    def _is_calibrated(self, name: str) -> bool:
        """A calibration is of the tuned model's scores, not of its base's."""
        return name == TUNED or TUNED not in self.names

    def _views_of(self, index: int, image: ImageArray) -> dict[str, ImageViews]:
        """How both look at an image; what does not depend on the strength is kept beyond it."""
        key = (index, self._strength)
        if key not in self._views:
            made = self._contestants.views(image, self.tile, self.with_focus)
            other = next((v for (known, _), v in self._views.items() if known == index), None)
            if other is not None:
                made[BASE] = other[BASE]
            self._views[key] = made
        self._views.move_to_end(key)
        while len(self._views) > _KEPT:
            self._views.popitem(last=False)
        return self._views[key]


def _doubt_of(offers: Sequence[Offer]) -> float:
    """Of one click; the last offer is that of the tuned model, where there is one."""
    last = offers[-1]
    chosen = last.candidates[last.best]
    parts = [1 - min(1.0, max(0.0, chosen.score))]
    if chosen.certainty is not None:
        parts.append(1 - chosen.certainty)
    if last.agreement is not None:
        parts.append(1 - last.agreement)
    if len(offers) > 1:
        first, second = (each.candidates[each.best].mask for each in offers)
        parts.append(1 - placed_iou(first, second))
    return float(np.mean(parts))


def _grid_of(hw: tuple[int, int]) -> list[Prompt]:
    """Clicks all over an image."""
    shares = (np.arange(_GRID) + 0.5) / _GRID
    return [
        Prompt(np.array([[x * hw[1], y * hw[0]]], np.float32), np.ones(1, np.int64))
        for y in shares
        for x in shares
    ]

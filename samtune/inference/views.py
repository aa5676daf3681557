"""Views: the window of an image in which a prompt is answered.

An object that is small in the input is seen by a few tokens and drawn with a few cells. So a prompt
for such an object is answered in a window around it (focus): a box in one that is some times its size;
a point first in the view that the model's images had in training (`Reading.tile`), and then, where what
was found there is small, in a window around that. `samtune.windows` says which windows there are. Masks
come back in the frame of the image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samtune.geometry import (
    logits_to_original,
    logits_to_window,
    prompt_to_input,
    prompt_to_window,
)
from samtune.images.preprocess import to_pixel_values
from samtune.inference.ask import Answer, ask
from samtune.masks import mask_to_box
from samtune.models.backend import Sam
from samtune.types import Features, FloatArray, ImageArray, MaskArray, Prompt, Window
from samtune.windows import FOUND, GIVEN, Closeness, closer_window, middle, window_near

# Looks at a point's object after the first one.
MORE_LOOKS = 2
# Windows whose features are kept, and windows that are encoded together.
_KEPT, _TOGETHER = 64, 8
# Masks that are brought to the resolution of their window at once, and their pixels
_MASKS, _PIXELS = 16, 2**24

Encode = Callable[[Sequence[Window], Tensor], Features]


class ImageViews:
    """One image and the windows in which it is looked at.

    Args:
        image: (H, W, 3), as the network is to see it.
        sam: whose input it becomes.
        tile: side of the windows in which what has no box is looked at first; 0 is the whole image.
        with_focus: small objects are looked at in a window around them.
        encode: makes features of windows and their pixel values (B, 3, S, S); `None` is `sam.encode`.
        with_sharpening: masks are sharpened, where the model does that.
    """

    def __init__(
        self, image: ImageArray, sam: Sam, tile: int = 0, with_focus: bool = True,
        encode: Encode | None = None, with_sharpening: bool = True,
    ) -> None:  # fmt: skip
        self.with_sharpening = with_sharpening
        self.image, self.sam, self.tile, self.with_focus = image, sam, tile, with_focus
        self.hw = (image.shape[0], image.shape[1])
        self.whole = Window(0, 0, *self.hw)
        self._encode = encode or (lambda windows, values: sam.encode(values))
        self._features: dict[Window, Features] = {}

    def first(self, prompt: Prompt) -> Window:
        """Where a prompt (original frame) is answered first. A mask prompt is of the whole image."""
        if prompt.mask_input is not None:
            return self.whole
        box = extent(prompt)
        view = self._tile_at(box) if self.tile else self.whole
        if prompt.box_xyxy is None or not self.with_focus:
            return view
        return self._around(box, view, GIVEN) or view

    def next(self, prompt: Prompt, found: FloatArray | None, seen: Window) -> Window | None:
        """Where to look again at the object of a point; `None` where nothing is gained.

        Args:
            prompt: original frame.
            found: box of the mask that was found, original frame; `None` of an empty one.
            seen: the window that it was found in.
        """
        if prompt.box_xyxy is not None or prompt.mask_input is not None or found is None:
            return None
        together = _joined(found, extent(prompt))
        if self._is_cut(found, seen):
            wider = window_near(middle(together), 2 * max(seen.hw), self.hw)
            return wider if wider != seen and wider.holds(extent(prompt)) else None
        return self._around(together, seen, FOUND) if self.with_focus else None

    def widened(self, prompt: Prompt, seen: Window) -> Window:
        """The window of a prompt that has grown by clicks: another where they lie outside."""
        box = extent(prompt)
        if seen.holds(box):
            return seen
        side = int(1.25 * max(box[2] - box[0], box[3] - box[1]) + 1)
        wider = window_near(middle(box), max(2 * max(seen.hw), 2 * side), self.hw)
        return wider if wider.holds(box) else self.whole

    def encoded_for(self, prompt: Prompt) -> Window:
        """Of the windows that are encoded and hold a prompt, that of its answer or else the closest.

        The whole image where there is none.
        """
        first, box = self.first(prompt), extent(prompt)
        if first in self._features:
            return first
        holding = [window for window in self._features if window.holds(box)]
        return min(holding, key=lambda window: max(window.hw), default=self.whole)

    @torch.no_grad()
    def features(self, windows: Sequence[Window]) -> list[Features]:
        """Image embeddings (1, ...) of windows, encoded together; those of the last ones are kept."""
        missing = [window for window in dict.fromkeys(windows) if window not in self._features]
        if missing:
            pixels = [to_pixel_values(self.image[each.slices], self.sam.frame) for each in missing]
            made = self._encode(missing, torch.stack(pixels).to(self.sam.device))
            for number, window in enumerate(missing):
                self._features[window] = made[number : number + 1]
        found = [self._features[window] for window in windows]
        for window, features in zip(windows, found, strict=True):  # the newest stand last
            del self._features[window]
            self._features[window] = features
        while len(self._features) > _KEPT:
            del self._features[next(iter(self._features))]
        return found

    def _tile_at(self, box: FloatArray) -> Window:
        """A window of the training's size; what reaches out of it is looked at in the whole image."""
        view = window_near(middle(box), self.tile, self.hw)
        return view if view.holds(box) else self.whole

    def _around(self, box: FloatArray, seen: Window, closeness: Closeness) -> Window | None:
        return closer_window(box, seen, self.hw, self.sam.mask_side // 4, closeness)

    def _is_cut(self, box: FloatArray, seen: Window) -> bool:
        """Whether an object reaches an edge of its window that is not one of the image."""
        x0, y0, x1, y1 = box
        return bool(
            (x0 <= seen.x and seen.x > 0)
            or (y0 <= seen.y and seen.y > 0)
            or (x1 >= seen.x + seen.width - 1 and seen.x + seen.width < self.hw[1])
            or (y1 >= seen.y + seen.height - 1 and seen.y + seen.height < self.hw[0])
        )


@dataclass(frozen=True)
class Viewed:
    """An answer and the window that it was given in.

    Attributes:
        window: of the image.
        answer: `indices` are of all prompts that were asked; logits are the window's.
        views: of the image.
        prompts: those that are answered, in the order of the answer, original frame.
    """

    window: Window
    answer: Answer
    views: ImageViews
    prompts: Sequence[Prompt]

    def rows(self, numbers: list[int]) -> "Viewed":
        """The answers to some of the prompts."""
        prompts = [self.prompts[number] for number in numbers]
        return Viewed(self.window, self.answer.rows(numbers), self.views, prompts)

    def full_logits(self, sam: Sam, with_all: bool = False) -> Iterator[Tensor]:
        """Logits (n, M, h, w) at the window's resolution, for a few prompts at a time, in their order.

        They are what a user gets: sharpened, where the model does that.

        Args:
            sam: who has answered.
            with_all: of all M candidates; otherwise of the one that counts, M = 1.
        """
        low_res = self.answer.candidates.low_res_logits if with_all else self.answer.logits[:, None]
        hw, num_candidates = self.window.hw, low_res.shape[1]
        pixels = max(hw[0] * hw[1], sam.image_size**2)
        size = max(1, min(_MASKS, _PIXELS // pixels) // num_candidates)
        for start in range(0, len(low_res), size):
            full = logits_to_original(low_res[start : start + size].float(), hw, sam.frame)
            if not self.views.with_sharpening:
                yield full
                continue
            prompts = [each for each in self.prompts[start : start + size]
                       for _ in range(num_candidates)]  # fmt: skip
            flat = sam.sharpened(self.views.image, self.window, full.flatten(0, 1), prompts)
            yield flat.reshape(full.shape)

    def parts(self, sam: Sam) -> Iterator[MaskArray]:
        """(h, w) boolean masks of the window, in the order of the answer."""
        for full in self.full_logits(sam):
            yield from (full[:, 0] > sam.mask_threshold).cpu().numpy()

    def masks(self, sam: Sam) -> Iterator[MaskArray]:
        """(H, W) boolean masks, original frame, in the order of the answer."""
        for part in self.parts(sam):
            if self.window.hw == self.views.hw:
                yield part
                continue
            mask = np.zeros(self.views.hw, np.bool_)
            mask[self.window.slices] = part
            yield mask


@torch.no_grad()
def ask_in_views(
    sam: Sam,
    views: ImageViews,
    prompts: Sequence[Prompt],
    windows: Sequence[Window] | None = None,
    **how: Any,
) -> Iterator[Viewed]:
    """Answer prompts of one image, each in the window that fits its object.

    Args:
        sam: the network.
        views: of the image.
        prompts: original frame.
        windows: where each is answered; `None` chooses, and looks again where that helps.
        how: further arguments of `ask`: how many candidates, calibrated or not.

    Raises:
        UserError: the model answers with NaN.
    """
    is_free = windows is None
    places = [views.first(prompt) for prompt in prompts] if windows is None else list(windows)
    waiting = list(range(len(prompts)))
    for looks in range(MORE_LOOKS + 1):
        again: dict[int, Window] = {}
        for viewed in _ask_each(sam, views, prompts, places, waiting, **how):
            if is_free and looks < MORE_LOOKS:
                again |= _look_again(sam, views, prompts, viewed)
            rows = [row for row, index in enumerate(viewed.answer.indices) if index not in again]
            if rows:
                yield viewed.rows(rows)
        waiting = sorted(again)
        for index, window in again.items():
            places[index] = window
        if not waiting:
            return


def _ask_each(
    sam: Sam, views: ImageViews, prompts: Sequence[Prompt], places: Sequence[Window],
    waiting: Sequence[int], **how: Any,
) -> Iterator[Viewed]:  # fmt: skip
    """Answers window by window."""
    by_window: dict[Window, list[int]] = {}
    for index in waiting:
        by_window.setdefault(places[index], []).append(index)
    for part in _batches(list(by_window)):
        for window, features in zip(part, views.features(part), strict=True):
            indices = by_window[window]
            inside = [prompt_to_window(prompts[index], window) for index in indices]
            moved = [prompt_to_input(prompt, window.hw, sam.frame) for prompt in inside]
            for answer in ask(sam, features, moved, **how):
                own = [indices[place] for place in answer.indices]
                asked = [prompts[index] for index in own]
                yield Viewed(window, replace(answer, indices=own), views, asked)


def _look_again(
    sam: Sam, views: ImageViews, prompts: Sequence[Prompt], viewed: Viewed
) -> dict[int, Window]:
    """Which prompts of an answer are better asked in another window, and in which."""
    answer, seen = viewed.answer, viewed.window
    found: dict[int, Window] = {}
    for row, index in enumerate(answer.indices):
        prompt = prompts[index]
        if prompt.box_xyxy is not None or prompt.mask_input is not None:
            continue
        box = _box_of(answer.logits[row], sam, seen)
        if (window := views.next(prompt, box, seen)) is not None:
            found[index] = window
    return found


def _box_of(logits: Tensor, sam: Sam, seen: Window) -> FloatArray | None:
    """Box of a mask, original frame."""
    full = logits_to_original(logits[None, None].float(), seen.hw, sam.frame)[0, 0]
    box = mask_to_box((full > sam.mask_threshold).cpu().numpy())
    return None if box is None else box + np.array([seen.x, seen.y] * 2, np.float32)


def carried_over(views: ImageViews, clicked: Prompt, seen: Window) -> tuple[Prompt, Window]:
    """A prompt that got a click, with its mask prompt, in a window that holds all of it.

    Args:
        views: of the image.
        clicked: original frame; its mask prompt is the answer that was given in `seen`.
        seen: the window of that answer.
    """
    window = views.widened(clicked, seen)
    if window == seen or clicked.mask_input is None:
        return clicked, window
    logits = logits_to_window(clicked.mask_input, seen, window, views.sam.frame)
    return replace(clicked, mask_input=logits), window


def within_view(views: ImageViews, prompt: Prompt) -> tuple[Prompt, list[Window] | None]:
    """A prompt whose mask prompt is of the whole image, and the window to ask it in.

    Where it has a box or a mask, that says where the object is and how large; `None` leaves the choice
    to `ask_in_views`.
    """
    if prompt.mask_input is None:
        return prompt, None
    frame, plain = views.sam.frame, replace(prompt, mask_input=None)
    logits = logits_to_original(torch.from_numpy(prompt.mask_input)[None, None], views.hw, frame)
    found = mask_to_box((logits[0, 0] > views.sam.mask_threshold).numpy())
    if prompt.box_xyxy is None and found is not None:
        plain = replace(plain, box_xyxy=found)
    window = views.widened(plain, views.first(plain)) if extent(plain).any() else views.whole
    moved = logits_to_window(prompt.mask_input, views.whole, window, frame)
    return replace(prompt, mask_input=moved), [window]


def _batches(windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
    for start in range(0, len(windows), _TOGETHER):
        yield windows[start : start + _TOGETHER]


def extent(prompt: Prompt) -> FloatArray:
    """x0, y0, x1, y1 of all points and the box of a prompt; of a mask prompt alone, nothing: zeros."""
    parts = []
    if prompt.box_xyxy is not None:
        parts.append(prompt.box_xyxy.reshape(2, 2))
    if prompt.point_coords is not None:
        parts.append(prompt.point_coords)
    if not parts:
        return np.zeros(4, np.float32)
    together = np.concatenate(parts)
    return np.concatenate([together.min(0), together.max(0)]).astype(np.float32)


def _joined(one: FloatArray, other: FloatArray) -> FloatArray:
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])

"""Training of a sharpener: crops of what a tuned SAM answered on training images, and the truth there.

Beside them stand crops of general (drawn) pictures, so that what is learned of one kind of images
changes others less.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samtune.models.sharpening.crops import crop_around, extent, inputs_of
from samtune.models.sharpening.network import Sharpener
from samtune.prompts.seeding import object_rng
from samtune.training.copies import Copies, num_copies
from samtune.training.muon import MuonAdamW
from samtune.types import FloatArray, ImageArray, MaskArray, Prompt, Window

# Crops of a step, those of general pictures among them
_BATCH, _GENERAL = 32, 10
_DECAY, _WARMUP = 1e-2, 30
# Peak rates: of Muon for kernels, of AdamW for all else
_KERNEL_RATE, _RATE = 4e-2, 2e-3
# What is kept of an object is larger than its crop, and crops are drawn of it: so much larger or
# smaller, and shifted by so much of the object
_KEPT, _SCALES, _SHIFT = 1.5, (0.85, 1.2), 0.06
# Crops by which it knows its domain; the limit is so many times the distance that so large a share of
# the validation images' crops lie within
_KNOWN, _NEAR, _WITHIN = 1000, 0.7, 0.95
# Pixel values are multiplied and shifted by up to so much
_CONTRAST, _BRIGHTNESS = 1.25, 0.1


@dataclass(frozen=True)
class Answered:
    """An answer of SAM to a prompt, in cells of a crop somewhat larger than the one around its object.

    Attributes:
        image: (c, c, 3) uint8.
        logits: (c, c) float16, of SAM.
        target: (c, c) uint8, the share of each cell that the object covers, times 255.
        prompt: in cells.
        edges: x0, y0, x1, y1 of where the object is taken to be, in cells.
    """

    image: ImageArray
    logits: NDArray[np.float16]
    target: NDArray[np.uint8]
    prompt: Prompt
    edges: FloatArray


def answered(
    sharpener: Sharpener, image: ImageArray, window: Window, logits: FloatArray, prompt: Prompt,
    truth: MaskArray,
) -> Answered | None:  # fmt: skip
    """What is learned of an answer; `None` where nothing was found.

    Args:
        sharpener: says how large crops are.
        image: (H, W, 3), as SAM saw it.
        window: of the image, that was looked at.
        logits: (h, w) of SAM, at the window's resolution.
        prompt: original frame.
        truth: (H, W) of the object.
    """
    corner = (window.x, window.y)
    edges = extent(prompt, logits > 0, corner)
    if edges is None:
        return None
    settings = sharpener.settings
    crop = crop_around(edges, _KEPT * settings.ratio, round(_KEPT * settings.cells))
    own = crop.cut(logits, corner, float(logits.min()))
    shares = crop.cut(truth.astype(np.float32), outside=0.0)
    box, points = prompt.box_xyxy, prompt.point_coords
    moved = Prompt(
        None if points is None else crop.moved(points),
        prompt.point_labels,
        None if box is None else crop.moved_box(box),
    )
    return Answered(
        np.asarray(np.rint(crop.cut(image)), np.uint8), own.astype(np.float16),
        np.asarray(np.rint(255 * shares), np.uint8), moved,
        (crop.moved(edges.reshape(2, 2) - 0.5) + 0.5).reshape(4),
    )  # fmt: skip


def train_sharpener(
    sharpener: Sharpener, own: Sequence[Answered], general: Sequence[Answered], seed: int,
    progress: Callable[[int], float], pace: float = 1.0, num_processes: int = 0,
) -> int:  # fmt: skip
    """Train until it is over.

    Args:
        sharpener: on its device; it is left in evaluation mode.
        own: of the domain, one at least.
        general: of general pictures.
        seed: of weights and all that is drawn.
        progress: share of the training that is over after so many steps, 1 at its end.
        pace: times the rates that learn fastest from nothing; what has learned already needs less.
        num_processes: side by side, each with a part of every step; 0 and 1 are this one alone.

    Returns:
        How many steps there were.
    """
    device = sharpener.last.weight.device
    num = 1 + num_copies(num_processes, device)
    sharpener.train().requires_grad_(True)

    def learn(piece: tuple[int, int]) -> None:
        step, part = piece
        rng = object_rng(seed, "crops", step, part)
        inputs, targets = _batch(sharpener, own, general, rng, (part, num))
        loss = _loss(sharpener(inputs.to(device))[0], targets.to(device))
        (loss * (len(inputs) / _BATCH)).backward()  # type: ignore[no-untyped-call]

    copies = Copies(sharpener, learn, num - 1)
    try:
        steps = _take_steps(sharpener, progress, pace, learn, copies)
    finally:
        copies.close()
    sharpener.eval().requires_grad_(False)
    return steps


def _take_steps(
    sharpener: Sharpener, progress: Callable[[int], float], pace: float,
    learn: Callable[[tuple[int, int]], None], copies: Copies,
) -> int:  # fmt: skip
    optimizer, steps = _optimizer(sharpener), 0
    while (over := progress(steps)) < 1:
        share = pace * min(1.0, (steps + 1) / _WARMUP) * 0.5 * (1 + math.cos(math.pi * over))
        for group in optimizer.param_groups:
            group["lr"] = share * group["peak"]
        optimizer.zero_grad()
        copies.ask([(steps, part) for part in range(1, 1 + len(copies))])
        learn((steps, 0))
        copies.gather()
        optimizer.step()
        steps += 1
    return steps


def _optimizer(sharpener: Sharpener) -> MuonAdamW:
    """Muon for kernels, the first one too, which learn with it in fewer steps; AdamW for the rest."""
    last = sharpener.last.weight
    kernels = [p for p in sharpener.parameters() if p.ndim == 4 and p is not last]
    others = [p for p in sharpener.parameters() if p.ndim < 4 or p is last]
    groups = ((kernels, _KERNEL_RATE, True), (others, _RATE, False))
    return MuonAdamW(
        [
            {
                "params": params,
                "lr": peak,
                "peak": peak,
                "weight_decay": _DECAY,
                "with_muon": is_muon,
            }
            for params, peak, is_muon in groups
        ],
        betas=(0.9, 0.999),
    )


@torch.no_grad()
def get_used_to(
    sharpener: Sharpener, own: Sequence[Answered], held_out: Sequence[Answered], seed: int
) -> None:
    """Let a sharpener tell crops like these from others, which it leaves as SAM answered them.

    Args:
        sharpener: trained.
        own: of training images.
        held_out: of validation images, which say how far images of the domain may lie from these.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    chosen = [own[number] for number in rng.integers(len(own), size=_KNOWN)]
    sharpener.get_used_to(_features(sharpener, chosen, rng))
    others = [held_out[number] for number in rng.permutation(len(held_out))[:_KNOWN]]
    distances = sharpener.distance(_features(sharpener, others or chosen, rng))
    sharpener.limit.copy_(_NEAR * distances.quantile(_WITHIN))


def _features(
    sharpener: Sharpener, answers: Sequence[Answered], rng: np.random.Generator
) -> Tensor:
    device, parts = sharpener.last.weight.device, []
    for start in range(0, len(answers), _BATCH):
        drawn = [_drawn(sharpener, each, rng)[0] for each in answers[start : start + _BATCH]]
        parts.append(sharpener(torch.from_numpy(np.stack(drawn)).to(device))[1])
    return torch.cat(parts)


def over_steps(most: int) -> Callable[[int], float]:
    """Progress by steps."""
    return lambda steps: steps / max(1, most)


def over_time(seconds: float, most: int) -> Callable[[int], float]:
    """Progress by time from now on, or by steps where those are over sooner."""
    began = time.monotonic()
    return lambda steps: max((time.monotonic() - began) / seconds, steps / most)


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and Dice, an object weighing as much as another."""
    probability = logits.sigmoid()
    overlap = (probability * targets).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (probability.sum((1, 2)) + targets.sum((1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits, targets) + dice.mean()


def _batch(
    sharpener: Sharpener, own: Sequence[Answered], general: Sequence[Answered],
    rng: np.random.Generator, part: tuple[int, int],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Crops of one part among equal ones of a step."""
    num_general = _GENERAL if general else 0
    chosen: list[Answered] = []
    for answers, num in ((general, num_general), (own, _BATCH - num_general)):
        first, last = (num * place // part[1] for place in (part[0], part[0] + 1))
        chosen += [answers[number] for number in rng.integers(len(answers) or 1, size=last - first)]
    inputs, targets = zip(*(_drawn(sharpener, each, rng) for each in chosen), strict=True)
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))


def _drawn(
    sharpener: Sharpener, answer: Answered, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Inputs and target of a crop: of another size, shifted, turned, mirrored, brighter or darker."""
    settings = sharpener.settings
    shift = (float(rng.uniform(-_SHIFT, _SHIFT)), float(rng.uniform(-_SHIFT, _SHIFT)))
    crop = crop_around(
        answer.edges, settings.ratio * float(rng.uniform(*_SCALES)), settings.cells, shift
    )
    logits = answer.logits.astype(np.float32)
    seen = crop.cut(logits, outside=float(logits.min()))
    inputs = inputs_of(crop, crop.cut(answer.image), seen, answer.prompt)
    target = crop.cut(answer.target, outside=0.0) / 255
    inputs[:3] *= rng.uniform(1 / _CONTRAST, _CONTRAST)
    inputs[:3] += rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)
    turns, is_mirrored = int(rng.integers(4)), rng.random() < 0.5
    inputs, target = np.rot90(inputs, turns, (1, 2)), np.rot90(target, turns)
    if is_mirrored:
        inputs, target = inputs[..., ::-1], target[..., ::-1]
    return np.ascontiguousarray(inputs), np.ascontiguousarray(target)

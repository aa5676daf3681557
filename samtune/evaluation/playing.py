"""One contestant's session with the objects of an image: first prompts, then correction clicks.

Both contestants get the same first prompts; correction clicks follow the same rule for both, each
from its own errors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from samtune.evaluation.metrics.overlap import iou_and_dice
from samtune.inference.views import ImageViews, Viewed, ask_in_views, carried_over
from samtune.models.backend import Sam
from samtune.prompts.correction import correction_click
from samtune.prompts.protocols import Protocol
from samtune.types import MaskArray, Prompt, Window

Rng = Callable[[int, int], np.random.Generator]


@dataclass
class Played:
    """What a contestant answered at the end.

    Attributes:
        masks: (K, H, W) boolean, on the CPU.
        expected: (K,), the IoU that it expects.
        oracle_ious: (K,), IoU of the best of three masks; `None` where it gave one.
        earlier_ious: (K,) each, after each prompt but the last.
    """

    masks: Tensor
    expected: Tensor
    oracle_ious: Tensor | None = None
    earlier_ious: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def play(
    sam: Sam, views: ImageViews, truths: Tensor, prompts: Sequence[Prompt], protocol: Protocol,
    with_multimask: bool, rng: Rng, with_oracle: bool = True,
) -> Played:  # fmt: skip
    """Let a network answer for all objects of one image.

    Args:
        sam: the network.
        views: of the image, encoded by it.
        truths: (K, H, W) boolean, on the CPU.
        prompts: K first prompts, original frame.
        protocol: says how many clicks follow, and where.
        with_multimask: single prompts are answered by three masks.
        rng: of (object, round).
        with_oracle: the best of three masks is looked for too.
    """
    prompts, windows, earlier = list(prompts), None, []
    for number in range(protocol.num_corrections + 1):
        played, low_res, seen = _answer(
            sam, views, truths, prompts, windows, with_multimask, with_oracle
        )
        if number == protocol.num_corrections:
            break
        earlier.append(iou_and_dice(played.masks, truths)[0])
        windows = list(seen)
        for index, prompt in enumerate(prompts):
            truth, mask = truths[index].numpy(), played.masks[index].numpy()
            click = correction_click(truth, mask, protocol.placing, rng(index, number))
            clicked = replace(prompt.with_point(*click), mask_input=low_res[index].numpy())
            prompts[index], windows[index] = carried_over(views, clicked, seen[index])
    return replace(played, earlier_ious=earlier)


def _answer(
    sam: Sam, views: ImageViews, truths: Tensor, prompts: list[Prompt],
    windows: Sequence[Window] | None, with_multimask: bool, with_oracle: bool,
) -> tuple[Played, dict[int, Tensor], list[Window]]:  # fmt: skip
    """Answer once; besides, the chosen masks' logits (h, w) on the CPU, and the windows they are of."""
    masks, expected = torch.zeros_like(truths), torch.zeros(len(prompts))
    low_res: dict[int, Tensor] = {}
    seen = [views.whole] * len(prompts)
    oracle: Tensor | None = None
    # calibrations are looked at by themselves
    for viewed in ask_in_views(
        sam, views, prompts, windows, with_multimask=with_multimask, is_calibrated=False
    ):
        answer, logits = viewed.answer, viewed.answer.logits
        for place, row in enumerate(answer.indices):
            low_res[row], seen[row] = logits[place].float().cpu(), viewed.window
        expected[torch.tensor(answer.indices)] = answer.scores.cpu()
        if with_oracle and answer.candidates.low_res_logits.shape[1] > 1:
            oracle = torch.zeros(len(prompts), dtype=torch.float64) if oracle is None else oracle
        _enlarge(viewed, truths, sam, masks, oracle)
    return Played(masks, expected, oracle), low_res, seen


def _enlarge(
    viewed: Viewed, truths: Tensor, sam: Sam, masks: Tensor, oracle: Tensor | None
) -> None:
    """Fill in the chosen masks at the original resolution, and the IoU of the best candidates."""
    answer, window = viewed.answer, viewed.window
    with_all = oracle is not None and answer.candidates.low_res_logits.shape[1] > 1
    best, indices = answer.best.cpu(), torch.tensor(answer.indices)
    rows, columns = window.slices
    start = 0
    for logits in viewed.full_logits(sam, with_all):
        found = (logits > sam.mask_threshold).cpu()
        part = slice(start, start + len(found))
        objects, start = indices[part], part.stop
        chosen = found[torch.arange(len(found)), best[part]] if with_all else found[:, 0]
        masks[objects, rows, columns] = chosen
        if oracle is not None and with_all:
            oracle[objects] = _best_iou(found, truths[objects], window)


def _best_iou(found: Tensor, truths: Tensor, window: Window) -> Tensor:
    """IoU (K,) of the best of M masks (K, M, h, w) of a window; what lies outside it is missed."""
    there = truths[:, window.slices[0], window.slices[1]][:, None].expand_as(found)
    overlap = (found & there).flatten(2).sum(2).double()
    missed = truths.flatten(1).sum(1)[:, None] - overlap
    union = found.flatten(2).sum(2) + missed
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0).max(dim=1).values


def stack_truths(truths: Sequence[MaskArray]) -> Tensor:
    return torch.from_numpy(np.stack(truths))

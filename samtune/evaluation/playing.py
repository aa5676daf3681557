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
from samtune.geometry import logits_to_original, prompt_to_input
from samtune.inference.ask import ask
from samtune.models.backend import Sam
from samtune.prompts.correction import correction_click
from samtune.prompts.protocols import Protocol
from samtune.types import Features, InputFrame, MaskArray, Prompt

# Masks brought to the original resolution at once, and their pixels.
_MASKS_PER_CHUNK, _PIXELS_PER_CHUNK = 16, 2**24

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
    sam: Sam, features: Features, truths: Tensor, prompts: Sequence[Prompt], protocol: Protocol,
    with_multimask: bool, rng: Rng,
) -> Played:  # fmt: skip
    """Let a network answer for all objects of one image.

    Args:
        sam: the network.
        features: of the image, from it.
        truths: (K, H, W) boolean, on the CPU.
        prompts: K first prompts, original frame.
        protocol: says how many clicks follow, and where.
        with_multimask: single prompts are answered by three masks.
        rng: of (object, round).
    """
    prompts, earlier = list(prompts), []
    for number in range(protocol.num_corrections + 1):
        played, low_res = _answer(sam, features, truths, prompts, with_multimask)
        if number == protocol.num_corrections:
            break
        earlier.append(iou_and_dice(played.masks, truths)[0])
        for index, prompt in enumerate(prompts):
            truth, mask = truths[index].numpy(), played.masks[index].numpy()
            click = correction_click(truth, mask, protocol.placing, rng(index, number))
            prompts[index] = replace(prompt.with_point(*click), mask_input=low_res[index].numpy())
    return replace(played, earlier_ious=earlier)


def _answer(
    sam: Sam, features: Features, truths: Tensor, prompts: list[Prompt], with_multimask: bool
) -> tuple[Played, Tensor]:
    """Answer once; besides, the chosen masks' logits (K, h, w) on the CPU."""

    original_hw = (truths.shape[1], truths.shape[2])
    moved = [prompt_to_input(prompt, original_hw, sam.frame) for prompt in prompts]
    masks = torch.zeros_like(truths)
    expected = torch.zeros(len(prompts))
    low_res: dict[int, Tensor] = {}  # groups come in another order than objects
    oracle: Tensor | None = None
    # calibrations are looked at by themselves
    for answer in ask(sam, features, moved, with_multimask, is_calibrated=False):
        indices, logits = torch.tensor(answer.indices), answer.logits
        for place, row in enumerate(answer.indices):
            low_res[row] = logits[place].float().cpu()
        expected[indices] = answer.scores.cpu()
        found = answer.candidates.low_res_logits
        if found.shape[1] > 1:
            oracle = torch.zeros(len(prompts), dtype=torch.float64) if oracle is None else oracle
        _enlarge(found, indices, answer.best.cpu(), truths, sam, masks, oracle)
    return Played(masks, expected, oracle), torch.stack([low_res[row] for row in sorted(low_res)])


def _enlarge(
    logits: Tensor, indices: Tensor, best: Tensor, truths: Tensor, sam: Sam, masks: Tensor,
    oracle: Tensor | None,
) -> None:  # fmt: skip
    """Fill in the chosen masks at the original resolution, and the IoU of the best candidates."""
    num_candidates = logits.shape[1]
    num_masks = min(_MASKS_PER_CHUNK, _PIXELS_PER_CHUNK // truths[0].numel())
    size = max(1, num_masks // num_candidates)
    for part in torch.split(torch.arange(len(logits)), size):
        found = _to_masks(logits[part.to(logits.device)].float(), truths.shape[1:], sam.frame,
                          sam.mask_threshold)  # fmt: skip
        rows = indices[part]
        masks[rows] = found[torch.arange(len(part)), best[part]]
        if oracle is not None:
            there = truths[rows][:, None].expand_as(found)
            ious = iou_and_dice(found.flatten(0, 1), there.flatten(0, 1))[0]
            oracle[rows] = ious.view(len(part), num_candidates).max(dim=1).values


def _to_masks(logits: Tensor, hw: torch.Size, frame: InputFrame, threshold: float) -> Tensor:
    """(K, M, h, w) logits -> (K, M, H, W) boolean on the CPU."""
    return (logits_to_original(logits, (hw[0], hw[1]), frame) > threshold).cpu()


def stack_truths(truths: Sequence[MaskArray]) -> Tensor:
    return torch.from_numpy(np.stack(truths))

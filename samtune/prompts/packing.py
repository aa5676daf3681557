"""Grouping prompts that can be decoded together without padding.

A padding point is a token that takes part in attention: it would change SAM's answer. So objects
are grouped by signature (number of points, box or not, mask or not), and batch size never changes a
result.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from samtune.types import MaskPrediction, Prompt, Prompts

Decode = Callable[[Tensor, Prompts, bool], MaskPrediction]


def group_by_signature(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of prompts with the same signature, groups in order of first appearance."""
    groups: dict[tuple[int, bool, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(prompt.signature, []).append(index)
    return list(groups.values())


def pack(prompts: Sequence[Prompt], device: torch.device | str = "cpu") -> Prompts:
    """Stack prompts of one signature; they must be in the input frame."""

    def stack(parts: list[np.ndarray | None]) -> Tensor | None:
        if any(part is None for part in parts):
            return None
        return torch.from_numpy(np.stack([np.asarray(part) for part in parts])).to(device)

    masks = stack([prompt.mask_input for prompt in prompts])
    return Prompts(
        stack([prompt.point_coords for prompt in prompts]),
        stack([prompt.point_labels for prompt in prompts]),
        stack([prompt.box_xyxy for prompt in prompts]),
        None if masks is None else masks[:, None],
    )


def decode_groups(
    decode: Decode, prompts: Sequence[Prompt], with_multimask: bool, device: torch.device
) -> list[tuple[Tensor, MaskPrediction]]:
    """Decode prompts of any signatures, group by group.

    Args:
        decode: takes (indices of the objects, their prompts, multimask or not).
        prompts: K prompts, input frame.
        with_multimask: a single point, box or mask is answered by three masks, anything else by
            one, as SAM was trained.
        device: of the network.

    Returns:
        For each group the indices (K',) of its objects, and the prediction for them.
    """
    answers = []
    for group in group_by_signature(prompts):
        members = [prompts[index] for index in group]
        indices = torch.tensor(group, device=device)
        is_multimask = with_multimask and members[0].is_single
        answers.append((indices, decode(indices, pack(members, device), is_multimask)))
    return answers


def best_by_score(prediction: MaskPrediction) -> tuple[Tensor, Tensor]:
    """The mask that the network itself thinks best: logits (K, h, w) and its score (K,)."""
    scores, best = prediction.iou_scores.max(dim=1)
    rows = torch.arange(len(best), device=best.device)
    return prediction.low_res_logits[rows, best], scores

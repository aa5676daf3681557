"""The simulated session of one batch: a first prompt, then correction clicks, losses all along."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from samtune.models.backend import Sam
from samtune.prompts.correction import correction_click, correction_pair
from samtune.prompts.packing import decode_groups
from samtune.prompts.protocols import Recipe
from samtune.prompts.seeding import object_rng
from samtune.training.losses import LossParts, LossWeights, compute_losses, covered_cells
from samtune.types import Batch, Features, MaskArray, MaskPrediction, Prompt, Prompts


@dataclass
class RoundResult:
    """One round over all K objects.

    Attributes:
        parts: losses, in the order of the batch.
        logits: (K, h, w) of the masks with the highest predicted IoU, without gradient: they are
            what a user would see, and go on as mask prompts (SAM, appendix A).
    """

    parts: LossParts
    logits: Tensor


def run_rounds(
    sam: Sam, features: Features, batch: Batch, recipe: Recipe, weights: LossWeights,
    objects_per_chunk: int,
) -> list[RoundResult]:  # fmt: skip
    """Decode the first prompts, then as many corrections and refinements as the recipe has.

    The mask prompt of each round is the previous mask's logits, without gradient, as in SAM.
    """
    prompts = batch.prompts["first"]
    results = [_one_round(sam, features, batch, prompts, recipe, weights, objects_per_chunk)]
    first = batch.keys[0]
    plan = plan_rounds(recipe, (*batch.seed, first.image_id, first.object_id))
    for number, with_click in enumerate(plan, start=1):
        prompts = next_prompts(prompts, results[-1].logits, batch, recipe, number, with_click, sam)
        results.append(
            _one_round(sam, features, batch, prompts, recipe, weights, objects_per_chunk)
        )
    return results


def mean_of(rounds: list[RoundResult]) -> dict[str, Tensor]:
    """Loss of a batch and its parts over all rounds, IoU of the first round and of the last.

    Returns:
        `loss`, with gradient; `pixel_loss`, `dice_loss`, `iou_loss`, `miou`, `miou_corrected`.
    """
    values = {
        "loss": torch.stack([result.parts.total.mean() for result in rounds]).mean(),
        "miou": rounds[0].parts.ious.mean(),
        "miou_corrected": rounds[-1].parts.ious.mean(),
    }
    for name in ("pixel", "dice", "iou"):
        parts = [getattr(result.parts, name).mean() for result in rounds]
        values[f"{name}_loss"] = torch.stack(parts).mean()
    return values


def plan_rounds(recipe: Recipe, seed: tuple[int | str, ...]) -> list[bool]:
    """Which rounds after the first bring a click.

    One refinement falls at a random place among the corrections, the others at the end (SAM).
    """
    plan = [True] * recipe.num_corrections
    if recipe.num_refinements > 1 and plan:
        plan.insert(int(object_rng(*seed, "refinement").integers(len(plan))), False)
        return plan + [False] * (recipe.num_refinements - 1)
    return plan + [False] * recipe.num_refinements


def _one_round(
    sam: Sam, features: Features, batch: Batch, prompts: list[Prompt], recipe: Recipe,
    weights: LossWeights, objects_per_chunk: int,
) -> RoundResult:  # fmt: skip
    targets, valid = batch.targets.float() / 255, batch.valid.float()

    def decode(indices: Tensor, packed: Prompts, is_multimask: bool) -> MaskPrediction:
        image_index = batch.image_index[indices]
        return sam.decode(features, image_index, packed, is_multimask, objects_per_chunk)

    groups = decode_groups(decode, prompts, recipe.with_multimask, targets.device)
    parts, logits = [], []
    for indices, prediction in groups:
        part = compute_losses(
            prediction, targets[indices], valid[batch.image_index[indices]], weights
        )
        parts.append(part)
        rows = torch.arange(len(indices), device=indices.device)
        logits.append(prediction.low_res_logits[rows, part.chosen].detach().float())
    order = torch.cat([indices for indices, _ in groups]).argsort()
    names = ("total", "pixel", "dice", "iou", "ious", "best", "chosen")
    joined = {name: torch.cat([getattr(part, name) for part in parts])[order] for name in names}
    return RoundResult(LossParts(**joined), torch.cat(logits)[order])


def next_prompts(
    prompts: list[Prompt], logits: Tensor, batch: Batch, recipe: Recipe, number: int,
    with_click: bool, sam: Sam,
) -> list[Prompt]:  # fmt: skip
    """Add the previous mask's logits to each prompt, and clicks where it was wrong.

    Clicks are found on the targets' grid and seeded by object and round.
    """
    side = batch.targets.shape[-1]
    full = F.interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
    valid = batch.valid[batch.image_index]
    predicted = ((full > 0) & valid).cpu().numpy()
    truths = covered_cells(batch.targets.float() / 255).cpu().numpy()
    inside = valid.cpu().numpy()
    masks = logits.cpu().numpy().astype(np.float32)
    scale = sam.image_size / side
    result = []
    for index, prompt in enumerate(prompts):
        key = batch.keys[index]
        rng = object_rng(*batch.seed, key.image_id, key.object_id, "correction", number)
        is_kept = recipe.mask_share == 1 or rng.random() < recipe.mask_share
        prompt = replace(prompt, mask_input=masks[index] if is_kept else None)
        rows, columns = _extent(inside[index])
        both = truths[index, :rows, :columns], predicted[index, :rows, :columns]
        for (x, y), label in _clicks(recipe, *both, rng) if with_click else ():
            prompt = prompt.with_point(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5), label)
        result.append(prompt)
    return result


def _clicks(
    recipe: Recipe, truth: MaskArray, predicted: MaskArray, rng: np.random.Generator
) -> list[tuple[tuple[float, float], int]]:
    if recipe.with_pairs:
        return correction_pair(truth, predicted, rng)
    return [correction_click(truth, predicted, "uniform", rng, recipe.correction_from_truth)]


def _extent(valid: np.ndarray) -> tuple[int, int]:
    """Rows and columns of the part of the grid that holds image."""
    return int(valid[:, 0].sum()), int(valid[0].sum())

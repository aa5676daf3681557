"""Losses on the masks of K objects: pixel loss, Dice, and the IoU head.

Every loss is a mean over an object's own pixels first and over objects afterwards, so that neither
large objects nor full batches weigh more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from samtune.errors import UserError
from samtune.prompts.protocols import IouLoss, PixelLoss, Recipe
from samtune.training.settings import LossSettings
from samtune.types import MaskPrediction, ObjectKey

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


@dataclass(frozen=True)
class LossWeights:
    """`LossSettings` with the recipe's numbers filled in."""

    pixel_loss: PixelLoss
    iou_loss: IouLoss
    pixel: float
    dice: float
    iou: float
    is_iou_of_all: bool
    object: float = 1.0
    chosen: float = 0.0
    general: float = 0.0

    @classmethod
    def from_settings(cls, settings: LossSettings, recipe: Recipe) -> "LossWeights":
        return cls(
            recipe.pixel_loss if settings.pixel_loss == "recipe" else settings.pixel_loss,
            recipe.iou_loss if settings.iou_loss == "recipe" else settings.iou_loss,
            recipe.pixel if settings.pixel < 0 else settings.pixel,
            recipe.dice if settings.dice < 0 else settings.dice,
            recipe.iou if settings.iou < 0 else settings.iou,
            recipe.is_iou_of_all,
            settings.object,
            recipe.chosen if settings.chosen < 0 else settings.chosen,
            recipe.general if settings.general < 0 else settings.general,
        )


@dataclass
class LossParts:
    """Losses of K objects, through the best of their M masks.

    Attributes:
        total, pixel, dice, iou: (K,) each, weighted only in `total`.
        ious: (K,) measured IoU of the mask that the network itself thinks best.
        best: (K,) index of the mask with the lowest loss, the one that is trained.
        chosen: (K,) index of the mask that the network thinks best.
    """

    total: Tensor
    pixel: Tensor
    dice: Tensor
    iou: Tensor
    ious: Tensor
    best: Tensor
    chosen: Tensor


def focal_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Sigmoid focal loss (arXiv 1708.02002, eq. 5), mean over valid pixels: (..., T, T) -> (...)."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    p_true = probability * targets + (1 - probability) * (1 - targets)
    alpha = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return masked_mean(alpha * (1 - p_true) ** FOCAL_GAMMA * cross_entropy, valid)


def bce_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy, mean over valid pixels."""
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return masked_mean(loss, valid)


def balanced_bce_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy in which object and background each weigh one half."""
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    inside = masked_mean(loss, valid * targets)
    return 0.5 * (inside + masked_mean(loss, valid * (1 - targets)))


def dice_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """1 - Dice of the probabilities over valid pixels (arXiv 1606.04797), one pixel of smoothing."""
    probability = logits.sigmoid() * valid
    overlap = (probability * targets).sum((-2, -1))
    size = probability.sum((-2, -1)) + (targets * valid).sum((-2, -1))
    return 1 - (2 * overlap + 1) / (size + 1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (..., T, T) where `mask` weighs; 0 where it is empty."""
    return (values * mask).sum((-2, -1)) / mask.sum((-2, -1)).clamp(min=1e-6)


def covered_cells(targets: Tensor) -> Tensor:
    """Cells (..., T, T) that an object covers by more than half.

    An object that covers no cell so far keeps the cell that it covers most: were it empty, a model
    that finds nothing would be right.
    """
    most = targets.amax((-2, -1), keepdim=True)
    return (targets > 0.5) | ((most > 0) & (most <= 0.5) & (targets == most))


@torch.no_grad()
def measured_iou(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """IoU of thresholded logits against `covered_cells`; two empty masks count as 1."""
    predicted, truth = (logits > 0) & (valid > 0), covered_cells(targets)
    overlap = (predicted & truth).sum((-2, -1)).float()
    union = (predicted | truth).sum((-2, -1)).float()
    return torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union))


_PIXEL_LOSSES = {"focal": focal_loss, "bce": bce_loss, "balanced_bce": balanced_bce_loss}


def compute_losses(
    prediction: MaskPrediction, targets: Tensor, valid: Tensor, weights: LossWeights
) -> LossParts:
    """Losses of K objects; of several masks the one with the lowest loss is trained.

    As arXiv 2304.02643, appendix A, describes SAM's own (the code is not published), but for three
    things. A share of the loss may go to the mask that the network itself thinks best: trained by the
    best of three alone, masks part from each other faster than the IoU head learns to tell them apart
    (nuclei, 176 steps: the best of three rose from 0.847 to 0.874, the chosen one fell from 0.843 to
    0.833). Padding counts nowhere: a model that is right about it would be praised for nothing, the
    more the narrower an image is. Targets are shares of cells, not 0 or 1: on a coarse grid thin
    objects would be lost.

    Args:
        prediction: M masks for each of K objects.
        targets: (K, T, T) float share of each cell, 0..1.
        valid: (K, T, T) float, 0 on the padding.
        weights: of the parts.
    """
    side = targets.shape[-2:]
    logits = prediction.low_res_logits.float()
    if logits.shape[-2:] != side:
        logits = F.interpolate(logits, side, mode="bilinear", align_corners=False)
    truth, inside = targets[:, None].expand_as(logits), valid[:, None].expand_as(logits)
    pixel = _PIXEL_LOSSES[weights.pixel_loss](logits, truth, inside)
    dice = dice_loss(logits, truth, inside)
    ious = measured_iou(logits, truth, inside)
    scores = prediction.iou_scores.float()
    error = (scores - ious).abs() if weights.iou_loss == "l1" else (scores - ious) ** 2
    mask_loss = weights.pixel * pixel + weights.dice * dice
    best = mask_loss.detach().argmin(dim=1)
    rows = torch.arange(len(best), device=best.device)
    iou_error = error.mean(dim=1) if weights.is_iou_of_all else error[rows, best]
    chosen = scores.detach().argmax(dim=1)
    share = weights.chosen
    trained = (1 - share) * mask_loss[rows, best] + share * mask_loss[rows, chosen]
    total = trained + weights.iou * iou_error
    if prediction.object_logits is not None:
        total = total + weights.object * F.softplus(-prediction.object_logits.float())
    return LossParts(
        total=total,
        pixel=pixel[rows, best],
        dice=dice[rows, best],
        iou=iou_error,
        ious=ious[rows, chosen],
        best=best,
        chosen=chosen,
    )


def require_finite(loss: Tensor, step: int, keys: Iterable[ObjectKey]) -> None:
    """Stop a training that has diverged.

    Args:
        loss: of a batch.
        step: of the optimizer.
        keys: objects of the batch.

    Raises:
        UserError: the loss is infinite or no number.
    """
    if not torch.isfinite(loss):
        images = ", ".join(sorted({key.image_id for key in keys}))
        raise UserError(
            f"the loss is {loss.item()} at step {step}, in the batch with the images {images}: lower "
            "optim.lr, clip gradients (trainer.gradient_clip_val) or train in fp32; the last "
            "checkpoint is from before"
        )

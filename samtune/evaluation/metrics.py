"""Overlap of two masks, and what it is when one is empty."""

import torch
from torch import Tensor


def iou_and_dice(predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and Dice of boolean masks (K, H, W), each (K,) float64.

    Two empty masks are equal: both scores are 1. One empty mask of the two: both are 0. Objects
    without a pixel do not enter an evaluation, so that the first case never flatters a mean there.
    """
    overlap = (predicted & truth).sum((-2, -1)).double()
    sizes = predicted.sum((-2, -1)).double() + truth.sum((-2, -1)).double()
    union = sizes - overlap
    one = torch.ones_like(union)
    iou = torch.where(union > 0, overlap / union.clamp(min=1), one)
    dice = torch.where(sizes > 0, 2 * overlap / sizes.clamp(min=1), one)
    return iou, dice

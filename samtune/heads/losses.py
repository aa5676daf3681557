"""Losses of dense heads, over the cells that count."""

from torch import Tensor


def mean_over(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0 where nothing counts."""
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def dice_loss(shares: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """1 - Dice of (B, t, t) shares 0 to 1, over the whole batch: a view may hold nothing."""
    both = (shares * truth * weight).sum()
    either = ((shares + truth) * weight).sum()
    return 1 - (2 * both + 1) / (either + 1)

"""AdamW, by choice with Muon, layer decay, and a learning rate that warms up and falls as a cosine."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from samtune.errors import UserError
from samtune.training.budget import find_budget
from samtune.training.muon import MuonAdamW
from samtune.training.settings import OptimSettings

BlocksAfter = Callable[[str], int]


# Of a dense decoder the convolutions between the first, which sees pixels, and the last
_HIDDEN_CONVOLUTION = re.compile(r"^network\.(stem\.[1-9]|join|bottom|up|to_pixels|finest)\b")


def is_block_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon may train it: a full weight of a transformer block or of a head's hidden layer."""
    if parameter.ndim == 4:
        return bool(_HIDDEN_CONVOLUTION.match(name))
    is_hidden = re.search(r"\b(layers|blocks)\.\d+\.", name) and not re.search(
        r"rel_pos|lora_", name
    )
    return parameter.ndim == 2 and bool(is_hidden)


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], settings: OptimSettings, blocks_after: BlocksAfter
) -> list[dict[str, Any]]:
    """Trainable parameters, grouped by depth, by whether they decay, and by their optimizer."""
    groups: dict[tuple[int, bool, bool], dict[str, Any]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        depth, decays = blocks_after(name), parameter.ndim > 1
        with_muon = settings.muon_lr > 0 and is_block_matrix(name, parameter)
        lr = settings.muon_lr if with_muon else settings.lr
        group = groups.setdefault(
            (depth, decays, with_muon),
            {
                "params": [],
                "lr": lr * settings.layer_decay**depth,
                "weight_decay": settings.weight_decay if decays else 0.0,
                "with_muon": with_muon,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def build_optimizer(
    model: nn.Module, settings: OptimSettings, blocks_after: BlocksAfter
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters, with Muon for matrices where `muon_lr` is given.

    Args:
        model: what is trained.
        settings: rates and decay.
        blocks_after: name of a parameter -> encoder blocks between it and the decoder.

    Raises:
        UserError: the learning rate is not positive.
    """
    if not settings.lr > 0:
        raise UserError(f"optim.lr is {settings.lr}: give a number above 0, such as 1e-4")
    if not settings.muon_lr >= 0:
        raise UserError(f"optim.muon_lr is {settings.muon_lr}: give 0 or a number such as 0.02")
    return make_optimizer(
        parameter_groups(model.named_parameters(), settings, blocks_after), settings
    )


def make_optimizer(groups: list[dict[str, Any]], settings: OptimSettings) -> torch.optim.Optimizer:
    """AdamW over groups of parameters, with Muon where a group wants it."""
    betas = (settings.beta1, settings.beta2)
    if any(group["with_muon"] for group in groups):
        return MuonAdamW(groups, betas)
    return torch.optim.AdamW(groups, betas=betas)


def configured(
    optimizer: torch.optim.Optimizer, settings: OptimSettings, trainer: Any
) -> dict[str, Any]:
    """An optimizer with its schedule, as Lightning takes them: by steps, or by the budget's time."""
    budget = find_budget(trainer)
    schedule = build_schedule(
        optimizer, settings, trainer.estimated_stepping_batches,
        None if budget is None else lambda: budget.progress,
    )  # fmt: skip
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def build_schedule(
    optimizer: torch.optim.Optimizer, settings: OptimSettings, num_steps: float,
    progress_of: Callable[[], float] | None = None,
) -> LambdaLR:  # fmt: skip
    """Linear warm-up, then a cosine from the peak to `final_lr` of it.

    Args:
        optimizer: whose rates change.
        settings: peak, warm-up, end.
        num_steps: of the training.
        progress_of: share of a training's time that is over, where it is planned by time; the steps of
            the warm-up are then those of the settings.
    """
    warmup = settings.warmup_steps
    if progress_of is None:
        warmup = min(warmup, max(1, int(num_steps) // 10))

    def factor(step: int) -> float:
        rising = (step + 1) / warmup if step < warmup else 1.0
        if progress_of is None:
            if step < warmup:
                return rising
            progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
        else:
            progress = progress_of()
        low = settings.final_lr
        return rising * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))

    return LambdaLR(optimizer, factor)

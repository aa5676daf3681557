"""The mean of the trained weights over the end of a training, a candidate beside the last ones."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

# The share of what was there at each step, once there were many: a mean over the last hundred or so.
_KEPT = 0.99


class Averaging(Callback):
    """Keeps an exponential mean of all trained parameters, short at first (Adam's correction)."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self._num_steps = 0

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        if trainer.global_step <= self._num_steps:  # gradients are still accumulated
            return
        self._num_steps = trainer.global_step
        kept = min(_KEPT, self._num_steps / (self._num_steps + 10))
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad and name.startswith("sam."):
                mean = self.weights.setdefault(name, parameter.detach().clone())
                mean.lerp_(parameter.detach(), 1 - kept)

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights, "num_steps": self._num_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.weights, self._num_steps = dict(state_dict["weights"]), state_dict["num_steps"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """What was read from a checkpoint goes where the network is."""
        self.weights = {name: value.to(pl_module.device) for name, value in self.weights.items()}


def find_averaged(trainer: pl.Trainer) -> dict[str, Tensor]:
    """The mean weights of a trainer; empty without a step."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return next((each.weights for each in callbacks if isinstance(each, Averaging)), {})

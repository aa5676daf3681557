"""The bar of a training: how much of the whole is over, and how long the rest takes."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from samtune.bars import share_bar
from samtune.training.budget import find_budget


class TrainingBar(ProgressBar):
    """One bar from the first step to the last, by the budget's time or by steps.

    What a budget of time keeps for the choice at the end is not part of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: Any = None
        self._is_quiet = False

    def disable(self) -> None:
        """Lightning's, for processes that are not the first."""
        self._is_quiet = True

    def enable(self) -> None:
        """Lightning's."""
        self._is_quiet = False

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._is_quiet:
            self._shown = share_bar("measuring the base")

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._is_quiet:
            self._shown = share_bar("training", 100 * share_over(trainer))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        if self._shown is not None:
            loss = trainer.callback_metrics.get("train/loss")
            told = "" if loss is None else f"loss {float(loss):.3f}"
            self._shown.set_postfix_str(told, refresh=False)
            self._move(share_over(trainer))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if self._shown is None:
            return
        if trainer.sanity_checking:
            self._move((batch_idx + 1) / max(1, int(sum(trainer.num_sanity_val_batches))))
        else:
            self._shown.set_postfix_str("validating", refresh=False)
            self._move(share_over(trainer))

    def _move(self, share: float) -> None:
        self._shown.update(100 * share - self._shown.n)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._shown is not None:
            self._shown.close()
        self._shown = None


def share_over(trainer: pl.Trainer) -> float:
    """Share of the training that is over, 0 to 1."""
    if (budget := find_budget(trainer)) is not None:
        return budget.progress
    return min(1.0, trainer.global_step / max(1, trainer.estimated_stepping_batches))

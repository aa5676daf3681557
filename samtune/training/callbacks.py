"""What happens around the training loop: the adapter is saved, progress is told, panels are drawn."""

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor

from samtune.drawing import TRUTH, TUNED, draw_prompt, overlay, side_by_side
from samtune.prompts.packing import best_by_score, decode_groups
from samtune.training.averaging import Averaging
from samtune.training.budget import Budget, find_budget
from samtune.training.checkpoints import FOLDER, SaveLast
from samtune.training.heads import HeadTuner
from samtune.training.module import SamTuner
from samtune.training.not_learning import TellNotLearning
from samtune.training.training_bar import TrainingBar
from samtune.types import Batch, ImageArray, MaskPrediction, Prompts
from samtune.wording import duration

log = logging.getLogger(__name__)


class SaveTuned(Callback):
    """Write the tuned weights into the run folder whenever the validation got better."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.best = float("-inf")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SamTuner | HeadTuner)
        score = trainer.callback_metrics.get(pl_module.monitor)
        if trainer.sanity_checking or score is None or float(score) <= self.best:
            return
        self.best = float(score)
        if trainer.is_global_zero:
            pl_module.save(self.run)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that ended before its first validation keeps its last weights."""
        if self.best == float("-inf") and trainer.is_global_zero:
            assert isinstance(pl_module, SamTuner | HeadTuner)
            pl_module.save(self.run)
            _say(trainer, "no validation was run: the last weights are kept, not the best")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


class TellProgress(Callback):
    """Lines that stay: what is trained, what the base scores, and one line an epoch."""

    def __init__(self) -> None:
        self._start = 0.0
        self._first_epoch = 0
        self._is_validated = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SamTuner | HeadTuner)
        base = pl_module.network.base
        if base.is_random:
            _say(trainer, f"NOTE: the base '{base.name}' is randomly initialised, not pretrained")
        _say(trainer, pl_module.tell())

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SamTuner)
        if pl_module.store is not None:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            _say(trainer, pl_module.store.tell(data.num_kept()))
        _say(
            trainer,
            "measuring the base on the validation images, as training sees them (samtune evaluate asks "
            "as in use, and so has other figures) ...",
        )

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SamTuner)
        _say(trainer, f"base on the validation images: {_scores(pl_module.base_scores)}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start, self._first_epoch = time.monotonic(), trainer.current_epoch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._is_validated = not trainer.sanity_checking
        budget = find_budget(trainer)
        if budget is None or trainer.sanity_checking:
            return
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        scores = {
            name: value
            for name in ("box_miou", "point_miou", "miou", "score")
            if (value := metrics.get(f"val/{name}")) is not None
        }
        base = metrics.get("val/base_miou")
        _say(
            trainer,
            f"{duration(budget.elapsed)} of {duration(budget.seconds)}, step {trainer.global_step}  "
            f"loss {metrics.get('train/loss', float('nan')):.4f}  {_scores(scores)}"
            + (f"  (base miou {base:.3f})" if base is not None else ""),
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if find_budget(trainer) is not None or "train/loss" not in trainer.callback_metrics:
            return  # an epoch that was over when the run went on
        done = trainer.current_epoch + 1 - self._first_epoch
        left = (trainer.max_epochs or 0) - trainer.current_epoch - 1
        seconds = (time.monotonic() - self._start) / done * max(left, 0)
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        validation = {
            k.removeprefix("val/"): v
            for k, v in metrics.items()
            if k.startswith("val/") and "base" not in k and self._is_validated
        }
        base = metrics.get("val/base_miou") if self._is_validated else None
        self._is_validated = False
        # a budget of steps ends within an epoch that nobody counts
        of_all = f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
        _say(
            trainer,
            f"epoch {trainer.current_epoch + 1}{of_all}  "
            f"loss {metrics.get('train/loss', float('nan')):.4f}  {_scores(validation)}"
            + (f"  (base miou {base:.3f})" if base is not None else "")
            + (f"  about {duration(seconds)} left" if left > 0 else ""),
        )


def _say(trainer: pl.Trainer, text: str) -> None:
    if trainer.is_global_zero:
        log.info(text)


def _scores(scores: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in scores.items())


class LogPanels(Callback):
    """Send a few validation images with prompts, truth and prediction to W&B."""

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        logger = _find_wandb(trainer)
        if logger is None or trainer.sanity_checking or batch_idx >= self.num_images:
            return
        if not isinstance(pl_module, SamTuner):
            return
        for name in batch.prompts:
            if batch.keys:
                picture = panel(pl_module, batch, name)
                logger.log_image(f"panels/{name}_{batch_idx}", [picture])

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the best weights as an artifact, and close the W&B run."""
        logger = _find_wandb(trainer)
        saver = next((c for c in trainer.callbacks if isinstance(c, SaveTuned)), None)  # type: ignore[attr-defined]
        if logger is None or saver is None or not trainer.is_global_zero:
            return
        import wandb

        for folder in (saver.run / "adapter", saver.run / "model"):
            if folder.exists():
                artifact = wandb.Artifact(f"{saver.run.name}-{folder.name}", type="model")
                artifact.add_dir(str(folder))
                logger.experiment.log_artifact(artifact)
        logger.experiment.finish()


def _find_wandb(trainer: pl.Trainer) -> Any:
    return next((x for x in trainer.loggers if type(x).__name__ == "WandbLogger"), None)


@torch.no_grad()
def panel(tuner: SamTuner, batch: Batch, protocol: str) -> ImageArray:
    """First image of a batch beside itself: prompts and truth, prompts and prediction."""
    sam, members = tuner.network, torch.nonzero(batch.image_index == 0).flatten().tolist()
    features = sam.encode(batch.pixel_values[:1])
    prompts = [batch.prompts[protocol][index] for index in members]

    def decode(indices: Tensor, packed: Prompts, is_multimask: bool) -> MaskPrediction:
        return sam.decode(features, torch.zeros_like(indices), packed, is_multimask)

    values = batch.pixel_values[0] * sam.pixel_std + sam.pixel_mean
    image = values.clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy().copy()
    truth, predicted = image.copy(), image.copy()
    for index in members:
        mask = F.interpolate(batch.targets[index][None, None].float(), image.shape[:2])[0, 0] > 127
        truth = overlay(truth, mask.cpu().numpy(), TRUTH)
    for _, prediction in decode_groups(decode, prompts, sam.with_multimask, sam.device):
        for logits in best_by_score(prediction)[0]:
            full = F.interpolate(logits[None, None].float(), image.shape[:2], mode="bilinear")[0, 0]
            predicted = overlay(predicted, (full > 0).cpu().numpy(), TUNED)
    for prompt in prompts:
        truth, predicted = draw_prompt(truth, prompt), draw_prompt(predicted, prompt)
    return side_by_side([np.asarray(truth), np.asarray(predicted)])


def with_progress_bar() -> bool:
    """A bar is for a terminal; in a log file it would be noise."""
    return sys.stdout.isatty()


def build_callbacks(
    run: Path, early_stopping: int, checkpoint_steps: int, panels: int,
    monitor: str, budget: Budget | None = None,
) -> list[Callback]:  # fmt: skip
    """All callbacks of a run.

    Args:
        run: folder of the run.
        early_stopping: validations without improvement after which training stops; 0 never.
        checkpoint_steps: write `last.ckpt` every so many steps too.
        panels: validation images that are logged.
        monitor: the score that the best weights are chosen by.
        budget: of time, that ends it.
    """
    callbacks: list[Callback] = [budget] if budget is not None else []
    callbacks += [
        SaveTuned(run),
        Averaging(),
        ModelCheckpoint(
            run / FOLDER,
            "best",
            monitor=monitor,
            mode="max",
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        ),
        SaveLast(run, checkpoint_steps),
        TellProgress(),
        TellNotLearning(),
        LogPanels(panels),
    ]
    if early_stopping:
        callbacks.append(EarlyStopping(monitor, patience=early_stopping, mode="max"))
    if with_progress_bar():
        callbacks.append(TrainingBar())
    return callbacks

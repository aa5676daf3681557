"""Says that a training learns nothing, as soon as it can be known: its end would not mend it."""

import logging
from collections import deque
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

log = logging.getLogger(__name__)

# Training mIoU, and for how many steps on end, at which masks have become empty
_EMPTY, _EMPTY_STEPS = 0.02, 12
# Mean training mIoU of so many steps, or score of a validation, at which nothing has been learned
_LOW, _STEPS = 0.05, 100
_WHAT_TO_DO = (
    "Stop it, and try a lower --model.optim.lr (a tenth), a smaller --data.tile or larger --image_size "
    "where objects are small or thin, and samtune check for masks that do not fit their images"
)
_OF_HEADS = (
    "Stop it, and try another --model.head_lr, and samtune check for masks that do not fit their "
    "images"
)


class TellNotLearning(Callback):
    """One line, once, where masks have become empty, meet next to no object, or there is none to learn.

    Thin objects (vessels, cracks) end in empty masks within some tens of steps at too high a rate, and
    no later step mends that by itself; masks that do not fit their images are never learned.
    """

    def __init__(self) -> None:
        self._num_empty = self._num_without = 0
        self._scores: deque[float] = deque(maxlen=_STEPS)
        self._is_told = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        score = trainer.callback_metrics.get("train/miou")
        self._num_without = 0 if _holds_objects(batch) else self._num_without + 1
        if self._num_without >= _STEPS:
            self._tell(
                f"none of the last {_STEPS} batches holds an object: nothing is learned from them. "
                "Stop it, and see by samtune check which objects are left out (--data.min_area)"
            )
        if score is None or not batch.keys:
            return
        self._scores.append(float(score))
        self._num_empty = self._num_empty + 1 if float(score) < _EMPTY else 0
        mean = sum(self._scores) / len(self._scores)
        if self._num_empty >= _EMPTY_STEPS:
            self._tell(
                f"the masks of the last {_EMPTY_STEPS} steps meet next to nothing of their objects "
                f"(training mIoU below {_EMPTY:g}): the training seems to have collapsed. {_WHAT_TO_DO}"
            )
        elif len(self._scores) == _STEPS and mean < _LOW:
            self._tell(
                f"after {trainer.global_step} steps masks meet next to nothing of their objects "
                f"(training mIoU {mean:.3f} over the last {_STEPS}): nothing has been learned so far. "
                f"{_WHAT_TO_DO}"
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        monitor: Any = pl_module.monitor
        score = trainer.callback_metrics.get(monitor)
        if score is None or trainer.sanity_checking or float(score) >= _LOW:
            return
        base = float(trainer.callback_metrics.get("val/base_miou", 0.0))
        if trainer.global_step < _STEPS and base < 2 * _LOW:  # it was no better when it began
            return
        than = f"; the base has {base:.3f}" if base else ""
        name = monitor.removeprefix("val/")
        advice = _WHAT_TO_DO if "miou" in name else _OF_HEADS
        self._tell(
            f"after {trainer.global_step} steps the {name} of the validation is {float(score):.3f}"
            f"{than}: nothing has been learned so far. {advice}"
        )

    def _tell(self, text: str) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning("WARNING: %s", text)


def _holds_objects(batch: Any) -> bool:
    """Whether there is something to learn from; views of heads count as a whole."""
    return bool(getattr(batch, "keys", True))

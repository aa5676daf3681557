"""A budget of time or of steps: training is planned for it, and ends when it is over.

The learning rate falls with what is over, validations are evenly spread, and what is left is known at
any moment. Time counts on where a run is resumed; steps are the same on any machine, however busy.
Where a validation finds next to nothing gained, the time that is left goes to what comes after.
"""

import logging
import re
import time
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from samtune.errors import UserError
from samtune.wording import counted, signed

log = logging.getLogger(__name__)
# Validations, the one at the end among them
NUM_VALIDATIONS = 3
# What is kept back for choosing at the end, of the whole budget, and for sharpening after that: of
# masks, and of the objects that a head finds
CHOICE_SHARE, SHARPENING_SHARE, OBJECTS_SHARE = 0.2, 0.4, 0.15
# Seconds of a budget below which sharpening would be over before it began, and, of a head, would take
# what the head itself needs; and what it takes at most
LEAST_SHARPENED, LEAST_FOR_OBJECTS, _MOST_SHARPENING = 60.0, 600.0, 900.0
# mIoU above the base's, in a validation, below which sharpening gains more in the rest of the time
_LEAST_GAIN = 0.01
# Steps before which that says nothing: rates are still rising
_LEAST_STEPS = 30
# Of the budget, behind each image of a validation
_SECONDS_AN_IMAGE = 10
_UNITS = {"s": 1, "m": 60, "h": 3600}


def steps_of(budget: str) -> int:
    """What a budget such as `700 steps` comes to; 0 for one of time."""
    match = re.fullmatch(r"([1-9]\d*)\s*steps?", budget.strip())
    return int(match[1]) if match else 0


def seconds_of(budget: str) -> float:
    """What a budget such as `90s`, `5m` or `1.5h` comes to; 0 for an empty one, and for one of steps.

    Raises:
        UserError: it is none.
    """
    if not budget or steps_of(budget):
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", budget.strip())
    if match is None or not float(match[1]) > 0:
        raise UserError(f"budget is '{budget}': give a time, such as 90s, 5m or 1.5h, or 700 steps")
    return float(match[1]) * _UNITS[match[2]]


class Budget(Callback):
    """Ends a training when its time is over, after a last validation.

    Args:
        seconds: of all that `fit` does once the weights are loaded.
        sharpening: share of it that is for what comes after the choice.
    """

    def __init__(self, seconds: float, sharpening: float = 0.0) -> None:
        self.seconds = seconds
        self.sharpening_seconds = min(sharpening * seconds, _MOST_SHARPENING)
        self._before = 0.0
        self._is_over = False
        self._start: float | None = None

    @property
    def training_seconds(self) -> float:
        """What is left for training beside what comes at the end."""
        return self.seconds * (1 - CHOICE_SHARE) - self.sharpening_seconds

    @property
    def between_validations(self) -> timedelta:
        """Lightning's `val_check_interval`; the last validation comes with the end."""
        return timedelta(seconds=self.training_seconds / NUM_VALIDATIONS)

    @property
    def most_validated(self) -> int:
        """Images of a validation, so that it takes a small part of the time on a small machine."""
        return max(12, min(200, int(self.seconds / _SECONDS_AN_IMAGE)))

    @property
    def elapsed(self) -> float:
        """Seconds since training began, those before it was resumed among them."""
        now = 0.0 if self._start is None else time.monotonic() - self._start
        return self._before + now

    @property
    def progress(self) -> float:
        """Share of the training that is over, 0 to 1."""
        return 1.0 if self._is_over else min(1.0, self.elapsed / self.training_seconds)

    @property
    def left(self) -> float:
        """Seconds of the whole budget that are left."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def left_to_choose(self) -> float:
        """Seconds for choosing among weights; what training has left over is not for that."""
        return max(0.0, min(CHOICE_SHARE * self.seconds, self.left - self.sharpening_seconds))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        if trainer.strategy.reduce_boolean_decision(self.progress >= 1, all=False):
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = [trainer.callback_metrics.get(f"val/{name}") for name in ("miou", "base_miou")]
        is_early = trainer.sanity_checking or trainer.global_step < _LEAST_STEPS
        if is_early or not self.sharpening_seconds or self.progress >= 1:
            return
        tuned, base = (None if each is None else float(each) for each in found)
        if tuned is None or base is None or tuned - base >= _LEAST_GAIN:
            return
        log.info(
            "after %s the validation images have gained next to nothing (%s): the rest of the "
            "time goes to sharpening masks", counted(trainer.global_step, "step"), signed(tuned - base),
        )  # fmt: skip
        self._is_over = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"elapsed": self.elapsed, "is_over": self._is_over}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["elapsed"]
        self._is_over = state_dict.get("is_over", False)


def find_budget(trainer: pl.Trainer) -> Budget | None:
    """Of a trainer that is planned by time."""
    return next((each for each in trainer.callbacks if isinstance(each, Budget)), None)  # type: ignore[attr-defined]

"""The state of a training on disk: whole at every moment, kept twice, and written when it is to stop.

`last.ckpt` is the newest state, `previous.ckpt` the one before it.
"""

import logging
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from samtune.errors import UserError, first_line
from samtune.files import flush_to_disk, replacing_file

log = logging.getLogger(__name__)

FOLDER, LAST, PREVIOUS, BEST = "checkpoints", "last.ckpt", "previous.ckpt", "best.ckpt"
# What a state has, and of which kind
_PARTS = {
    "state_dict": dict, "optimizer_states": list, "lr_schedulers": list, "loops": dict,
    "callbacks": dict, "global_step": int, "epoch": int, "samtune": dict, "base_scores": dict,
    "SamDataModule": dict,
}  # fmt: skip
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, lets it reach the disk, and renames it.

    Lightning's own goes through the folder for temporary files, which may lie on another disk: then
    half of the new one stands over the only old one for a while.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        place = Path(path)
        try:
            with replacing_file(place) as temporary:
                torch.save(checkpoint, temporary)
                flush_to_disk(temporary)
                if place.name == LAST and place.exists():
                    place.replace(place.with_name(PREVIOUS))
        except (OSError, RuntimeError) as error:  # how torch says that the disk is full
            raise UserError(
                f"{place} cannot be written ({first_line(error)}): make room; samtune resume "
                f"{place.parent.parent} then goes on from what was saved before"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> Any:
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state, with plain values and tensors only.

    Raises:
        UserError: it is damaged, or none.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes make it do
        raise UserError(f"{path} is damaged, or no checkpoint ({first_line(error)})") from error
    if damaged:
        raise UserError(f"{path} is damaged (in {damaged})")
    lacking = [
        name
        for name, kind in _PARTS.items()
        if not isinstance(content, dict) or not isinstance(content.get(name), kind)
    ]
    if lacking:
        raise UserError(f"{path} is no checkpoint of a run: it has no {lacking[0]}")
    return dict(content)


def has_checkpoint(run: Path) -> bool:
    """Whether there is a state that a run may go on from, damaged or not."""
    return any((run / FOLDER / name).exists() for name in (LAST, PREVIOUS))


def find_checkpoint(run: Path) -> Path:
    """The newest whole state of a run; a damaged one is told, and the one before it is taken.

    Raises:
        UserError: there is none.
    """
    if not has_checkpoint(run):
        raise UserError(f"{run} has no {FOLDER}/{LAST} to go on from")
    reasons = []
    for name in (LAST, PREVIOUS):
        path = run / FOLDER / name
        if not path.exists():
            continue
        try:
            step = read_checkpoint(path)["global_step"]
        except UserError as error:
            reasons.append(str(error))
            continue
        if reasons or name == PREVIOUS:
            told = "; ".join(reasons) or f"{run / FOLDER / LAST} is not there"
            log.warning("%s: it goes on from the one before, of step %d", told, step)
        return path
    raise UserError(f"there is nothing to go on from: {'; '.join(reasons)}")


class Stopped(BaseException):
    """A signal has ended a training; no `Exception`, so that nothing takes it for a failure."""


class SaveLast(Checkpoint):
    """Writes `last.ckpt`, and ends the training when a signal asks for it.

    It is not written between a step and the validation that follows it: a run that goes on from there
    would leave that validation out. Nor when an epoch has been closed: with `max_steps` Lightning goes
    on from there by other steps than it would have taken.

    Args:
        run: folder of the run.
        every_steps: of the optimizer, besides after each validation and epoch; 0 for none.
    """

    def __init__(self, run: Path, every_steps: int) -> None:
        self.run, self.every_steps = run, every_steps
        self.signal: signal.Signals | None = None
        self.is_begun = False  # whether the state to go on from has been taken up
        self._is_training = self._is_saved = self._is_heeding = False
        self._saved_step = 0

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._hear_again()
        self.is_begun = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._hear_again()
        self._saved_step, self._is_training = trainer.global_step, True
        self.is_begun = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._is_training = False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._stop_if_saved(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        step, every = trainer.global_step, self.every_steps
        is_due = bool(every) and step != self._saved_step and step % every == 0
        is_due |= trainer.fit_loop.epoch_loop._is_training_done  # of the epoch, or of all
        is_asked = self._is_asked(trainer) and not trainer.fit_loop._should_accumulate()
        if (is_due or is_asked) and not _is_validation_next(trainer):
            self._save(trainer, is_asked)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._save(trainer, self._is_asked(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_saved(trainer)

    def _save(self, trainer: pl.Trainer, is_last: bool) -> None:
        trainer.save_checkpoint(self.run / FOLDER / LAST)
        self._saved_step, self._is_saved = trainer.global_step, is_last

    def _is_asked(self, trainer: pl.Trainer) -> bool:
        """Whether a signal has come, to any of the processes."""
        is_here = self.signal is not None
        return bool(trainer.strategy.reduce_boolean_decision(is_here, all=False))

    def _stop_if_saved(self, trainer: pl.Trainer) -> None:
        """End after the step's values have been logged, which Lightning does once it is over."""
        if self._is_saved:
            raise Stopped(
                f"stopped at step {trainer.global_step}, the state is saved: samtune resume {self.run} "
                "goes on"
            )

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """In this block SIGINT and SIGTERM end the training after the step at hand, with its state.

        A second one ends it at once, and so does one that comes before the first step.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._hear) for each in _SIGNALS}
        self._is_heeding = True
        try:
            yield
        finally:
            self._is_heeding = False
            for each, handler in before.items():
                signal.signal(each, handler)

    def _hear_again(self) -> None:
        """Lightning has just set a handler of its own, which leaves without a word."""
        if self._is_heeding:
            signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._is_training or self.signal is not None:
            goes_on = (
                f"samtune resume {self.run} goes on"
                if has_checkpoint(self.run)
                else "the same command begins anew"
            )
            raise Stopped(f"interrupted: {goes_on}")
        self.signal = signal.Signals(number)
        log.info("%s: the state is saved after this step", self.signal.name)


def _is_validation_next(trainer: pl.Trainer) -> bool:
    """Whether Lightning will validate before the next step."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)

"""A training whose settings are complete: its folder, what it rests on, and what is kept at its end."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError
from samtune.tasks.runs import Run
from samtune.tasks.settings import as_plain
from samtune.training.settings import FitSettings
from samtune.wording import counted, duration

if TYPE_CHECKING:
    from samtune.training.preparing import Training
    from samtune.training.record import RunRecord

log = logging.getLogger(__name__)
# How the processes that Lightning starts learn where the first one writes
_RUN_OF_PROCESSES = "SAMTUNE_RUN"


def settle_run(settings: FitSettings, config: str | Path | None) -> Path:
    """The folder of a new run.

    Raises:
        UserError: it holds one already.
    """
    from samtune.tasks.processes import is_first, place

    if place()[1] > 1 and not settings.run:
        raise UserError("several processes train together: name the folder of the run with --run")
    if _RUN_OF_PROCESSES in os.environ and not is_first():
        return Path(os.environ[_RUN_OF_PROCESSES])
    if settings.run:
        run = Path(settings.run)
        if is_first():
            _require_free(run)
        return run
    stem = Path(config).stem if config else Path(settings.data.path).resolve().stem or "run"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
    return next(path for path in (Path("runs") / name for name in names) if not path.exists())


def _require_free(run: Path) -> None:
    """Refuse a folder that holds a run, unless that was ended before its first state was saved.

    Raises:
        UserError: there is one to go on with, or one that is finished.
    """
    from samtune.training.checkpoints import has_checkpoint
    from samtune.training.record import read_record

    if not (run / "config.yaml").exists():
        return
    record = read_record(run)
    if record is None or record.is_finished or has_checkpoint(run):
        raise UserError(
            f"{run} holds a run already: go on with it by samtune resume {run}, or give another --run"
        )


def train(settings: FitSettings, is_resumed: bool = False) -> Run:
    """Run a training whose settings are complete, from its start or from its last state.

    Raises:
        UserError: another process is at it, or what it rests on has changed.
        KeyboardInterrupt: a signal has ended it; the message says how to go on.
    """
    from samtune.files import make_folder, sweep
    from samtune.locks import locked
    from samtune.tasks.processes import is_first
    from samtune.training.checkpoints import Stopped

    run = Path(settings.run)
    if is_first():
        make_folder(run)  # before its lock, which would make a folder that has vanished anew
    with locked(run) if is_first() else nullcontext():
        if is_first():
            sweep(run)
            if not is_resumed:
                _require_free(run)
                (run / "metrics.csv").unlink(missing_ok=True)  # of one without a state
        try:
            return _train(settings, run, is_resumed)
        except Stopped as stop:
            raise KeyboardInterrupt(str(stop)) from None


def _require_models(settings: FitSettings) -> None:
    """Refuse names of weights that are not there, before the run has a config.

    Raises:
        UserError: one is not.
    """
    from samtune.models.registry import require_there

    require_there(settings.base)
    if settings.start and not Path(settings.start).exists():
        raise UserError(f"there is no run {settings.start} to start from")
    if settings.checkpoint and not Path(settings.checkpoint).is_file():
        raise UserError(f"there is no checkpoint {settings.checkpoint}")


def _train(settings: FitSettings, run: Path, is_resumed: bool) -> Run:
    import torch

    from samtune.files import write_text
    from samtune.tasks.check import check_before_fit
    from samtune.tasks.choosing import choose_weights
    from samtune.tasks.choosing_decoding import choose_decoding
    from samtune.tasks.comparing_prompts import compare_prompts
    from samtune.tasks.opening import bound_threads, input_side, num_processes_of
    from samtune.tasks.processes import is_first
    from samtune.training.checkpoints import find_checkpoint
    from samtune.training.preparing import fit_memory
    from samtune.training.record import watch

    torch.set_flush_denormal(True)
    taken = watch()
    checkpoint = find_checkpoint(run) if is_resumed else None
    _require_models(settings)  # before all that takes time
    training = plan(settings)
    record = _go_on(training, run) if is_resumed else None
    training.data.setup("fit")
    if settings.check and is_first() and not is_resumed:
        check_before_fit(training.data, input_side(settings.base, settings.image_size))
    if settings.auto and not is_resumed:  # a resumed run keeps what was chosen
        if training.trainer.world_size > 1:
            raise UserError(
                "--auto is for one process: each would choose for itself; let one choose, and give "
                "its data.batch_size and trainer.accumulate_grad_batches to all"
            )
        for line in fit_memory(training):
            log.info(line)
    record = record or _record_of(training)
    if is_first():
        record.save(run)
        write_text(run / "config.yaml", to_yaml(training.settings))
        os.environ[_RUN_OF_PROCESSES] = str(run.resolve())
    training.model.configure_model()
    bound_threads(training.model.network)
    training.model.num_processes = num_processes_of(training.model.network)
    with training.saver.heeding_signals():
        _fit(training, checkpoint)
        if settings.model.head != "none":
            if is_first() and settings.choose:
                for sentence in choose_decoding(training, run):
                    log.info("%s", sentence)
                if settings.model.head_encoder != "frozen":
                    log.info(compare_prompts(training.data, run))
        elif settings.choose and settings.data.format != "drawn":
            if training.trainer.world_size == 1:
                log.info(choose_weights(training, run))
            else:
                log.info(
                    "with several processes nothing is compared at the end: the weights with the "
                    "best validation are kept"
                )
    if is_first():
        took = taken()
        record.finish(run, took | {"steps": training.trainer.global_step})
        log.info(
            "%s, %s of CPU: %s", duration(took["seconds"]), duration(took["cpu_seconds"]),
            counted(training.trainer.global_step, "step"),
        )  # fmt: skip
    return Run(run)


def _go_on(training: Training, run: Path) -> RunRecord | None:
    """Let a training rest on what its run began with; `None` where nothing was written down.

    Raises:
        UserError: settings have changed that a run cannot go on without.
    """
    from samtune.training.record import read_record

    record = read_record(run)
    if record is None:
        return None
    record.require_same(as_plain(training.settings), run)
    training.data.keep_splits(record.splits, is_training=True)
    if changed := record.changed_versions():
        log.warning(
            "packages have changed since the run began, and with them the last digits: %s",
            ", ".join(changed),
        )
    return record


def _record_of(training: Training) -> RunRecord:
    from samtune.training.record import RunRecord, versions

    is_drawn = training.settings.data.format == "drawn"
    splits = {} if is_drawn else training.data.image_ids()
    return RunRecord(as_plain(training.settings), splits, versions())


def _fit(training: Training, checkpoint: Path | None) -> None:
    """Lightning's part; a state that does not fit is told in a line."""
    from samtune.errors import first_line

    place = None if checkpoint is None else str(checkpoint)
    try:
        training.trainer.fit(training.model, training.data, ckpt_path=place)
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if place is None or training.saver.is_begun:
            raise
        raise UserError(
            f"{place} cannot be resumed from: it does not fit this run ({first_line(error)})"
        ) from error
    finally:
        training.model.on_train_end()  # Lightning calls it only where nothing went wrong


def plan(settings: FitSettings) -> Training:
    """Trainer, model and data of a training, without loading weights."""
    from samtune.tasks.opening import quieten
    from samtune.training.preparing import prepare

    quieten()
    return prepare(settings, as_plain(settings))


def to_yaml(settings: FitSettings) -> str:
    """Settings as config.yaml holds them."""
    import yaml

    return yaml.safe_dump(as_plain(settings), sort_keys=False, allow_unicode=True)

"""`fit` and `resume`: images and masks in, a run out."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.ranges import Count
from samtune.tasks.arguments import task
from samtune.tasks.runs import Run
from samtune.tasks.settings import (
    DataLike,
    Layer,
    as_plain,
    build,
    data_layer,
    differing,
    on_files,
    read_settings,
)
from samtune.training.settings import (
    FitSettings,
    LoggingSettings,
    ModelSettings,
    TrainerSettings,
)

if TYPE_CHECKING:
    from samtune.training.preparing import Training
    from samtune.training.record import RunRecord

log = logging.getLogger(__name__)
# Settings of the trainer that a budget takes the place of
_OF_LENGTH = (
    "max_epochs", "max_steps", "max_time", "val_check_interval", "check_val_every_n_epoch",
)  # fmt: skip
# How the processes that Lightning starts learn where the first one writes
_RUN_OF_PROCESSES = "SAMTUNE_RUN"


@task
def fit(
    data: DataLike = None,
    *,
    base: str | Path | None = None,
    start: str | Path | None = None,
    run: str | Path | None = None,
    config: str | Path | None = None,
    budget: str | None = None,
    model: Layer | ModelSettings | None = None,
    trainer: Layer | TrainerSettings | None = None,
    seed: int | None = None,
    checkpoint: str | Path | None = None,
    image_size: Count | None = None,
    auto: bool | None = None,
    check: bool | None = None,
    choose: bool | None = None,
    early_stopping: Count | None = None,
    checkpoint_steps: Count | None = None,
    logging: Layer | LoggingSettings | None = None,
) -> Run:
    """Fine-tune a SAM on your images and masks.

    Settings are those of `config`, with what is given laid over them; the run's config.yaml holds
    all of them. At the end the weights are kept that help most on the validation images and hurt no
    kind of prompt; if no weights do, the base is kept (choice.json says why).

    Args:
        data: folder or file with your images and masks, or settings of the data.
        base: what to start from: a name (`samtune models` lists them), hub id, folder, official
            file, or a run, to tune on from its result (default: vit_b).
        start: a run on the same base, from whose adapter training goes on: unlike a base that is a run,
            the result is compared with the base of both (default: begin anew).
        run: folder of the run (default: runs/ and the name of config or data).
        config: YAML file with settings, such as `init` writes.
        budget: time to train, with validations and the choice at the end: 90s, 5m, 2h (default:
            trainer.max_epochs says how long).
        model: what is trained, and how.
        trainer: Lightning's Trainer: length, devices, precision.
        seed: number that fixes all that is random, unless data.seed says otherwise (default: 0).
        checkpoint: official weights for a registry name, instead of a download.
        image_size: side of the square input; 0 keeps the model's own (1024, nano 256).
        auto: make the steps fit the free memory (fewer objects or images at once, checkpointing);
            data.batch_size stays the number of images behind each step (default: false).
        check: look at some of the data first; stop where they would spoil the result (default: true).
        choose: at the end compare the last and the best weights, at several strengths, with the
            base on the validation images, and keep what helps; false keeps the best by validation
            mIoU (default: true).
        early_stopping: validations without improvement after which training stops; 0 never.
        checkpoint_steps: write checkpoints/last.ckpt every so many steps too, not only after each
            validation and epoch.
        logging: where metrics go besides metrics.csv: Weights & Biases, TensorBoard.

    Raises:
        UserError: a setting makes no sense, the data would spoil the result, or the run is there.
    """
    given = {
        "base": base, "start": start, "run": run, "budget": budget, "seed": seed,
        "checkpoint": checkpoint, "image_size": image_size,
        "auto": auto, "check": check, "choose": choose, "early_stopping": early_stopping,
        "checkpoint_steps": checkpoint_steps, "model": model, "trainer": trainer,
        "logging": logging, "data": data,
    }  # fmt: skip
    settings = gather(config, given)
    settings = replace(settings, run=str(settle_run(settings, config)))
    return train(settings)


@task
def resume(run: str | Path, *, trainer: Layer | TrainerSettings | None = None) -> Run:
    """Go on with a run where it stopped; its losses are those of a run that was never interrupted.

    Settings and training images stay those that the run began with, even if images have been added
    since.

    Args:
        run: folder of the run.
        trainer: what is to change now in Lightning's Trainer, such as the accelerator or max_epochs;
            all other settings stay those of the run, and so does the number of processes.

    Raises:
        UserError: there is no run, nothing to go on from, or settings in its config.yaml or images
            have changed that it cannot go on without.
    """
    from samtune.training.checkpoints import LAST, has_checkpoint
    from samtune.training.record import read_record

    folder = Path(run)
    is_begun = has_checkpoint(folder)
    if not is_begun and read_record(folder) is None:
        raise UserError(f"{folder} has no checkpoints/{LAST} to go on from")
    other = differing(trainer) if isinstance(trainer, TrainerSettings) else trainer
    settings = gather(folder / "config.yaml", {"trainer": other, "run": str(folder)})
    return train(settings, is_resumed=is_begun)


def gather(config: str | Path | None, given: Layer) -> FitSettings:
    """All settings of a training: those of a config, with what is given laid over them.

    Raises:
        UserError: one is unknown, or its value makes no sense; or the data, by which the tile is to be
            chosen, cannot be read.
    """
    from samtune.data.checks.tiling import with_tile
    from samtune.tasks.opening import input_side

    below = dict(read_settings(config)) if config is not None else {}
    above = {name: value for name, value in given.items() if value is not None}
    if above.get("budget", below.get("budget")):
        _require_no_length(above.get("trainer"))
    sections: dict[str, Any] = {}
    for name, kind in (
        ("model", ModelSettings), ("trainer", TrainerSettings), ("logging", LoggingSettings),
    ):  # fmt: skip
        sections[name] = build(kind, name, below.pop(name, None), above.pop(name, None))
    seed = above.get("seed", below.get("seed", 0))
    data = (data_layer(below.pop("data", None)), data_layer(above.pop("data", None)))
    _require_no_config(data[1])
    data = (on_files(data[0] or {}, data[1]), data[1])
    sections["data"] = build(DataSettings, "data", {"seed": seed}, *data)
    if seed != below.get("seed", seed):  # another seed is meant for all, unless data.seed is given
        is_own = isinstance(data[1], DataSettings) or "seed" in (data[1] or {})
        sections["data"] = sections["data"] if is_own else replace(sections["data"], seed=seed)
    for name in ("base", "start", "run", "checkpoint"):
        if name in above:
            above[name] = str(above[name])
    plain = build(FitSettings, "", below, above)
    sections["data"] = with_tile(sections["data"], input_side(plain.base, plain.image_size))
    return replace(plain, **sections)


def _require_no_length(trainer: Any) -> None:
    """Refuse flags that a budget of time would overrule without a word."""
    given = trainer if isinstance(trainer, Mapping) else {}
    if idle := [name for name in _OF_LENGTH if given.get(name) is not None]:
        raise UserError(
            f"trainer.{idle[0]} means nothing beside a budget of time, which says how long it takes "
            "and when it is validated: give one of them (--budget '' takes a config's away)"
        )


def _require_no_config(data: Any) -> None:
    """Refuse a config where data are expected: it would be taken for YOLO's YAML file."""
    path = Path(str(data.get("path") or "")) if isinstance(data, dict) else Path()
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        return
    if {"data", "base", "model", "trainer"} & read_settings(path).keys():
        raise UserError(f"{path} is a config, and no data set: give it as --config {path}")


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


def _train(settings: FitSettings, run: Path, is_resumed: bool) -> Run:
    import torch

    from samtune.files import write_text
    from samtune.tasks.check import check_before_fit
    from samtune.tasks.choosing import choose_weights
    from samtune.tasks.choosing_decoding import choose_decoding
    from samtune.tasks.comparing_prompts import compare_prompts
    from samtune.tasks.opening import bound_threads, input_side
    from samtune.tasks.processes import is_first
    from samtune.training.checkpoints import find_checkpoint
    from samtune.training.preparing import fit_memory

    torch.set_flush_denormal(True)
    checkpoint = find_checkpoint(run) if is_resumed else None
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
    with training.saver.heeding_signals():
        _fit(training, checkpoint)
        if settings.model.head != "none":
            if is_first() and settings.choose:
                log.info(choose_decoding(training.data, run, settings.model.head))
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
        record.finish(run)
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

"""`fit` and `resume`: images and masks in, a run out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.ranges import Count
from samtune.tasks.arguments import task
from samtune.tasks.runs import Run
from samtune.tasks.settings import (
    DataLike,
    Layer,
    build,
    data_layer,
    differing,
    on_files,
    read_settings,
)
from samtune.tasks.train import settle_run, train
from samtune.training.settings import (
    FitSettings,
    LoggingSettings,
    ModelSettings,
    TrainerSettings,
)

# Settings of the trainer that a budget takes the place of
_OF_LENGTH = (
    "max_epochs", "max_steps", "max_time", "val_check_interval", "check_val_every_n_epoch",
)  # fmt: skip


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
    sharpen: bool | None = None,
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
        sharpen: after the choice train a small network that draws the edges of masks by the pixels,
            or of the objects that a head for instances finds, and keep it where it helps the
            validation images (default: true).
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
        "auto": auto, "check": check, "choose": choose, "sharpen": sharpen,
        "early_stopping": early_stopping, "checkpoint_steps": checkpoint_steps,
        "model": model, "trainer": trainer,
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
        UserError: there is no run, nothing to go on from, nothing left to do, or settings in its
            config.yaml or images have changed that it cannot go on without.
    """
    from samtune.training.checkpoints import LAST, has_checkpoint
    from samtune.training.record import read_record

    folder = Path(run)
    is_begun, record = has_checkpoint(folder), read_record(folder)
    if not is_begun and record is None:
        raise UserError(f"{folder} has no checkpoints/{LAST} to go on from")
    if record is not None and record.is_finished and not trainer:
        raise UserError(
            f"{folder} came to its end: there is nothing left to do. To train it longer, give "
            "--trainer.max_epochs or --trainer.max_steps; to tune on from its result in a run of its "
            f"own, samtune fit --start {folder}"
        )
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

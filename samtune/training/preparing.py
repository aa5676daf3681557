"""From settings to a trainer, a model and data that Lightning can run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)

from samtune.data.datamodule import SamDataModule
from samtune.data.source import Source
from samtune.data.views import REPEATS, class_counts, class_shares, fitting_tile, fitting_tiles
from samtune.errors import UserError, first_line
from samtune.heads.semantic import balanced_weights
from samtune.heads.table import HEADS
from samtune.training.budget import (
    LEAST_FOR_OBJECTS,
    LEAST_SHARPENED,
    NUM_VALIDATIONS,
    OBJECTS_SHARE,
    SHARPENING_SHARE,
    Budget,
    seconds_of,
    steps_of,
)
from samtune.training.callbacks import build_callbacks, with_progress_bar
from samtune.training.checkpoints import SaveLast, WholeCheckpoints
from samtune.training.heads import HeadTuner
from samtune.training.loggers import build_loggers
from samtune.training.memory import choose_plan, free_memory
from samtune.training.module import SamTuner
from samtune.training.settings import FitSettings, ModelSettings, TrainerSettings
from samtune.windows import OBJECT_SIDE

# Images of a validation where steps are counted
_VALIDATED = 60


@dataclass
class Training:
    """What Lightning runs; the weights are not loaded yet.

    Attributes:
        settings: all of them; `fit_memory` may change some.
        model, data, trainer: made of them.
    """

    settings: FitSettings
    model: SamTuner | HeadTuner
    data: SamDataModule
    trainer: pl.Trainer

    @property
    def saver(self) -> SaveLast:
        """What keeps the state of the training."""
        callbacks: Any = self.trainer.callbacks  # type: ignore[attr-defined]
        return next(each for each in callbacks if isinstance(each, SaveLast))


def prepare(settings: FitSettings, plain: dict[str, Any]) -> Training:
    """Build trainer, model and data.

    Args:
        settings: of the training.
        plain: the same for the loggers.

    Raises:
        UserError: an accelerator is not there, a strategy unknown, or settings do not go together.
    """
    # an encoder that learns answers otherwise each time: a view that comes again saves nothing
    repeats = REPEATS if settings.model.head_encoder == "frozen" else 1
    data = SamDataModule(settings.data, settings.model.head != "none", repeats)
    model = _build_model(settings, data)
    run = Path(settings.run)
    try:
        pl.seed_everything(settings.seed, workers=True, verbose=False)
        seconds = seconds_of(settings.budget)
        budget = Budget(seconds, _sharpening_share(settings, seconds)) if seconds else None
        if budget is not None:
            data.spread_validation(budget.most_validated)
        steps = steps_of(settings.budget)
        if steps:
            data.spread_validation(_VALIDATED)
        trainer = pl.Trainer(
            **_arguments(settings.trainer, budget, steps, isinstance(model, HeadTuner)),
            callbacks=build_callbacks(
                run,
                settings.early_stopping,
                settings.checkpoint_steps,
                settings.logging.panels,
                model.monitor,
                budget,
            ),
            logger=build_loggers(run, settings.logging, plain),
            default_root_dir=str(run),
            enable_progress_bar=with_progress_bar(),
            enable_model_summary=False,
            # the loaders share the images among the processes themselves, none twice
            use_distributed_sampler=False,
            plugins=[WholeCheckpoints()],
        )
    except UserError:
        raise
    except (RuntimeError, MisconfigurationException, ValueError, TypeError) as error:
        # how Lightning reports that an accelerator is not there, or a strategy unknown
        raise UserError(first_line(error)) from error
    if budget is not None and trainer.world_size > 1:
        raise UserError(
            "a budget of time is for one process, since the clocks of several differ: give "
            "trainer.max_steps instead"
        )
    _require_whole_weights(trainer.strategy)
    return Training(settings, model, data, trainer)


def _sharpening_share(settings: FitSettings, seconds: float) -> float:
    """Of a budget of time, what is kept back to train a sharpener after the weights."""
    if not settings.sharpen or not settings.choose:
        return 0.0
    if settings.model.head == "none":
        is_wanted = settings.data.format != "drawn" and seconds >= LEAST_SHARPENED
        return SHARPENING_SHARE if is_wanted else 0.0
    is_wanted = settings.model.head == "instances" and seconds >= LEAST_FOR_OBJECTS
    return OBJECTS_SHARE if is_wanted else 0.0


def _build_model(settings: FitSettings, data: SamDataModule) -> SamTuner | HeadTuner:
    """What is trained: SAM, or a head beside it, which has to know the data first.

    Raises:
        UserError: settings do not go together, or the data cannot be read.
    """
    model = settings.model
    if model.head == "none":
        return SamTuner(
            settings.base, model, settings.data.recipe, settings.data.reading,
            settings.checkpoint, settings.image_size, settings.start,
        )  # fmt: skip
    if settings.auto or settings.data.cache.mode != "off":
        raise UserError(
            "auto and data.cache are for a SAM that is tuned: leave them out for a head"
        )
    if settings.start:
        raise UserError(
            f"start is for a SAM that is tuned: for a head give the run as base ({settings.start})"
        )
    return HeadTuner(
        settings.base, model, partial(_look, model, data),
        settings.data.reading, settings.data.recipe, settings.checkpoint, settings.image_size,
    )  # fmt: skip


def _look(model: ModelSettings, data: SamDataModule, side: int) -> dict[str, Any]:
    """Settings of a head that the training images tell."""
    source = data.whole_source("train")
    tile = fitting_tile(source, side) if model.head_tile < 0 else model.head_tile
    about: dict[str, Any] = {"tile": tile}
    if HEADS[model.head].follows_objects and model.head_tile < 0:
        about |= {"object_side": OBJECT_SIDE, "tiles": fitting_tiles(source, side)}
    if sizes := _class_sizes(source, model.head):
        about |= {"classes": list(sizes), "weights": balanced_weights(list(sizes.values()))}
    return about


def _class_sizes(source: Source, head: str) -> Mapping[str, float]:
    """How much of each class there is, for a head that has classes."""
    by = HEADS[head].weighed_by
    if not by:
        return {}
    return class_shares(source) if by == "pixels" else class_counts(source)


def classes_known(training: Training) -> set[str]:
    """The classes that a head will know, of its training images; of instances none.

    Raises:
        UserError: they cannot be read, or hold fewer than the head needs.
    """
    source = training.data.whole_source("train")
    return set(_class_sizes(source, training.settings.model.head))


def _arguments(
    settings: TrainerSettings, budget: Budget | None, steps: int, is_head: bool
) -> dict[str, Any]:
    found = {**asdict(settings), "max_time": settings.max_time or None}
    if is_head:  # without training it is nothing to compare with
        found["num_sanity_val_steps"] = 0
    if budget is None and not steps:
        return found
    batches = -(-steps * settings.accumulate_grad_batches // NUM_VALIDATIONS)
    every = batches if budget is None else budget.between_validations
    return found | {
        "max_epochs": -1, "min_epochs": 0, "max_steps": steps or -1, "max_time": None,
        "val_check_interval": every, "check_val_every_n_epoch": None,
    }  # fmt: skip


def _require_whole_weights(strategy: Strategy) -> None:
    """Strategies that shard the weights leave no process with a whole adapter to save."""
    if isinstance(strategy, FSDPStrategy | DeepSpeedStrategy | ModelParallelStrategy):
        raise UserError(
            f"{type(strategy).__name__} shards the weights, and a whole adapter could not be saved: a "
            "SAM with its adapter fits on one GPU, so use --trainer.strategy ddp (less memory: --auto "
            "true, --model.with_checkpointing true, --model.quantize 4bit)"
        )


def fit_memory(training: Training) -> list[str]:
    """Choose batch, accumulation, chunks and checkpointing by what is free, and note the choice.

    For a SAM that is tuned: heads are small.

    Returns:
        What was looked at and chosen, line by line.
    """
    model, data, trainer, settings = (
        training.model, training.data, training.trainer, training.settings,
    )  # fmt: skip
    assert isinstance(model, SamTuner), "settings refuse auto for heads"
    model.configure_model()
    device = trainer.strategy.root_device
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    free = free_memory(device) - (weights if device.type != "cpu" else 0)
    recipe = model.recipe
    rounds = 1 + recipe.num_corrections + recipe.num_refinements
    plan, lines = choose_plan(
        model.network, data.batch_size * trainer.accumulate_grad_batches,
        data.max_objects or recipe.max_objects, rounds, free,
    )  # fmt: skip
    data.batch_size = plan.batch_size
    trainer.accumulate_grad_batches = plan.accumulate
    model.objects_per_chunk = plan.objects_per_chunk
    model.with_checkpointing = plan.with_checkpointing
    model.network.with_checkpointing = plan.with_checkpointing
    training.settings = replace(
        settings,
        auto=False,  # a resumed run keeps what was chosen
        data=replace(settings.data, batch_size=plan.batch_size),
        trainer=replace(settings.trainer, accumulate_grad_batches=plan.accumulate),
        model=replace(
            settings.model, objects_per_chunk=plan.objects_per_chunk,
            with_checkpointing=plan.with_checkpointing,
        ),
    )  # fmt: skip
    return lines


def num_steps(training: Training, num_images: int) -> int:
    """Steps of the optimizer that a training with so many images takes.

    Raises:
        UserError: neither epochs nor steps are limited.
    """
    trainer = training.trainer
    if trainer.max_steps > 0:
        return int(trainer.max_steps)
    if not trainer.max_epochs or trainer.max_epochs < 0:
        raise UserError("set trainer.max_epochs or trainer.max_steps in the config")
    images = training.data.batch_size * max(1, trainer.world_size)
    batches = -(-num_images // images)
    return int(trainer.max_epochs * -(-batches // trainer.accumulate_grad_batches))

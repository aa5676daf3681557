"""`samtune fit`: settings in, a run folder out."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)

from samtune.commands.data_check import check_before_fit, input_side
from samtune.commands.options import one_line, quieten
from samtune.commands.processes import is_first, place
from samtune.data.datamodule import SamDataModule
from samtune.errors import UserError
from samtune.files import write_text
from samtune.training.callbacks import build_callbacks, with_progress_bar
from samtune.training.loggers import LoggingSettings, build_loggers
from samtune.training.memory import choose_plan, free_memory
from samtune.training.module import SamTuner
from samtune.types import View

# How the processes that Lightning starts learn where the first one writes
_RUN_OF_PROCESSES = "SAMTUNE_RUN"
TRAINER_DEFAULTS = {
    "max_epochs": 20,
    "gradient_clip_val": 1.0,
    "log_every_n_steps": 5,
    # The whole validation before the first step: it measures the base.
    "num_sanity_val_steps": -1,
    "enable_model_summary": False,
    "logger": False,
    "enable_checkpointing": True,
    # the loaders share the images among the processes themselves, none twice
    "use_distributed_sampler": False,
}


class FitCLI(LightningCLI):
    """LightningCLI with samtune's own settings; it parses and builds, `fit` runs it."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run", type=str, default="", help="Folder of the run (default: runs/CONFIG)."
        )
        parser.add_argument(
            "--early_stopping", type=int, default=0,
            help="Stop after so many validations without improvement (0: never).",
        )  # fmt: skip
        parser.add_argument(
            "--checkpoint_steps", type=int, default=0,
            help="Write checkpoints/last.ckpt every so many steps (0: after each epoch).",
        )  # fmt: skip
        parser.add_argument(
            "--ckpt_path", type=str, default="", help="Resume from this checkpoint."
        )
        parser.add_argument(
            "--auto", type=bool, default=False,
            help="Cut the steps to the memory that is free: chunks, checkpointing, images at a time; "
            "data.batch_size stays the number of images behind each step of the optimizer.",
        )  # fmt: skip
        parser.add_argument(
            "--check", type=bool, default=True,
            help="Look at some of the data first; stop where they would spoil the result.",
        )  # fmt: skip
        parser.add_class_arguments(LoggingSettings, "logging")
        parser.link_arguments("data.recipe", "model.recipe")
        parser.link_arguments("data.stretch", "model.stretch")
        parser.link_arguments("data.bands", "model.bands")
        parser.link_arguments("data.value_range", "model.value_range")
        for field in fields(View):
            parser.link_arguments(f"data.{field.name}", f"model.view.{field.name}")
        parser.link_arguments("seed_everything", "data.seed")

    def before_instantiate_classes(self) -> None:
        """Settle the run folder and hang callbacks and loggers on it."""
        config = self.config
        self.run = _settle_run(config)
        self.settings_text = self.parser.dump(config)
        config.trainer.callbacks = None

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        config = self.config
        settings = LoggingSettings(**_as_dict(config.logging))
        kwargs["callbacks"] = build_callbacks(
            self.run, config.early_stopping, config.checkpoint_steps, settings.panels
        )
        kwargs["logger"] = build_loggers(self.run, settings, yaml.safe_load(self.settings_text))
        kwargs["enable_progress_bar"] = with_progress_bar()
        kwargs["default_root_dir"] = str(self.run)
        return super().instantiate_trainer(**kwargs)


def parse(arguments: list[str]) -> FitCLI:
    """Parse the arguments of `fit` and build trainer, model and data, without loading weights.

    Raises:
        UserError: a setting is unknown, or its value is of the wrong kind.
    """
    try:
        return FitCLI(
            SamTuner,
            SamDataModule,
            run=False,
            args=config_first(arguments),
            seed_everything_default=0,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            parser_kwargs={
                "exit_on_error": False,
                "allow_abbrev": False,
                "prog": "samtune fit",
            },
        )
    except ArgumentError as error:
        raise UserError(one_line(str(error))) from error
    except UserError:
        raise
    except (RuntimeError, MisconfigurationException, ValueError) as error:
        # how Lightning reports that an accelerator is not there, or a strategy unknown
        raise UserError(one_line(str(error))) from error


def fit(arguments: list[str]) -> Path:
    """Run `samtune fit ARGUMENTS`; `--resume RUN` goes on with a run where it stopped.

    Returns:
        The run folder.
    """
    quieten()
    if "--resume" in arguments:
        arguments = _resume_arguments(arguments)
    torch.set_flush_denormal(True)
    cli = parse(arguments)
    if place()[1] > 1 and not _names_run(arguments):
        raise UserError("several processes train together: name the folder of the run with --run")
    _require_whole_weights(cli.trainer.strategy)
    cli.datamodule.setup("fit")
    if cli.config.check and is_first() and not cli.config.ckpt_path:
        check_before_fit(cli.datamodule, input_side(cli.model.base, cli.model.input_side))
    if cli.config.auto and not cli.config.ckpt_path:  # a resumed run keeps what was chosen
        if cli.trainer.world_size > 1:
            raise UserError(
                "--auto is for one process: each would choose for itself; let one choose, and give "
                "its data.batch_size and trainer.accumulate_grad_batches to all"
            )
        _fit_memory(cli)
    if is_first():
        write_text(cli.run / "config.yaml", cli.settings_text)
        os.environ[_RUN_OF_PROCESSES] = str(cli.run.resolve())
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path or None)
    return cli.run


def _require_whole_weights(strategy: Strategy) -> None:
    """Strategies that shard the weights leave no process with a whole adapter to save."""
    if isinstance(strategy, FSDPStrategy | DeepSpeedStrategy | ModelParallelStrategy):
        raise UserError(
            f"{type(strategy).__name__} shards the weights, and a whole adapter could not be saved: a "
            "SAM with its adapter fits on one GPU, so use --trainer.strategy ddp (less memory: --auto "
            "true, --model.with_checkpointing true, --model.quantize 4bit)"
        )


def _names_run(arguments: list[str]) -> bool:
    return any(argument.split("=")[0] == "--run" for argument in arguments)


def _fit_memory(cli: FitCLI) -> None:
    """Choose batch, accumulation, chunks and checkpointing by what is free, and note the choice."""
    model, data, trainer, config = cli.model, cli.datamodule, cli.trainer, cli.config
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
    print("\n".join(lines))
    data.batch_size = config.data.batch_size = plan.batch_size
    trainer.accumulate_grad_batches = config.trainer.accumulate_grad_batches = plan.accumulate
    model.objects_per_chunk = config.model.objects_per_chunk = plan.objects_per_chunk
    model.with_checkpointing = config.model.with_checkpointing = plan.with_checkpointing
    model.network.with_checkpointing = plan.with_checkpointing
    config.auto = False  # a resumed run keeps what was chosen
    cli.settings_text = cli.parser.dump(config)


def main(arguments: list[str]) -> None:
    if "--help" in arguments or "-h" in arguments:
        parse(["--help"])
    run = fit(arguments)
    if not is_first():
        return
    print(f"the run is in {run}; next: samtune evaluate {run}")


def config_first(arguments: list[str]) -> list[str]:
    """Move `--config FILE` to the front: jsonargparse lets it overrule the flags before it."""
    first: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        is_pair = arguments[position] in ("--config", "-c")
        target = first if is_pair or arguments[position].startswith("--config=") else rest
        target += arguments[position : position + 1 + is_pair]
        position += 1 + is_pair
    return first + rest


def _settle_run(config: Namespace) -> Path:
    if config.ckpt_path:
        if not config.run:
            raise UserError("--ckpt_path goes on with a run: give its folder with --run")
        return Path(config.run)
    if _RUN_OF_PROCESSES in os.environ and not is_first():
        return Path(os.environ[_RUN_OF_PROCESSES])
    if config.run:
        run = Path(config.run)
        if is_first() and (run / "config.yaml").exists():
            raise UserError(
                f"{run} holds a run already: go on with it by --resume {run}, or give another --run"
            )
        return run
    files = config.get("config") or []
    stem = Path(str(files[-1])).stem if files else "run"
    candidates = (
        Path("runs") / name for name in (stem, *(f"{stem}-{n}" for n in range(2, 10_000)))
    )
    run = next(path for path in candidates if not path.exists())
    config.run = str(run)
    return run


def _resume_arguments(arguments: list[str]) -> list[str]:
    position = arguments.index("--resume")
    if position + 1 >= len(arguments):
        raise UserError("--resume needs the folder of a run")
    run = Path(arguments[position + 1])
    checkpoint = run / "checkpoints" / "last.ckpt"
    if not checkpoint.exists():
        raise UserError(f"{run} has no checkpoints/last.ckpt to go on from")
    rest = arguments[:position] + arguments[position + 2 :]
    return [
        "--config", str(run / "config.yaml"), "--run", str(run), "--ckpt_path", str(checkpoint),
        *rest,
    ]  # fmt: skip


def _as_dict(value: Any) -> dict[str, Any]:
    return dict(value.as_dict()) if isinstance(value, Namespace) else dict(value)

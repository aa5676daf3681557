"""What the commands that evaluate share: which model, on which data, with which prompts."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from samtune.commands.options import one_line, read_settings
from samtune.data.datamodule import SamDataModule
from samtune.data.procedural import ProceduralScenes
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.evaluation.compare import EvaluationSettings
from samtune.evaluation.forgetting import NUM_GENERAL
from samtune.evaluation.own_prompts import OwnPrompts
from samtune.inference.prompt_files import read_prompts
from samtune.models.backend import Sam
from samtune.models.loading import find_tuned
from samtune.prompts.protocols import (
    EVALUATION_PROTOCOLS,
    GROUPS,
    NUMBERED,
    PROTOCOLS,
    RECIPES,
    Recipe,
    find_protocols,
)

_KINDS = ", ".join((*PROTOCOLS, *NUMBERED, *GROUPS))


def add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    add_data_options(parser)
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--image-size", type=int, default=0, help="of a base model; 0: its own")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help="a fit config whose data section to use")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, auto")


def add_protocol_options(
    parser: argparse.ArgumentParser, default: tuple[str, ...] = EVALUATION_PROTOCOLS
) -> None:
    parser.add_argument(
        "--protocols", nargs="*", default=list(default), metavar="NAME",
        help=f"any of {_KINDS}; N is a number (default: {' '.join(default)})",
    )  # fmt: skip
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE",
        help="your own prompts, as for samtune predict, asked beside the protocols",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of prompts and bootstrap")
    parser.add_argument("--repeats", type=int, default=1, help="draws of random prompts")
    parser.add_argument(
        "--multimask", choices=("auto", "always", "never"), default="auto",
        help="three masks for a single prompt, the best by predicted IoU taken; auto: as trained",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", type=float, nargs=2, default=[1.0, 1.0], metavar=("ROW", "COLUMN"),
        help="distance between rows and between columns, for distances between outlines",
    )  # fmt: skip
    parser.add_argument("--unit", default="px", help="of the spacing, such as mm or m")
    parser.add_argument(
        "--tolerance", type=float, default=2.0, help="of surface Dice, in the unit of the spacing"
    )


def evaluation_settings(
    options: argparse.Namespace, data: SamDataModule, sam: Sam, rank: int = 0, world: int = 1
) -> EvaluationSettings:
    """Settings of a comparison from the options of a command.

    Raises:
        UserError: a protocol is unknown, or a number makes no sense.
    """
    if options.repeats < 1:
        raise UserError(f"--repeats is {options.repeats}: give a whole number from 1 up")
    if min(options.spacing) <= 0 or options.tolerance < 0:
        raise UserError("--spacing must be above 0, and --tolerance 0 or more")
    own = None
    if options.prompts is not None:
        if data.tile:
            raise UserError("--prompts is for whole images: set --data.tile 0")
        own = OwnPrompts(tuple(read_prompts(options.prompts, [])))
    if not options.protocols and own is None:
        raise UserError("there is nothing to ask: name --protocols, or give --prompts FILE")
    return EvaluationSettings(
        protocols=tuple(find_protocols(options.protocols)),
        own=own,
        seed=options.seed,
        repeats=options.repeats,
        min_area=data.min_area,
        max_images=getattr(options, "max_images", 0),
        with_multimask={"auto": sam.with_multimask, "always": True, "never": False}[
            options.multimask
        ],
        spacing=(options.spacing[0], options.spacing[1]),
        tolerance=options.tolerance,
        on_error=data.on_error,
        num_workers=data.num_workers,
        rank=rank,
        world=world,
    )


def general_source(
    name: str, settings: EvaluationSettings, protocols: tuple[str, ...]
) -> tuple[Source, EvaluationSettings]:
    """Images on which to look for forgetting, and how to ask there.

    Args:
        name: `procedural`, or a path that `data.path` could be.
        settings: of the comparison on the domain.
        protocols: to ask with.
    """
    elsewhere = replace(
        settings, protocols=tuple(find_protocols(protocols)), own=None, max_images=0
    )
    if name == "procedural":
        return ProceduralScenes("test", num_scenes=NUM_GENERAL), elsewhere
    data = SamDataModule(path=name)
    return data.source("test"), replace(elsewhere, min_area=data.min_area)


def recipe_of(run: Path | None) -> Recipe | None:
    """The recipe that a run was trained with."""
    if run is None:
        return None
    return RECIPES.get(
        (read_settings(run / "config.yaml").get("data") or {}).get("recipe", "mixed")
    )


def find_run(path: Path) -> Path | None:
    """The run folder that a model belongs to, if it does to one."""
    for folder in (path, path.parent, path.parent.parent):
        if (
            path.exists()
            and (folder / "config.yaml").exists()
            and (folder / "metrics.csv").exists()
        ):
            return folder
    return None


def require_tuned(model: str) -> Path:
    """The folder with the tuned weights of a run or adapter.

    Raises:
        UserError: the model was not tuned, or is a single checkpoint.
    """
    folder = find_tuned(Path(model)) if Path(model).exists() else None
    if folder is None:
        raise UserError(f"{model} holds no tuned model: give a run folder or an adapter folder")
    return folder


def is_tuned(model: str) -> bool:
    path = Path(model)
    return path.exists() and (path.suffix == ".ckpt" or find_tuned(path) is not None)


def build_data(run: Path | None, config: str | None, arguments: list[str]) -> SamDataModule:
    """The data of a run, of a config file, or of the arguments alone.

    Raises:
        UserError: no data are named, or a setting is unknown.
    """
    parser = ArgumentParser(exit_on_error=False, prog="samtune evaluate")
    parser.add_class_arguments(SamDataModule, "data")
    defaults: dict[str, Any] = {}
    if config is not None:
        defaults = _data_section(Path(config))
    elif run is not None:
        defaults = _data_section(run / "config.yaml")
    if not defaults and not _names(arguments, "--data.path", "--data.format"):
        raise UserError("no data: give --data.path FOLDER, or --config FILE")
    if defaults.get("format") == "procedural" and _names(arguments, "--data.path"):
        defaults["format"] = "auto"  # files were asked for; drawn scenes would ignore them
    try:
        start = parser.parse_object({"data": defaults})
        parsed = parser.parse_args(arguments, namespace=start)
        module = parser.instantiate_classes(parsed).data
    except ArgumentError as error:
        raise UserError(one_line(str(error))) from error
    assert isinstance(module, SamDataModule)
    return module


def _names(arguments: list[str], *flags: str) -> bool:
    return any(argument.startswith(flags) for argument in arguments)


def _data_section(file: Path) -> dict[str, Any]:
    """The data section of a fit config, with its seed."""
    settings = read_settings(file)
    data = dict(settings.get("data") or {})
    if isinstance(settings.get("seed_everything"), int):
        data.setdefault("seed", settings["seed_everything"])
    return data

"""What the commands that evaluate share: which model, on which data, with which prompts."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from samtune.commands.options import one_line, read_settings
from samtune.data.datamodule import SamDataModule
from samtune.data.procedural import ProceduralScenes
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.evaluation.forgetting import NUM_GENERAL
from samtune.evaluation.own_prompts import OwnPrompts
from samtune.evaluation.settings import EvaluationSettings
from samtune.inference.prompt_files import read_prompts
from samtune.models.backend import Sam
from samtune.models.loading import METADATA_FILE, find_tuned
from samtune.models.registry import REGISTRY
from samtune.prompts.protocols import (
    EVALUATION_PROTOCOLS,
    GROUPS,
    NUMBERED,
    PROTOCOLS,
    RECIPES,
    Recipe,
    find_protocols,
)

_EPILOG = """The data are those of the run, or of --config FILE; any of their settings can be
overridden: --data.path FOLDER, --data.stretch auto ... (samtune fit --help lists them). Intervals and
tests are over images; where images of one patient, slide, video or scene belong together,
--data.group_column NAME or --data.group_regex makes each of these one unit instead."""
# Where a run keeps what was trained.
_TUNED = ("adapter", "model")
_KINDS = ", ".join((*PROTOCOLS, *NUMBERED, *GROUPS))


def add_model_options(parser: argparse.ArgumentParser, split: str) -> None:
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    add_data_options(parser, split)
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--image-size", type=int, default=0, help="of a base model; 0: its own")


def add_data_options(parser: argparse.ArgumentParser, split: str) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("--config", help="a fit config whose data section to use")
    parser.add_argument(
        "--split", default=split, choices=("train", "val", "test"), help=f"(default: {split})"
    )
    parser.add_argument("--max-images", type=int, default=0, help="0: all")
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
        help="three masks for a single prompt, the best by predicted IoU taken; auto: as the tuned "
        "model was trained, and for a base always",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", type=float, nargs=2, metavar=("ROW", "COLUMN"),
        help="distance between rows and between columns, for distances between outlines (default: "
        "the manifest's columns spacing_row and spacing_column, or 1)",
    )  # fmt: skip
    parser.add_argument(
        "--unit", help="of the spacing (default: the column spacing_unit, mm of volumes, or px)"
    )
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
    _require_sense(options)
    own = None
    if options.prompts is not None:
        if data.tile:
            raise UserError("--prompts is for whole images: set --data.tile 0")
        own = OwnPrompts(tuple(read_prompts(options.prompts, _image_files(options, data))))
    if not options.protocols and own is None:
        raise UserError("there is nothing to ask: name --protocols, or give --prompts FILE")
    return EvaluationSettings(
        protocols=tuple(find_protocols(options.protocols)),
        own=own,
        seed=options.seed,
        repeats=options.repeats,
        min_area=data.min_area,
        max_images=options.max_images,
        with_multimask=options.multimask != "never",
        tuned_multimask=sam.with_multimask if options.multimask == "auto" else None,
        spacing=None if options.spacing is None else (options.spacing[0], options.spacing[1]),
        tolerance=options.tolerance,
        on_error=data.on_error,
        num_workers=data.num_workers,
        rank=rank,
        world=world,
    )


def _require_sense(options: argparse.Namespace) -> None:
    if options.repeats < 1:
        raise UserError(f"--repeats is {options.repeats}: give a whole number from 1 up")
    if options.max_images < 0:
        raise UserError(f"--max-images is {options.max_images}: give a whole number, 0 for all")
    if not all(0 < distance < math.inf for distance in options.spacing or ()):
        raise UserError(f"--spacing is {options.spacing}: give two numbers above 0")
    if not 0 <= options.tolerance < math.inf:
        raise UserError(f"--tolerance is {options.tolerance}: give a number from 0 up")


def _image_files(options: argparse.Namespace, data: SamDataModule) -> list[Path]:
    """Where the images of own prompts may be: beside their file, or among the images asked."""
    records = data.whole_source(options.split).records
    return [options.prompts.parent, *(record.path for record in records)]


def general_source(
    name: str, settings: EvaluationSettings, protocols: tuple[str, ...], sam: Sam
) -> tuple[Source, EvaluationSettings]:
    """Images on which to look for forgetting, and how to ask there.

    Args:
        name: `procedural`, or a path that `data.path` could be: its test split, or all images where
            it names no splits.
        settings: of the comparison on the domain.
        protocols: to ask with.
        sam: says how images are read.

    Raises:
        UserError: there are no such data.
    """
    elsewhere = replace(
        settings, protocols=tuple(find_protocols(protocols)), own=None, max_images=0, spacing=None
    )
    if name == "procedural":
        return ProceduralScenes("test", num_scenes=NUM_GENERAL), elsewhere
    if not Path(name).exists():
        raise UserError(f"--general {name}: there is no such folder (or give: procedural)")
    data = SamDataModule(
        path=name,
        stretch=sam.stretch,
        bands=sam.bands,
        val_fraction=0.0,
        test_fraction=0.0,
        value_range=list(sam.value_range) if sam.value_range else None,
    )
    sizes = data.split_sizes()
    return data.source("test" if sizes.get("test") else "train"), elsewhere


def recipe_of(run: Path | None) -> Recipe | None:
    """The recipe that a run was trained with."""
    if run is None:
        return None
    settings = read_settings(run / "config.yaml")
    recipe = RECIPES.get((settings.get("data") or {}).get("recipe", "mixed"))
    corrections = (settings.get("model") or {}).get("num_corrections", -1)
    if recipe is not None and isinstance(corrections, int) and corrections >= 0:
        return replace(recipe, num_corrections=corrections)
    return recipe


def seen_in_training(run: Path | None, data: SamDataModule) -> set[str]:
    """Images of these data that a run was trained or validated on."""
    if run is None:
        return set()
    own = build_data(run, None, [])
    if own.path.resolve() != data.path.resolve() or own.format == "procedural":
        return set()
    sizes = own.split_sizes()
    return {
        record.image_id
        for split in ("train", "val")
        if sizes.get(split)
        for record in own.whole_source(split).records
    }


def find_run(path: Path) -> Path | None:
    """The run folder that a model is, or whose adapter, weights or checkpoint it is."""
    if str(path) in REGISTRY or not path.exists():
        return None
    place = path.parent if path.suffix == ".ckpt" else path
    folders = (place, place.parent) if place.name in (*_TUNED, "checkpoints") else (place,)
    return next(filter(_is_run, folders), None)


def _is_run(folder: Path) -> bool:
    """Whether `samtune fit` wrote it: short runs have no metrics, other programs a config.yaml."""
    files = ("metrics.csv", *(f"{name}/{METADATA_FILE}" for name in _TUNED))
    config = folder / "config.yaml"
    if not config.is_file() or not any((folder / name).is_file() for name in files):
        return False
    settings = read_settings(config)
    return isinstance(settings.get("model"), dict) and isinstance(settings.get("data"), dict)


def require_tuned(model: str) -> Path:
    """The folder with the tuned weights of a run or adapter.

    Raises:
        UserError: the model was not tuned, or is a single checkpoint.
    """
    is_there = model not in REGISTRY and Path(model).exists()
    folder = find_tuned(Path(model)) if is_there else None
    if folder is None:
        raise UserError(f"{model} holds no tuned model: give a run folder or an adapter folder")
    return folder


def is_tuned(model: str) -> bool:
    path = Path(model)
    # a name of the registry is that model, whatever lies in the folder
    return (
        model not in REGISTRY
        and path.exists()
        and (path.suffix == ".ckpt" or find_tuned(path) is not None)
    )


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

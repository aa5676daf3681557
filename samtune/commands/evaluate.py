"""`samtune evaluate RUN`: base against tuned on held-out images, as a table and a report."""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser

from samtune.commands.options import (
    choose_device,
    one_line,
    parse_known,
    quieten,
    read_settings,
)
from samtune.commands.processes import joined, own_device
from samtune.data.datamodule import SamDataModule
from samtune.errors import UserError
from samtune.evaluation.compare import EvaluationSettings, compare
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.gallery import Gallery
from samtune.evaluation.report import write_report
from samtune.evaluation.summary import to_markdown, verdict
from samtune.evaluation.wandb_table import log_evaluation
from samtune.models.backend import Sam
from samtune.models.loading import find_tuned, load_model
from samtune.prompts.protocols import EVALUATION_PROTOCOLS, PROTOCOLS, find_protocols
from samtune.training.loggers import is_offline

_EPILOG = """The data are those of the run, or of --config FILE; any of their settings can be
overridden: --data.path FOLDER, --data.stretch auto ... (samtune fit --help lists them)."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune evaluate", description=__doc__, epilog=_EPILOG, exit_on_error=False
    )
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    parser.add_argument("--config", help="a fit config whose data section to use")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument(
        "--protocols", nargs="+", default=list(EVALUATION_PROTOCOLS), metavar="NAME",
        help=f"any of {', '.join(PROTOCOLS)} (default: {' '.join(EVALUATION_PROTOCOLS)})",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of prompts and bootstrap")
    parser.add_argument("--max-images", type=int, default=0, help="0: all")
    parser.add_argument(
        "--multimask", choices=("auto", "always", "never"), default="auto",
        help="three masks for a single prompt, the best by predicted IoU taken; auto: as trained",
    )  # fmt: skip
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--image-size", type=int, default=0, help="of a base model; 0: its own")
    parser.add_argument("--out", help="folder for the results (default: RUN/evaluation)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, auto")
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options, data_arguments = parse_known(_parser(), arguments)
    results, folder = evaluate(options, data_arguments)
    if not results:  # another of several processes tells them
        return
    print(to_markdown(results["protocols"]))
    for name, summary in results["protocols"].items():
        print(verdict(name, summary))
    print(f"report: {folder / 'report.html'}")
    if (folder / "examples.png").exists():
        print(f"picture: {folder / 'examples.png'}")


def evaluate(options: argparse.Namespace, data_arguments: list[str]) -> tuple[dict[str, Any], Path]:
    """Run the evaluation; returns the content of results.json and the folder it is in.

    Of several processes (torchrun, srun), which share the images, only the first has an answer.
    """
    torch.set_flush_denormal(True)
    with joined() as (rank, world):
        return _evaluate(options, data_arguments, rank, world)


def _evaluate(
    options: argparse.Namespace, data_arguments: list[str], rank: int, world: int
) -> tuple[dict[str, Any], Path]:
    run = find_run(Path(options.model))
    data = build_data(run, options.config, data_arguments)
    protocols = tuple(find_protocols(options.protocols))
    source = data.source(options.split)
    device = choose_device(own_device() if options.device == "auto" else options.device)
    sam = load_model(options.model, options.checkpoint, options.image_size or None, device)
    multimask = {"auto": sam.with_multimask, "always": True, "never": False}[options.multimask]
    settings = EvaluationSettings(
        protocols, options.seed, data.min_area, options.max_images, multimask, data.on_error,
        data.num_workers, rank, world,
    )  # fmt: skip
    contestants, gallery = Contestants(sam, is_tuned(options.model)), Gallery()
    if rank == 0:
        _say_what(sam, options, len(source))
    rows = compare(contestants, source, settings, gallery.add)
    if rank != 0:
        return {}, Path()
    folder = Path(options.out) if options.out else (run or Path()) / "evaluation"
    about = {
        "model": options.model,
        "base": sam.base.name,
        "base_sha256": sam.base.sha256,
        "base_is_random": sam.base.is_random,
        "image_size": sam.image_size,
        "data": str(data.path),
        "split": options.split,
        "seed": options.seed,
        "with_multimask": multimask,
        "stretch": data.read_settings.stretch,
        "torch": torch.__version__,
        "device": str(device),
    }
    results = write_report(folder, rows, gallery, about, options.seed)
    if run is not None and (run / "wandb_id.txt").exists():
        logging = read_settings(run / "config.yaml").get("logging", {})
        log_evaluation(run, logging, is_offline(logging.get("wandb", "auto")), results)
    return results, folder


def _say_what(sam: Sam, options: argparse.Namespace, num_images: int) -> None:
    if sam.base.is_random:
        print(f"NOTE: the base '{sam.base.name}' is randomly initialised, not pretrained")
    count = min(num_images, options.max_images or num_images)
    print(f"evaluating {options.model} on {count} images of the split '{options.split}'")
    sys.stdout.flush()


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

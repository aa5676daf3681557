"""`samtune evaluate RUN`: base against tuned on held-out images, as a table and a report."""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from samtune.commands.evaluation_options import (
    add_model_options,
    add_protocol_options,
    build_data,
    evaluation_settings,
    find_run,
    general_source,
    is_tuned,
    recipe_of,
)
from samtune.commands.options import choose_device, parse_known, quieten, read_settings
from samtune.commands.processes import joined, own_device
from samtune.evaluation.assess import assess, provenance
from samtune.evaluation.compare import Comparison, compare
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.forgetting import GENERAL_PROTOCOLS
from samtune.evaluation.report.files import write_report
from samtune.evaluation.report.gallery import Gallery
from samtune.evaluation.report.tables import to_markdown
from samtune.evaluation.report.wandb_table import log_evaluation
from samtune.evaluation.verdict import verdict
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.training.loggers import is_offline

_EPILOG = """The data are those of the run, or of --config FILE; any of their settings can be
overridden: --data.path FOLDER, --data.stretch auto ... (samtune fit --help lists them)."""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        "samtune evaluate", description=__doc__, epilog=_EPILOG, exit_on_error=False
    )
    add_model_options(found)
    add_protocol_options(found)
    found.add_argument("--split", default="test", choices=("train", "val", "test"))
    found.add_argument("--max-images", type=int, default=0, help="0: all")
    found.add_argument(
        "--general", default="procedural", metavar="SET",
        help="on what to look for forgetting: procedural scenes, a data folder, or none",
    )  # fmt: skip
    found.add_argument("--gallery", type=int, default=120, help="pictures in the report at most")
    found.add_argument("--out", help="folder for the results (default: RUN/evaluation)")
    return found


def main(arguments: list[str]) -> None:
    quieten()
    options, data_arguments = parse_known(parser(), arguments)
    command = ["samtune", "evaluate", *arguments]
    results, folder = evaluate(options, data_arguments, command)
    if not results:  # another of several processes tells them
        return
    print(to_markdown(results["protocols"]))
    for name, summary in results["protocols"].items():
        print(verdict(name, summary))
    for warning in results["warnings"]:
        print(f"WARNING: {warning}")
    print(results["headline"])
    print(f"report: {folder / 'report.html'}")
    if (folder / "examples.png").exists():
        print(f"picture: {folder / 'examples.png'}")


def evaluate(
    options: argparse.Namespace, data_arguments: list[str], command: list[str]
) -> tuple[dict[str, Any], Path]:
    """Run the evaluation; returns the content of results.json and the folder it is in.

    Of several processes (torchrun, srun), which share the images, only the first has an answer.
    """
    torch.set_flush_denormal(True)
    with joined() as (rank, world):
        return _evaluate(options, data_arguments, command, rank, world)


def _evaluate(
    options: argparse.Namespace,
    data_arguments: list[str],
    command: list[str],
    rank: int,
    world: int,
) -> tuple[dict[str, Any], Path]:
    run = find_run(Path(options.model))
    data = build_data(run, options.config, data_arguments)
    source = data.source(options.split)
    device = choose_device(own_device() if options.device == "auto" else options.device)
    sam = load_model(options.model, options.checkpoint, options.image_size or None, device)
    settings = evaluation_settings(options, data, sam, rank, world)
    contestants = Contestants(sam, is_tuned(options.model))
    gallery = Gallery(options.gallery if rank == 0 else 0)
    if rank == 0:
        _say_what(sam, options, len(source))
    domain = compare(contestants, source, settings, gallery.add)
    general = _general(options, contestants, settings, sam)
    if rank != 0:
        return {}, Path()
    folder = Path(options.out) if options.out else (run or Path()) / "evaluation"
    results = assess(
        domain, general, options.general, settings, recipe_of(run), sam.calibration
    ) | {"about": _about(options, data, sam, domain, command)}
    results = write_report(folder, domain.rows, results, gallery)
    if run is not None and (run / "wandb_id.txt").exists():
        logging = read_settings(run / "config.yaml").get("logging", {})
        log_evaluation(run, logging, is_offline(logging.get("wandb", "auto")), results)
    return results, folder


def _general(
    options: argparse.Namespace, contestants: Contestants, settings: Any, sam: Sam
) -> Comparison | None:
    """The same comparison on other images; only where there is something to forget."""
    if options.general == "none" or len(contestants.names) < 2:
        return None
    source, elsewhere = general_source(options.general, settings, GENERAL_PROTOCOLS)
    return compare(contestants, source, elsewhere, what="what was lost")


def _about(
    options: argparse.Namespace, data: Any, sam: Sam, domain: Comparison, command: list[str]
) -> dict[str, Any]:
    return {
        "model": options.model,
        "data": str(data.path),
        "split": options.split,
        "seed": options.seed,
        "repeats": options.repeats,
        "min_area": data.min_area,
        "with_multimask": domain.with_multimask,
        "stretch": data.read_settings.stretch,
        "spacing": list(options.spacing),
        "spacing_unit": options.unit,
        "tolerance": options.tolerance,
        "general": options.general,
        "device": str(sam.device),
        **provenance(sam, domain, command),
    }


def _say_what(sam: Sam, options: argparse.Namespace, num_images: int) -> None:
    if sam.base.is_random:
        print(f"NOTE: the base '{sam.base.name}' is randomly initialised, not pretrained")
    count = min(num_images, options.max_images or num_images)
    print(f"evaluating {options.model} on {count} images of the split '{options.split}'")
    sys.stdout.flush()

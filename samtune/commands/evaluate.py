"""`samtune evaluate RUN`: base against tuned on held-out images, as a table and a report."""

import argparse
import sys
from pathlib import Path
from typing import Any

from samtune.commands.evaluation_loading import Evaluation, kept_rows, load_evaluation
from samtune.commands.evaluation_options import (
    add_model_options,
    add_protocol_options,
    general_source,
    is_tuned,
    recipe_of,
    seen_in_training,
)
from samtune.commands.options import parse_known, quieten, read_settings
from samtune.commands.processes import joined
from samtune.errors import UserError
from samtune.evaluation.assess import assess, provenance
from samtune.evaluation.compare import Comparison, compare
from samtune.evaluation.contestants import BASE, TUNED, Contestants
from samtune.evaluation.forgetting import GENERAL_PROTOCOLS
from samtune.evaluation.report.files import write_report
from samtune.evaluation.report.gallery import Gallery
from samtune.evaluation.report.tables import to_markdown
from samtune.evaluation.report.wandb_table import log_evaluation
from samtune.evaluation.verdict import verdict
from samtune.models.backend import Sam
from samtune.training.loggers import is_offline


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser("samtune evaluate", description=__doc__, exit_on_error=False)
    add_model_options(found, "test")
    add_protocol_options(found)
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
    with joined() as (rank, world):
        return _evaluate(options, data_arguments, command, rank, world)


def _evaluate(
    options: argparse.Namespace,
    data_arguments: list[str],
    command: list[str],
    rank: int,
    world: int,
) -> tuple[dict[str, Any], Path]:
    if options.gallery < 0:
        raise UserError(f"--gallery is {options.gallery}: give a whole number, 0 for no pictures")
    found = load_evaluation(options, data_arguments, rank, world)
    run, sam, settings = found.run, found.sam, found.settings
    contestants = Contestants(sam, is_tuned(options.model))
    general_set = None  # found before the long work, so that a wrong name costs nothing
    if options.general != "none" and len(contestants.names) > 1:
        general_set = general_source(options.general, settings, GENERAL_PROTOCOLS, sam)
    gallery = Gallery(options.gallery if rank == 0 else 0)
    if rank == 0:
        _say_what(sam, options, len(found.source))
    folder = Path(options.out) if options.out else _default_folder(run, Path(options.model))
    with kept_rows(folder, rank) as store_of:
        store = store_of(contestants)
        domain = compare(contestants, found.source, settings, gallery.add, store=store)
        general = general_set and compare(
            contestants, *general_set, what="what was lost", store=store
        )
        if rank != 0:
            return {}, Path()
        results = assess(
            domain, general, options.general, settings, recipe_of(run), sam.calibration
        ) | {"about": _about(options, found, domain, command)}
        results["warnings"] += _data_warnings(options, found, domain)
        results = write_report(folder, domain.rows, results, gallery)
    if run is not None and run == Path(options.model) and (run / "wandb_id.txt").exists():
        logging = read_settings(run / "config.yaml").get("logging", {})
        log_evaluation(run, logging, is_offline(logging.get("wandb", "auto")), results)
    return results, folder


def _default_folder(run: Path | None, model: Path) -> Path:
    """RUN/evaluation is the run's own; what else lies in the run gets a folder of its name."""
    if run is None:
        return Path("evaluation")
    return run / ("evaluation" if run == model else f"evaluation-{model.stem}")


def _data_warnings(options: argparse.Namespace, found: Evaluation, domain: Comparison) -> list[str]:
    """Sentences on numbers that are not what they seem."""
    warnings, own, calibration = [], found.settings.own, found.sam.calibration
    asked = {row.key.image_id.split("@")[0] for row in domain.rows}
    if seen := asked & seen_in_training(found.run, found.data):
        warnings.append(
            f"not held out: {len(seen)} of {len(asked)} images were used in training (such as "
            f"{min(seen)}): the tuned model looks better on them than it is"
        )
    if calibration is not None and calibration.split == options.split:
        warnings.append(
            f"not held out: the calibration was fitted on the split '{options.split}' too"
        )
    if own is not None:
        num_used = sum(row.protocol == own.protocol.name for row in domain.rows)
        if num_used < own.num_prompts:
            warnings.append(
                f"own prompts: {num_used} of {own.num_prompts} are for objects of these "
                "images; the others fit none, or one that had a prompt"
            )
    return warnings


def _about(
    options: argparse.Namespace, found: Evaluation, domain: Comparison, command: list[str]
) -> dict[str, Any]:
    data, settings, sam = found.data, found.settings, found.sam
    return {
        "model": options.model,
        "data": str(data.path),
        "split": options.split,
        "seed": options.seed,
        "repeats": options.repeats,
        "min_area": data.min_area,
        "groups": data.split_settings.group_column or data.split_settings.group_regex or "images",
        "multimask": {"base": settings.multimask_of(BASE), "tuned": settings.multimask_of(TUNED)},
        "stretch": data.read_settings.stretch,
        "spacing": options.spacing,
        "spacing_unit": options.unit or dict(domain.rows[0].columns).get("spacing_unit") or "px",
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

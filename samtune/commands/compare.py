"""`samtune compare MODEL MODEL ...`: several models on the same prompts, ranked.

Runs, checkpoints, adapters and bases. Each model reads the images as it was trained to (stretch and
bands); data and split are those of the first run, or of --config FILE.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from samtune.commands.evaluation_loading import kept_rows
from samtune.commands.evaluation_options import (
    add_data_options,
    add_protocol_options,
    build_data,
    evaluation_settings,
    find_run,
    is_tuned,
    seen_in_training,
)
from samtune.commands.options import choose_device, parse_known, quieten
from samtune.errors import UserError
from samtune.evaluation.compare import Comparison, compare
from samtune.evaluation.contestants import BASE, TUNED, Contestants
from samtune.evaluation.ranking import rank
from samtune.evaluation.report.short_page import write_short_page
from samtune.evaluation.report.tables import VERDICTS, interval_text, markdown_table
from samtune.evaluation.row_store import RowStore
from samtune.files import write_json
from samtune.models.loading import load_model

_HEAD = ("protocol", "rank", "model", "mIoU", "to the best", "95% interval", "p (Holm)", "verdict")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samtune compare", description=__doc__, exit_on_error=False)
    parser.add_argument("models", nargs="+", help="run folders, checkpoints, adapters, base models")
    add_data_options(parser, "test")
    add_protocol_options(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("comparison"), help="folder for the results"
    )
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options, data_arguments = parse_known(_parser(), arguments)
    models = list(dict.fromkeys(options.models))
    if len(models) < 2:
        raise UserError("there is nothing to compare: name two models or more")
    torch.set_flush_denormal(True)
    unseen = _unseen(models, options, data_arguments)
    with kept_rows(options.out) as store_of:
        answers = {
            model: _evaluate(model, models, unseen, options, data_arguments, store_of)
            for model in models
        }
        if len({comparison.num_objects for comparison, _ in answers.values()}) > 1:
            raise UserError(
                "the models were asked for different objects: the data have changed meanwhile"
            )
        ranking = rank({m: (c.rows, name) for m, (c, name) in answers.items()}, options.seed)
        _tell(ranking, options.out)


def _unseen(
    models: list[str], options: argparse.Namespace, data_arguments: list[str]
) -> list[int] | None:
    """Images of the split that none of the models was trained on; `None` for all of them.

    Runs with other seeds draw other splits: what one of them knows would be its advantage.

    Raises:
        UserError: none is left.
    """
    data = build_data(_first_run(models), options.config, data_arguments)
    seen: set[str] = set()
    for model in models:
        seen |= seen_in_training(find_run(Path(model)), data)
    records = data.whole_source(options.split).records
    kept = [index for index, record in enumerate(records) if record.image_id not in seen]
    if len(kept) == len(records):
        return None
    if not kept:
        raise UserError(
            f"every image of the split '{options.split}' was used to train one of the models: give "
            "--split test, or data that none has seen (--data.path FOLDER)"
        )
    print(f"{len(records) - len(kept)} images are left out: a model was trained on them")
    return kept


def _first_run(models: list[str]) -> Path | None:
    return next((run for run in map(find_run, map(Path, models)) if run is not None), None)


def _evaluate(
    model: str,
    models: list[str],
    unseen: list[int] | None,
    options: argparse.Namespace,
    data_arguments: list[str],
    store_of: Callable[..., RowStore],
) -> tuple[Comparison, str]:
    """Rows of one model, and the name that it has there."""
    sam = load_model(model, device=choose_device(options.device))
    first = _first_run(models)
    data = build_data(first, options.config, data_arguments)
    settings = evaluation_settings(options, data, sam)
    if is_tuned(model):
        data = build_data(first, options.config, [*data_arguments, *_as_trained(sam)])
    contestants = Contestants(sam, is_tuned(model), with_base=False)
    source = data.source(options.split, unseen)
    comparison = compare(contestants, source, settings, what=model, store=store_of(contestants))
    return comparison, TUNED if is_tuned(model) else BASE


def _as_trained(sam: Any) -> list[str]:
    """How the images of a tuned model are read."""
    as_yaml = {"bands": sam.bands, "value_range": sam.value_range}
    lists = [f"--data.{n}={json.dumps(v and list(v))}" for n, v in as_yaml.items()]
    shown = [f"--data.window={sam.view.window}"]
    shown.append(f"--data.with_neighbours={str(sam.view.with_neighbours).lower()}")
    return [f"--data.stretch={sam.stretch}", *lists, *shown]


def _tell(ranking: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    lines = []
    for protocol, places in ranking.items():
        for number, place in enumerate(places, start=1):
            p = place["p_holm"]
            lines.append(
                [protocol, str(number), place["model"], f"{place['miou']:.3f}",
                 f"{place['difference']:+.3f}" if number > 1 else "",
                 interval_text(place["ci95"]) if number > 1 else "",
                 "" if p is None else f"{p:.2g}",
                 "best" if number == 1 else VERDICTS[place["verdict"]]]
            )  # fmt: skip
    best = ranking["all"][0]
    rivals = [p["model"] for p in ranking["all"][1:] if p["verdict"] not in ("worse",)]
    sentence = f"{best['model']} is the best over all protocols ({best['miou']:.3f})"
    sentence += (
        f"; that it beats {', '.join(rivals)} could not be shown." if rivals else ", and surely so."
    )
    write_json(folder / "comparison.json", {"headline": sentence, "ranking": ranking})
    page = write_short_page(
        folder / "comparison.html", "Models compared", sentence, _HEAD, lines, []
    )
    print(markdown_table(_HEAD, lines))
    print(sentence)
    print(f"report: {page}")

"""`compare`: several models on the same prompts, ranked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.inference.settings import Focus
from samtune.ranges import Count, NotNegative, Positive
from samtune.tasks.arguments import task
from samtune.tasks.evaluate import Split
from samtune.tasks.evaluating import PROTOCOLS, Asking, Multimask, kept_rows
from samtune.tasks.opening import open_data, open_model
from samtune.tasks.results import Result, Rows, cells
from samtune.tasks.runs import Run, find_run, is_tuned, seen_in_training
from samtune.tasks.settings import DataLike

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.evaluation import comparing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison(Result):
    """Models ranked.

    Attributes:
        folder: with comparison.html and comparison.json.
        ranking: by protocol, and `all` for the mean over protocols: the models from the best down.
        sentence: who is the best, and whether surely.
    """

    folder: Path
    ranking: dict[str, Rows]
    sentence: str

    @property
    def headline(self) -> str:
        return self.sentence

    @property
    def page(self) -> Path:
        return self.folder / "comparison.html"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "ranking": [row for name, each in self.ranking.items() for row in _rows(name, each)]
        }


def _rows(protocol: str, places: Rows) -> Rows:
    from samtune.evaluation.report.tables import VERDICTS

    return [
        {
            "protocol": protocol, "rank": number, "model": place["model"], "mIoU": place["miou"],
            "difference to the best": place["difference"] if number > 1 else None,
            "95% interval": place["ci95"] if number > 1 else None, "p (Holm)": place["p_holm"],
            "verdict": "best" if number == 1 else VERDICTS[place["verdict"]],
        }
        for number, place in enumerate(places, start=1)
    ]  # fmt: skip


@task
def compare(
    models: Sequence[str | Path | Run],
    *,
    data: DataLike = None,
    config: str | Path | None = None,
    split: Split = "test",
    max_images: Count = 0,
    protocols: Sequence[str] = PROTOCOLS,
    prompts: str | Path | None = None,
    seed: int = 0,
    repeats: Positive = 1,
    multimask: Multimask = "auto",
    focus: Focus = "auto",
    spacing: Sequence[float] | None = None,
    tolerance: NotNegative = 2.0,
    out: str | Path = "comparison",
    device: str = "auto",
) -> Comparison:
    """Rank several models on the same prompts, each tested against the best.

    Runs, checkpoints, adapters and bases. Each model reads the images as it was trained to; data
    and split are those of the first run, or of config. Images that one of them was trained on are
    left out.

    Args:
        models: run folders, checkpoints, adapters, base models; two or more.
        out: folder for the results.

    Raises:
        UserError: there is nothing to compare, or no image that none was trained on.
    """
    from samtune.evaluation.ranking import rank

    names = list(dict.fromkeys(map(str, models)))
    if len(names) < 2:
        raise UserError("there is nothing to compare: name two models or more")
    asking = Asking(
        protocols, prompts, seed, repeats, multimask, focus, spacing, tolerance, max_images
    )  # fmt: skip
    first = next((run for run in map(find_run, map(Path, names)) if run is not None), None)
    opened = open_data(first, config, data, base=(names[0], 0))
    unseen, folder = _unseen(names, opened, split), Path(out)
    with kept_rows(folder) as store_of:
        answers = {
            name: _evaluate(name, opened, unseen, split, asking, device, store_of) for name in names
        }
        if len({comparison.num_objects for comparison, _ in answers.values()}) > 1:
            raise UserError(
                "the models were asked for different objects: the data have changed meanwhile"
            )
        ranking = rank({m: (c.rows, name) for m, (c, name) in answers.items()}, seed)
        result = Comparison(folder, ranking, _sentence(ranking))
        _write(result)
    return result


def _unseen(models: list[str], data: SamDataModule, split: Split) -> list[int] | None:
    """Images of the split that none of the models was trained on; `None` for all of them.

    Runs with other seeds draw other splits: what one of them knows would be its advantage.

    Raises:
        UserError: none is left.
    """
    seen: set[str] = set()
    for model in models:
        seen |= seen_in_training(find_run(Path(model)), data)
    records = data.whole_source(split).records
    kept = [index for index, record in enumerate(records) if record.image_id not in seen]
    if len(kept) == len(records):
        return None
    if not kept:
        raise UserError(
            f"every image of the split '{split}' was used to train one of the models: give "
            "--split test, or data that none has seen (--data.path FOLDER)"
        )
    log.info("%d images are left out: a model was trained on them", len(records) - len(kept))
    return kept


def _evaluate(
    model: str, data: SamDataModule, unseen: list[int] | None, split: Split, asking: Asking,
    device: str, store_of: Any,
) -> tuple[comparing.Comparison, str]:  # fmt: skip
    """Rows of one model, and the name that it has there."""
    from samtune.data.datamodule import SamDataModule
    from samtune.evaluation import comparing
    from samtune.evaluation.contestants import BASE, TUNED, Contestants

    sam = open_model(model, device=device)
    if is_tuned(model):  # it sees images as it was trained to; what a slice or tile is stays
        seen = sam.reading
        own = replace(
            data.settings, stretch=seen.stretch, window=seen.window,
            bands=list(seen.bands) if seen.bands else None, with_neighbours=seen.with_neighbours,
            value_range=list(seen.value_range) if seen.value_range else None,
        )  # fmt: skip
        data = SamDataModule(own)
    settings = asking.settings(data, split, sam)
    contestants = Contestants(sam, is_tuned(model), with_base=False)
    source = data.source(split, unseen)
    store = store_of(contestants)
    comparison = comparing.compare(contestants, source, settings, what=model, store=store)
    return comparison, TUNED if is_tuned(model) else BASE


def _sentence(ranking: dict[str, Rows]) -> str:
    best = ranking["all"][0]
    rivals = [place["model"] for place in ranking["all"][1:] if place["verdict"] != "worse"]
    sentence = f"{best['model']} is the best over all protocols ({best['miou']:.3f})"
    if rivals:
        return f"{sentence}; no sure difference to {', '.join(rivals)}."
    return f"{sentence}, surely better than each of the others."


def _write(result: Comparison) -> None:
    from samtune.evaluation.report.plots import Bar, forest
    from samtune.evaluation.report.short_page import Chart, write_short_page
    from samtune.files import write_json

    content = {"headline": result.sentence, "ranking": result.ranking}
    write_json(result.folder / "comparison.json", content)
    head, lines = cells(result.tables["ranking"])
    behind = "mIoU minus that of the best, with 95% interval"
    charts = [
        Chart(
            forest([Bar(p["model"], p["difference"], p["ci95"]) for p in places[1:]], behind),
            f"How far behind {places[0]['model']} ({name})",
        )
        for name, places in result.ranking.items()
    ]
    write_short_page(result.page, "Models compared", result.sentence, head, lines, charts)

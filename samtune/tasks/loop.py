"""`loop`: a round of tuning on what was accepted on the page."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.files import make_folder, write_text
from samtune.ranges import Count
from samtune.tasks.arguments import task
from samtune.tasks.fit import fit
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run, find_run, is_tuned, lasting_name
from samtune.tasks.settings import read_settings
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.evaluation.rows import Row
    from samtune.page.rounds import Reached, Round, Start

log = logging.getLogger(__name__)
# Of a round's time what training gets; the rest is for starting, and for asking both models
_TRAINING_SHARE = 0.5
_LEAST_SECONDS = 5.0
# Held-out images that are asked, at most, and objects of all together: of few images more of each
_IMAGES, _OBJECTS = 12, 72
# What a round takes over from the data of the run that it goes on from
_DATA = (
    "augment",
    "tile",
    "tile_overlap",
    "target_side",
    "batch_size",
    "recipe",
    "min_area",
    "windows",
)


@dataclass(frozen=True)
class LoopResult(Result):
    """What a round came to.

    Attributes:
        rounds: all of the folder, the newest last.
    """

    rounds: Sequence[Round]

    @property
    def headline(self) -> str:
        newest = self.rounds[-1]
        word = "used from now on" if newest.is_used else "NOT used, the model stays as it was"
        return f"round {newest.number}: {word}: {newest.sentence}"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "rounds": [
                {"round": each.number, "used": each.is_used, "before": each.present.miou,
                 "after": each.new.miou, "95% interval": each.new.ci95,
                 "trained on": len(each.trained_on), "held out": len(each.held_out),
                 "seconds": each.seconds}
                for each in self.rounds
            ]
        }  # fmt: skip


@task
def loop(
    annotations: str | Path,
    *,
    model: str | Path | Run,
    budget: str = "60s",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
) -> LoopResult:
    """Tune on what was accepted on the page of `samtune open`, from the adapter that is used now.

    What is trained is used only where it is better on the held-out images than what was used
    before, and no kind of prompt falls there or on general pictures. Images that are held out are
    never trained on. `rounds.json` in the folder lists every round.

    Args:
        annotations: folder that `samtune open` has written.
        model: run or base that the first round starts from.
        budget: time for all of the round: 60s, 5m; or steps of its training: 60 steps.
        seed: number that fixes all that is random.
        checkpoint: official weights for a registry name.
        image_size: side of the square input of a base model; 0 takes its own.

    Raises:
        UserError: too little was accepted, or the model is none that can be tuned on.
    """
    from samtune.page.rounds import Round, Start, present_model, read_rounds, write_rounds

    began, folder = time.monotonic(), Path(annotations)
    rounds = read_rounds(folder)
    weights = "" if checkpoint is None else str(Path(checkpoint).resolve())
    start = Start(lasting_name(model), weights, image_size)
    present = present_model(start, rounds)
    number = len(rounds) + 1
    place = folder / "rounds" / f"{number:03d}"
    trained_on, held_out, reading = _snapshot(folder, place / "data")
    run = fit(
        _data(present, place / "data", reading),
        run=_free(place), budget=_of_training(budget), seed=seed,
        check=False, choose=False, **_model(present, start),
    )  # fmt: skip
    sentence, is_used, reached = _judged(present, start, run, seed)
    made = Round(
        number, str(run.path), present, is_used, sentence, time.monotonic() - began, trained_on,
        held_out, *reached, start,
    )  # fmt: skip
    write_rounds(folder, [*rounds, made])
    return LoopResult([*rounds, made])


def _of_training(budget: str) -> str:
    """What training gets of the budget of a round; steps are all its own.

    Raises:
        UserError: it is no budget.
    """
    from samtune.training.budget import seconds_of, steps_of

    if steps_of(budget):
        return budget
    return f"{max(_LEAST_SECONDS, seconds_of(budget) * _TRAINING_SHARE):g}s"


def _free(place: Path) -> Path:
    """A folder for the run: one that an interrupted round has left is not gone on with."""
    names = (place / "run", *(place / f"run-{number}" for number in range(2, 1000)))
    return next(path for path in names if not path.exists())


def _snapshot(folder: Path, place: Path) -> tuple[list[str], list[str], dict[str, Any]]:
    """Write the annotations as they are now, for more may be accepted meanwhile.

    Returns:
        Ids of the images to train on and of those held out, and how they are to be read.

    Raises:
        UserError: there are none with objects.
    """
    from samtune.files import is_file
    from samtune.page.annotations import MADE_BY, SPLITS
    from samtune.parsing import read_json

    ids: dict[str, list[str]] = {}
    reading: dict[str, Any] = {}
    make_folder(place)
    for split in SPLITS.values():
        source = folder / f"{split}.json"
        content = read_json(source) if is_file(source) else {"images": [], "annotations": []}
        if content["images"]:
            if content.get("info", {}).get("description") != MADE_BY:
                raise UserError(f"{source} was not written by samtune open: use samtune fit")
            reading = content["info"]["reading"]
        owners = {each["image_id"] for each in content["annotations"]}
        content["images"] = [
            each for each in content["images"]
            if each["id"] in owners and min(each.get("part", [1])[-2:]) > 0
        ]  # fmt: skip
        for image in content["images"]:
            image["file_name"] = str((folder / image["file_name"]).resolve())
        ids[split] = [each["sample_id"] for each in content["images"]]
        write_text(place / f"{split}.json", json.dumps(content))
    train, held_out = (ids[split] for split in SPLITS.values())
    if not train or not held_out:
        raise UserError(
            f"{counted(len(train), 'image')} to train on and {len(held_out)} held-out ones "
            "have objects: a round needs one of each at least; accept objects in more images (of the "
            "first eight every second is held out)"
        )
    return train, held_out, reading


def _data(present: str, place: Path, reading: dict[str, Any]) -> dict[str, Any]:
    """Settings of the data of a round."""
    run = find_run(Path(present))
    section = (read_settings(run / "config.yaml").get("data") or {}) if run is not None else {}
    kept = {name: section[name] for name in _DATA if name in section}
    seen = {k: v for k, v in reading.items() if k != "tile" and v is not None}
    first = {} if section or present != "nano" else {"target_side": 64, "batch_size": 4}
    return {**first, **kept, **seen, "path": str(place), "format": "coco", "num_workers": 0}


def _base(present: str, start: Start) -> dict[str, Any]:
    """What else says which base is meant, where no round was used yet."""
    if present != start.model:
        return {}
    given = {"checkpoint": start.checkpoint, "image_size": start.image_size}
    return {name: value for name, value in given.items() if value}


def _model(present: str, start: Start) -> dict[str, Any]:
    """Arguments of `fit` for what is trained, from where.

    Raises:
        UserError: the model is tuned, but no run, which would know how.
    """
    from samtune.data.checks.choices import model_of_nano

    run = find_run(Path(present))
    if run is not None:
        settings = read_settings(run / "config.yaml")
        section = {k: v for k, v in (settings.get("model") or {}).items() if k != "base"}
        if section.get("mode") == "full":
            raise UserError(
                f"{present} was trained whole: a round goes on from an adapter; open a run of mode lora"
            )
        names = ("base", "checkpoint", "image_size")
        found = {name: settings[name] for name in names if settings.get(name)}
        return {**found, "start": present, "model": section}
    if is_tuned(present):
        raise UserError(
            f"{present} is no run, and only a run says how it was trained: open its run"
        )
    model = model_of_nano() if present == "nano" else {}
    return {"base": present, "model": model, **_base(present, start)}


def _judged(
    present: str, start: Start, run: Run, seed: int
) -> tuple[str, bool, tuple[Reached, Reached]]:
    """Whether what was trained is better on the held-out images than what is used now."""
    from samtune.evaluation.choice import choose, measured, with_general
    from samtune.evaluation.contestants import TUNED
    from samtune.evaluation.statistics import TIE
    from samtune.models.loading import load_model
    from samtune.tasks.opening import open_data
    from samtune.tasks.questions import answers_to, questions_of

    data = open_data(run.path)
    before, after = load_model(present, **_base(present, start)), load_model(run.path)
    domain, general = questions_of(data, after, _IMAGES, _OBJECTS)
    rows = [list(answers_to(sam, domain)) for sam in (before, after)]
    if not rows[0]:
        raise UserError(
            "no held-out image has an object that can be asked (of a window only what lies in the part "
            "that is used counts): accept objects in more images"
        )
    found = measured("new", 1.0, (rows[0], rows[1]), TUNED, seed)
    is_used = choose([found]) is not None and found.gain >= TIE
    if is_used:  # general pictures take longest: they are asked only where it matters
        elsewhere = [list(answers_to(sam, general)) for sam in (before, after)]
        found = with_general(found, (elsewhere[0], elsewhere[1]), TUNED, seed)
        is_used = choose([found]) is not None
    images = {row.key.image_id for row in rows[0]}
    count = (
        f"{counted(len({row.key for row in rows[0]}), 'object')} of "
        f"{counted(len(images), 'held-out image')}"
    )
    sure = "" if found.is_better or not is_used else ", not for sure,"
    word = "better" if is_used else "not better without a loss"
    sentence = f"{word}{sure} on {count}: {found.sentence}"
    return sentence, is_used, (_reached(rows[0], seed), _reached(rows[1], seed))


def _reached(rows: Sequence[Row], seed: int) -> Reached:
    import numpy as np

    from samtune.evaluation.contestants import TUNED
    from samtune.evaluation.pairing import answers_of
    from samtune.evaluation.statistics import bootstrap_interval
    from samtune.page.rounds import Reached

    answers = answers_of(rows, TUNED)
    interval = bootstrap_interval(np.array(answers.ious), np.array(answers.clusters), seed)
    return Reached(answers.miou, interval)

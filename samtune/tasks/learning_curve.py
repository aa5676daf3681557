"""`learning_curve`: would more data help?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samtune.errors import UserError
from samtune.locks import claim
from samtune.ranges import Count, Positive
from samtune.tasks.arguments import task
from samtune.tasks.evaluate import evaluate
from samtune.tasks.fit import gather, resume
from samtune.tasks.results import Result, Rows, cells
from samtune.tasks.settings import DataLike, Layer
from samtune.tasks.train import plan, to_yaml, train
from samtune.training.settings import FitSettings, ModelSettings, TrainerSettings
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.evaluation.learning import CurvePoint
    from samtune.evaluation.learning_heads import HeadPoint
    from samtune.training.preparing import Training

log = logging.getLogger(__name__)
# How often each run is validated, to keep its best step.
_NUM_VALIDATIONS = 8
_PROTOCOLS = ("box", "point")


@dataclass(frozen=True)
class LearningCurve(Result):
    """mIoU, or the score of a head, by number of training images.

    Attributes:
        folder: of the runs, with curve.html and curve.json.
        curves: by protocol, or under the measure of a head, the points by rising number of images.
        sentence: whether more would help.
    """

    folder: Path
    curves: dict[str, list[CurvePoint]] | dict[str, list[HeadPoint]]
    sentence: str

    @property
    def headline(self) -> str:
        return self.sentence

    @property
    def page(self) -> Path:
        return self.folder / "curve.html"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "curve": [
                {"judged by": name, "images": point.num_images, **point.row}
                for name, points in self.curves.items()
                for point in points
            ]
        }


@task
def learning_curve(
    data: DataLike = None,
    *,
    config: str | Path | None = None,
    base: str | Path | None = None,
    sizes: Sequence[int | Literal["all"]] = (1, 5, 10, 50, "all"),
    seeds: Positive = 3,
    protocols: Sequence[str] = _PROTOCOLS,
    out: str | Path | None = None,
    model: Layer | ModelSettings | None = None,
    trainer: Layer | TrainerSettings | None = None,
    checkpoint: str | Path | None = None,
    image_size: Count | None = None,
) -> LearningCurve:
    """Find out whether more data would help, by tuning on parts of it.

    Tunes on 1, 5, 10, ... training images, several times each with other images and another start,
    and evaluates every run on the same test images. All runs take as many steps as the one with all
    images would, so that sizes differ in nothing but data. Finished runs are kept: the same call
    goes on where it was interrupted, or adds sizes or seeds. Each run keeps its best step by the
    whole validation split, whatever its size; the interval is over test images, for the mean of the
    seeds. With model.head it is the head that is trained, and judged by its own score: mSA of
    instances, mIoU of semantic maps, macro-F1 of classes by true masks.

    Args:
        data: as of `fit`.
        config: as of `fit`.
        base: as of `fit`.
        sizes: numbers of training images; all stands for every one.
        seeds: runs of each size.
        protocols: kinds of prompts, for a SAM that is tuned.
        out: folder of runs and curve (default: runs/CONFIG-curve).
        model: what is trained, and how.
        trainer: Lightning's Trainer: length, devices, precision.

    Raises:
        UserError: a setting makes no sense, or the folder holds a curve of other settings.
    """
    from samtune.prompts.protocols import find_protocols
    from samtune.training.preparing import num_steps

    if seeds < 1:
        raise UserError(f"seeds is {seeds}: give a whole number from 1 up")
    find_protocols(list(protocols))
    settings = gather(
        config,
        {
            "data": data, "base": base, "model": model, "trainer": trainer,
            "checkpoint": checkpoint, "image_size": image_size,
        },
    )  # fmt: skip
    head = settings.model.head
    if head != "none" and tuple(protocols) != _PROTOCOLS:
        raise UserError("protocols are kinds of prompts, and a head takes none: leave them out")
    name = Path(config).stem if config else Path(settings.data.path).resolve().stem
    folder = Path(out) if out is not None else Path("runs") / f"{name}-curve"
    claim(folder)
    planned = plan(replace(settings, run=str(folder / "plan")))
    counts = _sizes(sizes, len(planned.data.whole_source("train")))
    steps = 0 if settings.budget else num_steps(planned, planned.data.num_items("train"))
    test_images = [record.image_id for record in planned.data.source("test").records]
    length = settings.budget or f"{steps} steps"
    log.info("%d runs of %s each, sizes %s: %s", len(counts) * seeds, length, counts, folder)
    parts = {
        (size, seed): _settings_of(settings, folder, size, seed, steps)
        for size in counts
        for seed in range(seeds)
    }
    if head != "none":
        require_all_classes(planned, parts)
    _keep_plan(folder, settings, steps, test_images)
    files: dict[int, list[Path]] = {}
    for (size, _), part in parts.items():
        files.setdefault(size, []).append(_run(part, protocols))
        result = _result(folder, _curves(head, files))
        log.info(result.sentence)
    return result


def require_all_classes(planned: Training, parts: Mapping[tuple[int, int], FitSettings]) -> None:
    """A head knows the classes of its training images: with fewer of them its score is of other things.

    Raises:
        UserError: a part of the images lacks a class.
    """
    from samtune.training.preparing import classes_known

    known = classes_known(planned)
    for (size, seed), part in parts.items():
        if missing := sorted(known - classes_known(plan(part))):
            raise UserError(
                f"with {counted(size, 'training image')} (seed {seed}) there is no object of the class "
                f"{missing[0]}, so that scores would be of other classes: give larger --sizes"
            )


def _curves(head: str, files: Mapping[int, Sequence[Path]]) -> Any:
    from samtune.evaluation.learning import learning_curve as curve_of
    from samtune.evaluation.learning_heads import head_curve

    return curve_of(files) if head == "none" else head_curve(head, files)


def _sizes(sizes: Sequence[int | str], num_images: int) -> list[int]:
    """Sizes in rising order, each once; `all` and what is more are all images.

    Raises:
        UserError: a size makes no sense.
    """
    found = set()
    for size in sizes:
        if size != "all" and (not isinstance(size, int) or size < 1):
            raise UserError(
                f"sizes holds {size}: give numbers from 1 up and all, such as 1 5 10 all"
            )
        found.add(num_images if size == "all" else min(int(size), num_images))
    return sorted(found)


def _keep_plan(folder: Path, settings: FitSettings, steps: int, test_images: list[str]) -> None:
    """Note what all runs of a folder have in common, so that what was begun is gone on with.

    Raises:
        UserError: the folder holds a curve of other settings.
    """
    from samtune.files import write_json
    from samtune.parsing import read_json

    content = {"settings": to_yaml(settings), "steps": steps, "test_images": test_images}
    file = folder / "plan.json"
    if file.exists():
        before = read_json(file)
        is_plan = isinstance(before, dict)
        differing = [name for name in content if not is_plan or before.get(name) != content[name]]
        if differing:
            raise UserError(
                f"{folder} holds a curve with other {' and '.join(differing)}: give another --out, or "
                "the same settings to go on with it"
            )
    write_json(file, content)


def _settings_of(
    settings: FitSettings, folder: Path, size: int, seed: int, steps: int
) -> FitSettings:
    """Settings of one run."""
    split_seed = settings.data.of_splits.seed  # the same test images for all
    data = replace(settings.data, seed=seed, split_seed=split_seed, train_images=size)
    run = str(folder / f"images{size}-seed{seed}")
    if settings.budget:  # the same time for all
        return replace(settings, seed=seed, run=run, data=data)
    accumulate = settings.trainer.accumulate_grad_batches
    every = max(1, steps * accumulate // _NUM_VALIDATIONS)
    trainer = replace(
        settings.trainer, max_steps=steps, max_epochs=-1, check_val_every_n_epoch=None,
        val_check_interval=every,
    )  # fmt: skip
    return replace(
        settings, seed=seed, run=run, data=data, trainer=trainer,
        checkpoint_steps=max(1, every // accumulate),
    )  # fmt: skip


def _run(settings: FitSettings, protocols: Sequence[str]) -> Path:
    """Tune and evaluate once, or go on with what is there; returns the table of objects or images."""
    from samtune.training.checkpoints import has_checkpoint

    run = Path(settings.run)
    head = settings.model.head
    place = run / "evaluation"
    if head != "none":
        table, is_done = place / f"{head}.csv", (place / "heads.json").exists()
    else:
        table, is_done = place / "objects.csv", _was_asked(run, protocols)
    if table.exists() and is_done:
        return table
    if not (run / "finished").exists():
        if has_checkpoint(run):
            resume(run)
        else:
            train(settings)  # also where one was begun, but there is nothing to go on from
        (run / "finished").touch()
    if head != "none":
        evaluate(run, what="heads", against="none")
    else:
        evaluate(run, general="none", gallery=0, protocols=protocols)
    return table


def _was_asked(run: Path, protocols: Sequence[str]) -> bool:
    """Whether a run was evaluated with these protocols."""
    from samtune.parsing import read_json
    from samtune.prompts.protocols import find_protocols

    try:
        asked = list(read_json(run / "evaluation" / "results.json")["protocols"])
    except (UserError, KeyError, TypeError):  # half of it is none: it is asked again
        return False
    return [protocol.name for protocol in find_protocols(list(protocols))] == asked


def _result(folder: Path, curves: Any) -> LearningCurve:
    from samtune.evaluation.learning import would_more_help
    from samtune.evaluation.report.curve_page import write_curve_page
    from samtune.files import write_json

    result = LearningCurve(folder, curves, would_more_help(curves))
    content: dict[str, Any] = {
        "headline": result.sentence,
        "curves": {name: [asdict(point) for point in points] for name, points in curves.items()},
    }
    write_json(folder / "curve.json", content)
    write_curve_page(result.page, result.sentence, cells(result.tables["curve"]), curves)
    return result

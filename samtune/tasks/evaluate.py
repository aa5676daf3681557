"""`evaluate`: base against tuned on held-out images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samtune.errors import UserError
from samtune.inference.settings import Focus
from samtune.ranges import Count, NotNegative, Positive
from samtune.tasks.arguments import task
from samtune.tasks.evaluate_heads import HeadEvaluation, evaluate_heads
from samtune.tasks.evaluating import PROTOCOLS, Asking, Multimask, general_source, kept_rows
from samtune.tasks.evaluation import Evaluation
from samtune.tasks.heads.job import HeadJob
from samtune.tasks.opening import open_data, open_model
from samtune.tasks.runs import Run, find_run, is_tuned, recipe_of, seen_in_training
from samtune.tasks.settings import DataLike, read_settings
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.data.source import Source
    from samtune.evaluation.comparing import Comparison
    from samtune.evaluation.settings import EvaluationSettings
    from samtune.models.backend import Sam

log = logging.getLogger(__name__)
Split = Literal["train", "val", "test"]
What = Literal["auto", "prompts", "heads"]


@task
def evaluate(
    model: str | Path | Run,
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
    unit: str = "",
    tolerance: NotNegative = 2.0,
    general: str | Path = "drawn",
    what: What = "auto",
    against: str | Path | Run = "grid",
    classifier: str = "",
    gallery: Count = 120,
    out: str | Path | None = None,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
    command: str = "",
) -> Evaluation | HeadEvaluation | None:
    """Compare a tuned model with its base on held-out images: same network, same prompts, same images.

    The data are those of the run, or of config; any of their settings can be changed. Intervals and
    tests take each image as independent; where several show one patient, slide, video or scene,
    name these groups by data.group_column or data.group_regex. If it is interrupted, the same call
    goes on where it stopped. A base alone is measured, not compared.

    A model with a head (samtune fit --model.head) is judged by the objects that the head finds in
    whole images, beside those that the same SAM finds on a grid of points. Where a head for classes
    or a classifier names what is found, COCO's mask AP of each class is told too. With what prompts it
    is judged by prompts, as other models are.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        data: folder or file to use instead of the run's own, or settings to change.
        config: a config of `fit`, whose data section is used.
        split: whose images.
        max_images: images at most, with all of their tiles; 0 for all.
        protocols: kinds of prompts: box, box_jitter, point, points_N, clicks_N, box_clicks_N,
            box_jitter_N, box_outward_N, mask_coarse and more; robustness, interactive for several.
        prompts: a file of your own prompts, asked beside the protocols.
        seed: number that fixes the random prompts and the bootstrap.
        repeats: how often random prompts are drawn for each object.
        multimask: whether the model makes three masks for a single prompt, of which the one with the
            highest predicted IoU is taken: always, never, or auto (as the tuned model was trained; a
            base always).
        focus: `auto` looks at small objects in a window around them, base and tuned alike; `off` never
            does.
        spacing: distance between rows and between columns, for distances between outlines (default:
            the manifest's columns spacing_row and spacing_column, or 1).
        unit: unit of the spacing (default: the column spacing_unit, mm of volumes, or px).
        tolerance: how far outlines may be apart and still count as equal in surface Dice, in the
            unit of the spacing. Surface Dice and HD95 count pixels of edges, as MONAI does; by
            length they are those of the package surface-distance, which differ for small objects.
        general: other images, to see whether something was forgotten: drawn pictures, a data
            folder, or none.
        what: what is judged: `prompts`, or `heads`; auto takes heads where there are some.
        against: for heads: a `grid` of points, another model with the same head, or none.
        classifier: names the class of each mask that is found, as search.classifier of segment does:
            FILE.onnx, FILE.py:FUNCTION or MODULE:FUNCTION; without an instance head of a grid.
        gallery: how many pictures the report shows at most.
        out: folder for the results (default: RUN/evaluation; of another split than test
            RUN/evaluation-SPLIT).
        checkpoint: official weights for a registry name.
        image_size: side of the square input of a base model; 0 takes its own.
        device: cpu, cuda, cuda:1, mps, auto.
        command: that is noted in the results (the command line notes its own).

    Returns:
        What was found; `None` in all but the first of several processes, which share the images.

    Raises:
        UserError: the model or the data cannot be found, or an argument makes no sense.
    """
    from samtune.data.datamodule import SamDataModule
    from samtune.tasks.processes import joined

    if gallery < 0:
        raise UserError(f"gallery is {gallery}: give a whole number, 0 for no pictures")
    asking = Asking(
        protocols, prompts, seed, repeats, multimask, focus, spacing, tolerance, max_images
    )  # fmt: skip
    with joined() as (rank, world):
        run = find_run(Path(model))
        # a wrong path is said before the network is loaded
        opened = open_data(run, config, data, base=(str(model), image_size))
        opened.source(split)
        sam = open_model(model, checkpoint, image_size, device)
        if classifier and what == "prompts":
            raise UserError("classifier names masks that are found: leave it out, or what prompts")
        if what == "heads" or (what == "auto" and (sam.heads or classifier)):
            if not sam.heads and not classifier:
                raise UserError(f"{model} has no head: train one by samtune fit --model.head")
            keeping = SamDataModule(opened.settings, is_for_head=True)
            heads = HeadJob(
                sam, keeping, split, str(against), max_images, seed,
                seen_in_training(run, opened), classifier,
            )  # fmt: skip
            return (
                evaluate_heads(heads, _folder(out, run, Path(model), split)) if rank == 0 else None
            )
        settings = asking.settings(opened, split, sam, rank, world)
        job = _Job(str(model), run, opened, split, sam, settings, str(general), unit, command)
        return job.run_all(gallery, _folder(out, run, Path(model), split))


def _folder(out: str | Path | None, run: Path | None, model: Path, split: str) -> Path:
    """RUN/evaluation is the run's own on test images; all else has a folder of its name beside it."""
    if out is not None:
        return Path(out)
    name = "evaluation" if split == "test" else f"evaluation-{split}"
    if run is None:
        return Path(name)
    return run / (name if run == model else f"{name}-{model.stem}")


@dataclass(frozen=True)
class _Job:
    """An evaluation with all that it needs."""

    model: str
    run: Path | None
    data: SamDataModule
    split: str
    sam: Sam
    settings: EvaluationSettings
    general: str
    unit: str
    command: str

    def run_all(self, gallery_size: int, folder: Path) -> Evaluation | None:
        from samtune.evaluation.aids import gain_of, without
        from samtune.evaluation.assess import assess
        from samtune.evaluation.comparing import compare
        from samtune.evaluation.contestants import Contestants
        from samtune.evaluation.report.gallery import Gallery
        from samtune.evaluation.report.writing import write_report

        settings, rank = self.settings, self.settings.rank
        contestants = Contestants(self.sam, is_tuned(self.model))
        general_set = None  # found before the long work, so that a wrong name costs nothing
        if self.general != "none" and len(contestants.names) > 1:
            general_set = general_source(self.general, settings, self.sam)
        gallery, source = Gallery(gallery_size if rank == 0 else 0), self.data.source(self.split)
        if rank == 0:
            self._say_what(source)
            if (folder / "results.json").exists():
                log.info("NOTE: the results in %s are replaced; out (--out) keeps both", folder)
        with kept_rows(folder, rank) as store_of:
            store = store_of(contestants)
            domain = compare(contestants, source, settings, gallery.add, store=store)
            general = general_set and compare(
                contestants, *general_set, what="what was lost", store=store
            )
            far = without("focus", source, settings, domain.rows)
            farther = far and compare(contestants, *far, what="without focus", store=store)
            blunt = without("sharpening", source, settings, domain.rows)
            blunter = None
            if self.sam.sharpeners and blunt:
                blunter = compare(contestants, *blunt, what="without sharpening")
            if rank != 0:
                return None
            results = assess(
                domain, general, self.general, settings, recipe_of(self.run), self.sam.calibration
            )
            results["focus"] = farther and gain_of(domain.rows, farther.rows)
            results["sharpening"] = blunter and gain_of(domain.rows, blunter.rows)
            results["about"] = self._about(domain)
            results["warnings"] += self._data_warnings(domain)
            results = write_report(folder, domain.rows, results, gallery)
        self._log_to_wandb(results)
        return Evaluation(folder, results)

    def _say_what(self, source: Source) -> None:
        from samtune.training.record import read_record

        base = self.sam.base
        if base.is_random:
            log.info("NOTE: the base '%s' is randomly initialised, not pretrained", base.name)
        record = read_record(self.run)
        if record is not None and (changed := record.changed_versions()):
            log.info("NOTE: packages have changed since the run began: %s", ", ".join(changed))
        most, parts = self.settings.max_images, source.num_of_first(self.settings.max_images)
        whole = self.data.whole_source(self.split).num_of_first(most)
        told = counted(whole, "image") + ("" if parts == whole else f" ({counted(parts, 'tile')})")
        log.info("evaluating %s on %s of the split '%s'", self.model, told, self.split)

    def _data_warnings(self, domain: Comparison) -> list[str]:
        """Sentences on numbers that are not what they seem."""
        warnings, own, calibration = [], self.settings.own, self.sam.calibration
        asked = {row.key.image_id.split("@")[0] for row in domain.rows}
        if seen := asked & seen_in_training(self.run, self.data):
            warnings.append(
                f"not held out: {len(seen)} of {len(asked)} images were used in training (such as "
                f"{min(seen)}): the tuned model looks better on them than it is"
            )
        if calibration is not None and calibration.split == self.split:
            warnings.append(
                f"not held out: the calibration was fitted on the split '{self.split}' too"
            )
        if own is not None:
            num_used = sum(row.protocol == own.protocol.name for row in domain.rows)
            if num_used < own.num_prompts:
                warnings.append(
                    f"own prompts: {num_used} of {own.num_prompts} are for objects of these "
                    "images; the others fit none, or one that had a prompt"
                )
        return warnings

    def _about(self, domain: Comparison) -> dict[str, Any]:
        from samtune.evaluation.assess import provenance
        from samtune.evaluation.contestants import BASE, TUNED

        data, settings, sam = self.data, self.settings, self.sam
        splits = data.settings.of_splits
        call = self.command or f"samtune.evaluate({self.model!r}, split={self.split!r}, ...)"
        return {
            "model": self.model,
            "data": str(data.path),
            "split": self.split,
            "seed": settings.seed,
            "repeats": settings.repeats,
            "min_area": data.min_area,
            "groups": splits.group_column or splits.group_regex or "images",
            "multimask": {name: settings.multimask_of(name) for name in (BASE, TUNED)},
            "focus": "auto" if settings.with_focus else "off",
            "stretch": data.reading.stretch,
            "spacing": settings.spacing and list(settings.spacing),
            "spacing_unit": self.unit or dict(domain.rows[0].columns).get("spacing_unit") or "px",
            "tolerance": settings.tolerance,
            "general": self.general,
            "device": str(sam.device),
            **provenance(sam, domain, call),
        }

    def _log_to_wandb(self, results: dict[str, Any]) -> None:
        from samtune.evaluation.report.wandb_table import log_evaluation
        from samtune.training.loggers import is_offline

        run = self.run
        if run is not None and run == Path(self.model) and (run / "wandb_id.txt").exists():
            logging = read_settings(run / "config.yaml").get("logging", {})
            log_evaluation(run, logging, is_offline(logging.get("wandb", "auto")), results)

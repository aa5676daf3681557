"""`thresholds`: find the thresholds of automatic masks that suit a tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.inference.settings import SearchSettings
from samtune.locks import claim
from samtune.ranges import Count
from samtune.tasks.arguments import task
from samtune.tasks.evaluate import Split
from samtune.tasks.evaluating import require_count
from samtune.tasks.opening import open_data, open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run, find_run, require_tuned
from samtune.tasks.searching import usual_points
from samtune.tasks.settings import DataLike, Layer, build

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.evaluation.threshold_search import Judgement, Outcome, Rule, SearchedImage
    from samtune.models.backend import Sam
    from samtune.models.mask_thresholds import MaskThresholds

# mSA below which automatic masks show next to nothing of what is there
LEAST_USEFUL = 0.05


@dataclass(frozen=True)
class ThresholdsResult(Result):
    """Thresholds that were chosen.

    Attributes:
        file: where they lie, beside the tuned weights; `None` where they are not good enough to use.
        chosen: the thresholds.
        judgements: by split, segment_anything's against the chosen ones.
    """

    file: Path | None
    chosen: MaskThresholds
    judgements: dict[str, Judgement]

    @property
    def headline(self) -> str:
        told = ", ".join(f"{name} {value:g}" for name, value in asdict(self.chosen).items())
        if self.file is not None:
            return told
        judged = next(iter(self.judgements.values()))
        before, after = (each.scores["msa"] for each in (judged.before, judged.after))
        return (
            f"nothing was saved: {told} would be the best, with an mSA of {after:.3f} "
            f"(segment_anything's: {before:.3f}), but only what is better and reaches "
            f"{LEAST_USEFUL:g} is of use. "
            "Other points (--search.points_per_side), a smaller data.tile or more training may help; "
            "objects whose places are known need no thresholds (samtune predict, prelabel)"
        )

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "thresholds": [
                row for split, each in self.judgements.items() for row in _rows(split, each)
            ]
        }


def _rows(split: str, result: Judgement) -> Rows:
    difference = result.difference
    change: dict[str, Any] = {
        "difference": difference.mean, "95% of it": difference.ci95, "p (Wilcoxon)": difference.p,
    }  # fmt: skip
    counts = {"objects": result.num_objects, "images or tiles": result.num_images}
    about = {"split": split, "thresholds": "segment_anything's"}
    return [
        {**about, **_scores(result.before), **dict.fromkeys(change), **counts},
        {**about, "thresholds": "chosen", **_scores(result.after), **change, **counts},
    ]


def _scores(outcome: Outcome) -> dict[str, Any]:
    scores = outcome.scores
    return {
        "AP": scores["ap"], "AP50": scores["ap50"], "mSA": scores["msa"], "interval": outcome.ci95,
        "masks": outcome.num_masks,
    }  # fmt: skip


@task
def thresholds(
    model: str | Path | Run,
    *,
    data: DataLike = None,
    config: str | Path | None = None,
    split: Split = "val",
    max_images: Count = 0,
    search: Layer | SearchSettings | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> ThresholdsResult:
    """Find the thresholds of automatic masks that suit a tuned model.

    A tuned model rates its masks differently from SAM: with SAM's thresholds it often finds nothing.
    Those with the highest mean segmentation accuracy (mSA) on the
    validation images are saved beside the tuned weights; `AutomaticMaskGenerator` and
    `samtune segment` use them from then on, where they are better than segment_anything's and good
    enough to use. An image without an object counts too: 1 if nothing is found in it, else 0. Where
    there is a test split, the choice is measured on it as well.

    Args:
        model: run folder or adapter folder.
        search: the grid of points; the thresholds are what is looked for.
        seed: number that fixes the bootstrap.

    Raises:
        UserError: the model was not tuned, or the masks are empty.
    """
    from importlib.metadata import version

    from samtune.evaluation.threshold_search import DEFAULTS, RULES, choose, judge
    from samtune.models.loading import tuned_sha256
    from samtune.models.mask_thresholds import THRESHOLDS_FILE, FittedThresholds

    require_count(max_images)
    grid = build(SearchSettings, "search", search)
    others = replace(grid, points_per_side=None, points_per_batch=64)
    if others != SearchSettings():
        raise UserError("thresholds are what is looked for: give search.points_per_side alone")
    folder = require_tuned(str(model))
    claim(folder / THRESHOLDS_FILE)
    opened = open_data(find_run(folder), config, data, base=(str(model), image_size))
    points = grid.points_per_side or usual_points(opened.tile)
    opened.source(split)  # a wrong path is said before the network is loaded
    sam = open_model(model, checkpoint, image_size, device)
    eye = _Eye(sam, opened, points, grid.points_per_batch, max_images)
    images = eye.look(split, RULES, 0.0)
    chosen = choose(images)
    results = {str(split): judge(images, chosen, seed)}
    if split != "test" and opened.split_sizes().get("test"):
        rules = tuple({_rule(DEFAULTS), _rule(chosen)})
        least = min(DEFAULTS.pred_iou_thresh, chosen.pred_iou_thresh)
        results["test"] = judge(eye.look("test", rules, least), chosen, seed)
    provenance = {
        "samtune": version("samtune"),
        "weights_sha256": tuned_sha256(sam),
        "data": str(opened.path),
        "tile": opened.tile,
        "split": split,
        "results": {name: asdict(result) for name, result in results.items()},
    }
    file = None
    if is_useful(results[str(split)]):
        file = FittedThresholds(chosen, points, provenance).save(folder)
    return ThresholdsResult(file, chosen, results)


def is_useful(judged: Judgement) -> bool:
    """Whether chosen thresholds are better than segment_anything's, and good enough to use."""
    before, after = (each.scores["msa"] for each in (judged.before, judged.after))
    return after > before and after >= LEAST_USEFUL


@dataclass(frozen=True)
class _Eye:
    """What looks for everything in images."""

    sam: Sam
    data: SamDataModule
    points_per_side: int
    points_per_batch: int
    max_images: int

    def look(
        self, split: str, rules: tuple[Rule, ...], predicted_iou: float
    ) -> list[SearchedImage]:
        """What is in a split's images, with thresholds that let through all that will be tried."""
        from samtune.evaluation.threshold_search import search
        from samtune.inference.automatic.generator import AutomaticMaskGenerator

        generator = AutomaticMaskGenerator(
            self.sam, self.points_per_side, self.points_per_batch,
            pred_iou_thresh=predicted_iou,
            stability_score_thresh=min(stability for stability, _ in rules),
        )  # fmt: skip
        source, what = self.data.tiles(split), f"search {split}"
        return search(generator, source, self.data.min_area, rules, self.max_images, what)


def _rule(each: MaskThresholds) -> Rule:
    return each.stability_score_thresh, each.box_nms_thresh

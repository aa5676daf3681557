"""`calibrate`: calibrate the scores: make predicted IoU match measured IoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.inference.settings import Focus
from samtune.ranges import Count, Positive
from samtune.tasks.arguments import task
from samtune.tasks.evaluate import Split
from samtune.tasks.evaluating import PROTOCOLS, Asking, Multimask, kept_rows
from samtune.tasks.opening import open_data, open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run, find_run, require_tuned
from samtune.tasks.settings import DataLike
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.models.calibration import Calibration


@dataclass(frozen=True)
class CalibrationResult(Result):
    """A calibration that was fitted.

    Attributes:
        file: where it lies, beside the tuned weights; `None` where it is no better than none.
        calibration: the map, and the thresholds for review queues.
        error_before, error_after: expected calibration error on the masks that it was fitted on.
    """

    file: Path | None
    calibration: Calibration
    error_before: float
    error_after: float

    @property
    def headline(self) -> str:
        its = self.calibration
        if self.file is None:
            return (
                f"nothing was saved: the scores are as good as they are (expected calibration error "
                f"{self.error_before:.3f}; {self.error_after:.3f} after a map fitted on "
                f"{counted(its.num_masks, 'mask')})"
            )
        return (
            f"{its.method} fit on {counted(its.num_masks, 'mask')} of the split "
            f"'{its.split}': expected "
            f"calibration error {self.error_before:.3f}, on the same masks {self.error_after:.3f} "
            f"after it (samtune evaluate measures it on the test split){self._too_low()}"
        )

    def _too_low(self) -> str:
        """A sentence where no threshold was found."""
        thresholds = self.calibration.thresholds
        if any(each.score is not None for each in thresholds):
            return ""
        least = min(thresholds, key=lambda each: (each.iou, each.share))
        return (
            f". No score is high enough to leave masks unreviewed: even of those rated best fewer than "
            f"{least.share:.0%} have an IoU of {least.iou:.2f}"
        )

    @property
    def tables(self) -> Mapping[str, Rows]:
        rows: Rows = [
            {
                "IoU at least": each.iou,
                "for this share": each.share,
                "score from": each.score,
                "masks that pass": each.coverage,
            }
            for each in self.calibration.thresholds
        ]
        return {"thresholds": rows}


@task
def calibrate(
    model: str | Path | Run,
    *,
    data: DataLike = None,
    config: str | Path | None = None,
    split: Split = "val",
    max_images: Count = 0,
    protocols: Sequence[str] = PROTOCOLS,
    prompts: str | Path | None = None,
    seed: int = 0,
    repeats: Positive = 1,
    multimask: Multimask = "auto",
    focus: Focus = "auto",
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> CalibrationResult:
    """Calibrate the scores: make predicted IoU match measured IoU, and find thresholds for review.

    A map from predicted to measured IoU is fitted on validation images and saved beside the tuned
    weights; predictor and predictions use it from then on. Thresholds say from which score on a
    given share of the masks reaches a given IoU.

    Args:
        model: run folder or adapter folder.

    Raises:
        UserError: the model was not tuned, or the data cannot be found.
    """
    from samtune.evaluation.calibration import expected_error, fit_calibration
    from samtune.evaluation.comparing import compare
    from samtune.evaluation.contestants import TUNED, Contestants

    asking = Asking(protocols, prompts, seed, repeats, multimask, focus, max_images=max_images)
    folder = require_tuned(str(model))
    opened = open_data(find_run(Path(model)), config, data, base=(str(model), image_size))
    source = opened.source(split)
    sam = open_model(model, checkpoint, image_size, device)
    contestants = Contestants(sam, is_tuned=True, with_base=False)
    settings = asking.settings(opened, split, sam)
    with kept_rows(folder / "calibration") as store_of:
        rows = compare(contestants, source, settings, store=store_of(contestants)).rows
        calibration = fit_calibration(rows, TUNED, split)
        before = expected_error(rows, TUNED)["ece"]
        after = expected_error(rows, TUNED, calibration.of_array)["ece"]
        file = calibration.save(folder) if after < before else None
    return CalibrationResult(file, calibration, before, after)

"""`samtune calibrate RUN`: make predicted IoU mean what it says.

A map from predicted to measured IoU is fitted on validation images and saved beside the tuned
weights; predictor and predictions use it from then on. Besides, thresholds for review queues: from
which score on so many of the masks are so good.
"""

import argparse

from samtune.commands.evaluation_loading import kept_rows, load_evaluation
from samtune.commands.evaluation_options import (
    add_model_options,
    add_protocol_options,
    require_tuned,
)
from samtune.commands.options import parse_known, quieten
from samtune.evaluation.calibration import expected_error, fit_calibration
from samtune.evaluation.compare import compare
from samtune.evaluation.contestants import TUNED, Contestants
from samtune.evaluation.report.tables import markdown_table
from samtune.models.calibration import Calibration


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samtune calibrate", description=__doc__, exit_on_error=False)
    add_model_options(parser, "val")
    add_protocol_options(parser)
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options, data_arguments = parse_known(_parser(), arguments)
    folder = require_tuned(options.model)
    found = load_evaluation(options, data_arguments)
    contestants = Contestants(found.sam, is_tuned=True, with_base=False)
    with kept_rows(folder / "calibration") as store_of:
        rows = compare(contestants, found.source, found.settings, store=store_of(contestants)).rows
        calibration = fit_calibration(rows, TUNED, options.split)
        path = calibration.save(folder)
    before = expected_error(rows, TUNED)
    after = expected_error(rows, TUNED, calibration.of_array)
    print(
        f"{calibration.method} fit on {calibration.num_masks:,} masks of the split "
        f"'{options.split}': expected calibration error {before['ece']:.3f}, on the same masks "
        f"{after['ece']:.3f} after it (samtune evaluate tells it on the test split)"
    )
    print(_thresholds(calibration))
    print(f"saved: {path}")


def _thresholds(calibration: Calibration) -> str:
    lines = [
        [f"{each.iou:.2f}", f"{each.share:.0%}",
         "none is high enough" if each.score is None else f"{each.score:.3f}",
         f"{each.coverage:.0%}"]
        for each in calibration.thresholds
    ]  # fmt: skip
    return markdown_table(
        ["IoU at least", "for this share", "score from", "masks that pass"], lines
    )

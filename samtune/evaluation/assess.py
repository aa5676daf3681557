"""From what was measured to the content of `results.json`."""

import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from samtune.evaluation.calibration import check_threshold, expected_error
from samtune.evaluation.comparing import Comparison
from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.forgetting import losses_of, mark_trained
from samtune.evaluation.rows import Row
from samtune.evaluation.settings import EvaluationSettings
from samtune.evaluation.summary import summarise
from samtune.evaluation.verdict import headline
from samtune.models.backend import Sam
from samtune.models.calibration import Calibration
from samtune.models.loading import tuned_sha256
from samtune.prompts.protocols import Recipe

_LIBRARIES = ("samtune", "torch", "transformers", "peft", "numpy", "scipy", "pycocotools")


def assess(
    domain: Comparison,
    general: Comparison | None,
    general_name: str,
    settings: EvaluationSettings,
    recipe: Recipe | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Sum up a comparison, and what was lost beside it.

    Args:
        domain: on the user's held-out images.
        general: on other images; `None` if there are none.
        general_name: of these.
        settings: that both were run with.
        recipe: that the tuned model was trained with.
        calibration: of the tuned model.

    Returns:
        Its parts, as `results.schema.json` describes them, but for `about` and what focus brings.
    """
    summaries = summarise(domain.rows, settings.seed)
    mark_trained(summaries, settings.protocols, recipe)
    elsewhere = None if general is None else summarise(general.rows, settings.seed)
    losses = losses_of(summaries, elsewhere, general_name)
    _add_calibrated(summaries, domain.rows, calibration)
    return {
        "headline": headline(summaries, losses),
        "warnings": [loss.text for loss in losses],
        "protocols": summaries,
        "general": elsewhere and {"name": general_name, "protocols": elsewhere},
        "focus": None,
        "sharpening": None,
        "review": _review(domain.rows, calibration),
        "calibrated_on": None if calibration is None else calibration.split,
    }


def _add_calibrated(
    summaries: dict[str, Any], rows: list[Row], calibration: Calibration | None
) -> None:
    if calibration is None:
        return
    name = _last(rows)
    for protocol, summary in summaries.items():
        part = [row for row in rows if row.protocol == protocol]
        summary["calibration"]["calibrated"] = expected_error(part, name, calibration.of_array)


def _review(rows: list[Row], calibration: Calibration | None) -> list[dict[str, Any]] | None:
    """What the thresholds found on validation images let through here."""
    if calibration is None:
        return None
    scores = [row.scores[_last(rows)] for row in rows]
    predicted = calibration.of_array(np.array([score.predicted_iou for score in scores]))
    ious = np.array([score.iou for score in scores])
    return [check_threshold(each, predicted, ious) for each in calibration.thresholds]


def _last(rows: list[Row]) -> str:
    return TUNED if TUNED in rows[0].scores else BASE


def provenance(sam: Sam, data: Comparison, command: str) -> dict[str, Any]:
    """What is needed to get the same numbers again: weights, data, versions, command."""
    return {
        "command": command,
        "base": sam.base.name,
        "base_sha256": sam.base.sha256,
        "base_is_random": sam.base.is_random,
        "weights_sha256": tuned_sha256(sam),
        "data_sha256": data.data_sha256,
        "image_size": sam.image_size,
        "versions": {name: version(name) for name in _LIBRARIES}
        | {"python": platform.python_version()},
    }

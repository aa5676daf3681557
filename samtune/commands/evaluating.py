"""What is printed of tasks that measure models."""

import shlex
from typing import Any

from samtune.evaluation.next_steps import next_steps
from samtune.evaluation.report.tables import to_markdown
from samtune.tasks.calibrate import CalibrationResult
from samtune.tasks.compare import Comparison
from samtune.tasks.evaluate_heads import HeadEvaluation
from samtune.tasks.evaluation import Evaluation
from samtune.tasks.learning_curve import LearningCurve
from samtune.tasks.results import markdown
from samtune.tasks.scale import ScaleResult
from samtune.tasks.thresholds import ThresholdsResult

Arguments = dict[str, Any]


def note_command(given: Arguments, options: Arguments, words: list[str]) -> Arguments:
    """The results say how they came about."""
    return {**given, "command": shlex.join(["samtune", *words])}


def tell_evaluate(result: Evaluation | HeadEvaluation | None, options: Arguments) -> None:
    if result is None:  # another of several processes tells
        return
    if isinstance(result, HeadEvaluation):
        _tell_heads(result)
        return
    print(to_markdown(result.results["protocols"]))
    for warning in result.warnings:
        print(f"WARNING: {warning}")
    print(result.headline)
    for step in next_steps(result.results):
        print(f"next: {step}")
    print(f"report: {result.folder / 'report.html'}")
    if (result.folder / "examples.png").exists():
        print(f"picture: {result.folder / 'examples.png'}")


def _tell_heads(result: HeadEvaluation) -> None:
    for rows in result.tables.values():
        print(markdown(rows))
    for warning in result.warnings:
        print(f"WARNING: {warning}")
    print(result.headline)
    print(f"saved: {result.folder / 'heads.json'}")


def tell_page(result: Comparison | LearningCurve, options: Arguments) -> None:
    print(markdown(next(iter(result.tables.values()))))
    print(result.headline)
    print(f"report: {result.page}")


def tell_saved(result: CalibrationResult | ThresholdsResult, options: Arguments) -> None:
    print(markdown(next(iter(result.tables.values()))))
    print(result.headline)
    if result.file is not None:
        print(f"saved: {result.file}")


def tell_scale(result: ScaleResult, options: Arguments) -> None:
    if result.model is not None:
        print(result.headline)
        return
    print(markdown(result.tables["scales"]))
    print(result.headline)
    print(
        f"report: {result.page}; samtune scale MODEL --write {result.knee:g} saves the model at that "
        "scale"
    )

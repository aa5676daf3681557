"""What to do with a result: a few sentences, each perhaps with the command that does it."""

import shlex
from dataclasses import dataclass
from typing import Any

from samtune.evaluation.statistics import fewest_clusters
from samtune.wording import counted


@dataclass(frozen=True)
class Step:
    """A sentence; `command` is what to type, or empty."""

    text: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.command}" if self.command else f"{self.text}."


def next_steps(results: dict[str, Any]) -> list[Step]:
    """What follows from the content of `results.json`, the most important first."""
    summaries = results["protocols"]
    model, data = (shlex.quote(str(results["about"][name])) for name in ("model", "data"))
    if all(summary["delta"] is None for summary in summaries.values()):
        return [
            Step(
                "Tune it on your images, then evaluate the run",
                f"samtune init {data} --base {model} --out mine.yaml",
            ),
            Step("Look at the worst objects in the report: a wrong label looks like a wrong mask"),
        ]
    by_verdict: dict[str, list[str]] = {}
    for name, summary in summaries.items():
        by_verdict.setdefault(summary["delta"]["verdict"], []).append(name)
    steps = [
        *_trust(results, summaries, by_verdict),
        *_use(model, by_verdict),
    ]
    if list(by_verdict) != ["identical"]:
        steps.append(
            Step("Look at the largest losses in the report: a wrong label looks like a wrong mask")
        )
    return steps


def _trust(
    results: dict[str, Any], summaries: dict[str, Any], by_verdict: dict[str, list[str]]
) -> list[Step]:
    """What is needed for an answer to rely on."""
    steps = []
    if any(warning.startswith("not held out") for warning in results["warnings"]):
        steps.append(Step("Evaluate on images that nothing was trained or calibrated on"))
    num_clusters = max(summary["num_clusters"] for summary in summaries.values())
    if "unknown" in by_verdict:
        least = fewest_clusters(len(summaries))
        steps.append(
            Step(
                f"Add held-out images: {counted(num_clusters, 'independent image')} cannot show "
                f"whether it is better, it takes {least} or more"
            )
        )
    elif "unclear" in by_verdict:
        shown = max(summaries[n]["delta"]["smallest_detectable"] for n in by_verdict["unclear"])
        steps.append(
            Step(
                f"Add held-out images if a smaller difference than {shown:.3f} matters to you: "
                f"these {num_clusters} show a larger one in four of five cases"
            )
        )
    return steps


def _use(model: str, by_verdict: dict[str, list[str]]) -> list[Step]:
    """What to do with the tuned model."""
    if list(by_verdict) == ["identical"]:
        return [
            Step("Train longer (a larger --budget) or on more images: this run changes nothing")
        ]
    steps = []
    if "worse" in by_verdict:
        names = " and ".join(by_verdict["worse"])
        steps.append(
            Step(
                f"Use the base with {names} prompts, or see what a weaker adapter does",
                f"samtune scale {model}",
            )
        )
    if "worse" not in by_verdict or "better" in by_verdict:
        steps.append(
            Step("Click through your images with it", f"samtune open {model} FOLDER_OF_IMAGES")
        )
    return steps

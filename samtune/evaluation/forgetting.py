"""What was lost: the same comparison where the model was not tuned for it.

On a general set (drawn pictures, or a set of the user's), and on kinds of prompts that training
did not simulate.
"""

from dataclasses import dataclass
from typing import Any, Literal

from samtune.prompts.protocols import Protocol, Recipe, trained_parts
from samtune.wording import counted, signed

GENERAL_PROTOCOLS = ("box", "point")
# Drawn pictures and objects of each: as many more objects of the same pictures tell less than they cost
NUM_GENERAL, GENERAL_OBJECTS = 40, 6


@dataclass(frozen=True)
class Loss:
    """Something that fell.

    Attributes:
        kind: what was `forgotten`: prompts not trained, the general set; or a `part` of the data.
        text: says it.
    """

    kind: Literal["forgotten", "part"]
    text: str


def mark_trained(
    summaries: dict[str, Any], protocols: tuple[Protocol, ...], recipe: Recipe | None
) -> None:
    """Say of each protocol whether training simulated its kind of prompt; `None` if unknown."""
    parts = {protocol.name: protocol.parts for protocol in protocols}
    for name, summary in summaries.items():
        is_known = recipe is not None and name in parts
        summary["was_trained"] = (
            parts[name] <= trained_parts(recipe) if is_known and recipe else None
        )


def losses_of(
    summaries: dict[str, Any], general: dict[str, Any] | None, general_name: str
) -> list[Loss]:
    """What fell for sure: prompts not trained, parts of the data, the general set."""
    losses = [
        Loss(
            "forgotten",
            f"forgotten: '{name}' prompts, which training did not simulate, fell by "
            f"{-summary['delta']['miou']:.3f}",
        )
        for name, summary in summaries.items()
        if _is_worse(summary) and summary.get("was_trained") is False
    ]
    for part, (num_objects, fallen) in _fallen_parts(summaries).items():
        text = f"worse for some: {part} ({counted(num_objects, 'object')}): {', '.join(fallen)}"
        losses.append(Loss("part", text))
    for name, summary in (general or {}).items():
        if _is_worse(summary):
            delta = summary["delta"]
            text = (
                f"forgotten: on the general set ({general_name}) '{name}' prompts fell by "
                f"{-delta['miou']:.3f} ({summary['base']['miou']:.3f} to "
                f"{summary['tuned']['miou']:.3f}); samtune scale shows what a weaker adapter keeps"
            )
            losses.append(Loss("forgotten", text))
    return losses


def _fallen_parts(summaries: dict[str, Any]) -> dict[str, tuple[int, list[str]]]:
    """Parts of the data that fell where the whole did not: their objects, and with which prompts."""
    fallen: dict[str, tuple[int, list[str]]] = {}
    for name, summary in summaries.items():
        for way, parts in summary["breakdown"].items():
            for part, its in parts.items():
                if _is_worse(its) and not _is_worse(summary):
                    found = fallen.setdefault(f"{way} {part}", (its["num_objects"], []))
                    found[1].append(f"{name} {signed(its['delta']['miou'])}")
    return fallen


def _is_worse(summary: dict[str, Any]) -> bool:
    return summary["delta"] is not None and summary["delta"]["verdict"] == "worse"

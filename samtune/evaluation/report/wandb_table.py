"""Send an evaluation to the W&B run that the training was logged to."""

from pathlib import Path
from typing import Any

from samtune.errors import require

_COLUMNS = (
    "base_miou", "tuned_miou", "delta_miou", "ci95_low", "ci95_high", "p_holm", "verdict",
    "num_objects",
)  # fmt: skip


def log_evaluation(
    run: Path, settings: dict[str, Any], offline: bool, results: dict[str, Any]
) -> None:
    """Log the table of `results.json` and its numbers as the run's summary.

    Args:
        run: folder of the run, with its `wandb_id.txt`.
        settings: the `logging` section of its config.
        offline: do not try the server.
        results: content of `results.json`.
    """
    wandb = require("wandb", "wandb")
    session = wandb.init(
        project=settings.get("wandb_project", "samtune"),
        entity=settings.get("wandb_entity") or None,
        id=(run / "wandb_id.txt").read_text().strip(),
        name=run.name,
        dir=run,
        resume="allow",
        mode="offline" if offline else "online",
        settings=wandb.Settings(silent=True, console="off"),
    )
    table = wandb.Table(columns=["protocol", *_COLUMNS])
    parts = wandb.Table(columns=["protocol", "by", "part", *_COLUMNS])
    for name, summary in results["protocols"].items():
        row = _numbers(summary)
        table.add_data(name, *(row[column] for column in _COLUMNS))
        session.summary.update(
            {f"evaluation/{name}/{key}": value for key, value in row.items() if value is not None}
        )
        for way, values in summary["breakdown"].items():
            for part, its in values.items():
                numbers = _numbers(its)
                parts.add_data(name, way, part, *(numbers[column] for column in _COLUMNS))
    session.summary["evaluation/headline"] = results["headline"]
    session.log({"evaluation": table, "evaluation_parts": parts})
    session.finish()


def _numbers(summary: dict[str, Any]) -> dict[str, Any]:
    delta, tuned = summary["delta"] or {}, summary["tuned"] or {}
    low, high = delta.get("ci95") or (None, None)
    return {
        "base_miou": summary["base"]["miou"],
        "tuned_miou": tuned.get("miou"),
        "delta_miou": delta.get("miou"),
        "ci95_low": low,
        "ci95_high": high,
        "p_holm": delta.get("p_holm"),
        "verdict": delta.get("verdict"),
        "num_objects": summary["num_objects"],
    }

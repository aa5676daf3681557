"""What `evaluate` does with a model that has heads: each on whole images, against another way."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtune.files import write_json, write_text
from samtune.tasks.heads.job import GRID, HeadJob
from samtune.tasks.heads.objects import evaluate_objects
from samtune.tasks.heads.table import HEAD_WORK
from samtune.tasks.results import Result, Rows, markdown


@dataclass(frozen=True)
class HeadEvaluation(Result):
    """How good the heads of a model are.

    Attributes:
        folder: with heads.json, heads.md, and a table of images for each head.
        results: by head.
    """

    folder: Path
    results: dict[str, dict[str, Any]]

    @property
    def headline(self) -> str:
        return "\n".join(str(found["headline"]) for found in self.results.values())

    @property
    def warnings(self) -> list[str]:
        """What is not as good as it seems, in sentences."""
        return [text for found in self.results.values() for text in found["warnings"]]

    @property
    def tables(self) -> Mapping[str, Rows]:
        tables: dict[str, Rows] = {}
        for name, found in self.results.items():
            tables[name] = found["rows"]
            if found.get("by_class"):
                tables[f"{name} by class"] = found["by_class"]
        return tables


def evaluate_heads(job: HeadJob, folder: Path) -> HeadEvaluation:
    """Ask every head of a model, and write what was found into a folder."""
    results = {name: HEAD_WORK[name].evaluate(job) for name in job.sam.heads}
    if job.names_a_grid:
        results[GRID] = evaluate_objects(job, GRID)
    for name, found in results.items():
        found["warnings"] += job.not_held_out(found["images"])
        write_text(folder / f"{name}.csv", _as_csv(found.pop("images")))
    about = {"split": job.split, "data": str(job.data.path), "against": job.against}
    write_json(folder / "heads.json", {"about": about, "heads": results})
    write_text(folder / "heads.md", "\n".join(_section(*each) for each in results.items()))
    return HeadEvaluation(folder, results)


def _section(name: str, found: dict[str, Any]) -> str:
    """What heads.md says of one head."""
    by_class = found.get("by_class")
    parts = [f"# {name}", markdown(found["rows"]), found["headline"]]
    parts += ["COCO's mask AP with classes:", markdown(by_class)] if by_class else []
    return "\n\n".join(parts) + "\n"


def _as_csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

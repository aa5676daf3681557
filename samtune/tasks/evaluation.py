"""What `evaluate` has found, as notebooks and the command line read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtune.escaping import text_of_csv
from samtune.parsing import read_csv
from samtune.tasks.results import Result, Rows


@dataclass(frozen=True)
class Evaluation(Result):
    """What was found.

    Attributes:
        folder: with report.html, report.md, results.json, objects.csv.
        results: the content of results.json (its schema: samtune/evaluation/results.schema.json).
    """

    folder: Path
    results: dict[str, Any]

    @property
    def headline(self) -> str:
        return str(self.results["headline"])

    @property
    def warnings(self) -> list[str]:
        """What is not as good as it seems, in sentences."""
        return list(self.results["warnings"])

    @property
    def tables(self) -> Mapping[str, Rows]:
        found = {"protocols": _rows(self.results["protocols"])}
        if self.results["general"]:
            found["general"] = _rows(self.results["general"]["protocols"])
        for aid in ("focus", "sharpening"):
            if self.results[aid]:
                found[aid] = list(self.results[aid])
        return found

    @property
    def objects(self) -> Rows:
        """objects.csv: a row for each object, kind of prompt and draw."""
        rows = read_csv(self.folder / "objects.csv")
        return [{name: text_of_csv(cell) for name, cell in row.items()} for row in rows]

    def plot(self) -> Any:
        """The largest gains and losses as a picture (PIL), or `None` without pictures."""
        from PIL import Image

        file = self.folder / "examples.png"
        return Image.open(file) if file.exists() else None


def _rows(summaries: Mapping[str, Any]) -> Rows:
    rows = []
    for name, summary in summaries.items():
        floor = summary["trivial"] and summary["trivial"]["miou"]
        row = {
            "protocol": name, "without a network": floor, "base mIoU": summary["base"]["miou"],
        }  # fmt: skip
        if (delta := summary["delta"]) is not None:
            row |= {
                "tuned mIoU": summary["tuned"]["miou"], "difference": delta["miou"],
                "95% interval": delta["ci95"], "p (Holm)": delta["p_holm"],
                "verdict": delta["verdict"],
            }  # fmt: skip
        counts = {"objects": summary["num_objects"], "images": summary["num_images"]}
        rows.append(row | counts)
    return rows

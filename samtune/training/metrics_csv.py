"""`metrics.csv` of a run: one row a step, one column a metric; a resumed run goes on in it."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger

from samtune.files import write_text


class MetricsCsv(Logger):
    """Lightning's own CSV logger deletes an earlier file; this one keeps it.

    Args:
        path: the file. Rows of steps that are run again after a resume are replaced. A process that
            is killed may lose the row of its last step, for Lightning logs after it checkpoints.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._rows: dict[int, dict[str, str]] = {}
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self._rows = {int(row["step"]): row for row in csv.DictReader(file)}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Settings are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = self._rows.setdefault(step or 0, {"step": str(step or 0)})
        row |= {name: f"{value:.7g}" for name, value in metrics.items()}

    @rank_zero_only
    def save(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        if not columns:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows[step] for step in sorted(self._rows))
        write_text(self.path, text.getvalue())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

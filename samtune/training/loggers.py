"""Where a run is logged: CSV always, Weights & Biases and TensorBoard by a setting."""

import csv
import io
import os
import secrets
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from samtune.errors import UserError, require
from samtune.files import write_text
from samtune.parsing import read_csv
from samtune.training.settings import LoggingSettings


def build_loggers(run: Path, settings: LoggingSettings, config: dict[str, Any]) -> list[Logger]:
    """The loggers of a run.

    Raises:
        UserError: an optional package is missing.
    """
    loggers: list[Logger] = [MetricsCsv(run / "metrics.csv")]
    if settings.with_tensorboard:
        require("tensorboard", "tensorboard")
        from pytorch_lightning.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(run, name="tensorboard", version=""))
    if settings.wandb != "off":
        loggers.append(_build_wandb(run, settings, config))
    return loggers


def _build_wandb(run: Path, settings: LoggingSettings, config: dict[str, Any]) -> Logger:
    wandb = require("wandb", "wandb")
    from pytorch_lightning.loggers import WandbLogger

    run_id_file = run / "wandb_id.txt"
    run_id = run_id_file.read_text().strip() if run_id_file.exists() else secrets.token_hex(4)
    write_text(run_id_file, run_id)
    return WandbLogger(
        project=settings.wandb_project,
        entity=settings.wandb_entity or None,
        name=run.name,
        id=run_id,
        save_dir=run,
        offline=is_offline(settings.wandb),
        log_model=False,
        config=config,
        resume="allow",
        settings=wandb.Settings(silent=True, console="off"),
    )


def is_offline(mode: str) -> bool:
    """Whether W&B must not try its server: as set, or because nobody is logged in."""
    if mode in ("online", "offline"):
        return mode == "offline"
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    return not (os.environ.get("WANDB_API_KEY") or _has_login())


def _has_login() -> bool:
    """Whether a netrc file knows a W&B host."""
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return "wandb" in netrc.read_text()
    except OSError:
        return False


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
            rows = read_csv(path)
            try:
                self._rows = {int(row["step"]): row for row in rows}
            except (KeyError, ValueError) as error:
                raise UserError(f"{path} is damaged ({error}): move it away") from error

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

"""Where a run is logged: CSV always, Weights & Biases and TensorBoard by a setting."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import Logger

from samtune.errors import require
from samtune.files import write_text
from samtune.training.metrics_csv import MetricsCsv


@dataclass
class LoggingSettings:
    """Where metrics go besides metrics.csv."""

    wandb: Literal["off", "auto", "online", "offline"] = "off"
    """Weights & Biases; `auto` is online where you are logged in, else offline. It never asks."""
    wandb_project: str = "samtune"
    """W&B project."""
    wandb_entity: str = ""
    """W&B team or user; empty for your default."""
    with_tensorboard: bool = False
    """Write TensorBoard event files into the run folder."""
    panels: int = 4
    """Images with prompts, truth and prediction that each validation logs to W&B."""


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

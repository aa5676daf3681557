"""The end of a head's training: how its maps are read is chosen on the validation images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from samtune.tasks.heads.table import HEAD_WORK

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule

# Validation images that are looked at
_IMAGES = 40


def choose_decoding(data: SamDataModule, run: Path, name: str) -> str:
    """Choose how a run's head is read, save it, and say so in a sentence."""
    from samtune.data.source import Subset
    from samtune.models.loading import load_model
    from samtune.models.saving import save_tuned

    sam, source = load_model(run), data.whole_source("val")
    some = Subset(source, list(range(0, len(source), -(-len(source) // _IMAGES))))
    sentence = HEAD_WORK[name].choose(sam, some, data.min_area)
    save_tuned(sam, run)
    return sentence

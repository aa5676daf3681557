"""The end of a head's training: how its maps are read is chosen on the validation images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.tasks.heads.table import HEAD_WORK

if TYPE_CHECKING:
    from samtune.training.preparing import Training

# Validation images that are looked at
_IMAGES = 40
# For sharpening, of what is left of a budget of time, the rest being for measuring it; and at least
_LEFT_SHARE, _LEAST_SECONDS = 0.7, 10.0


def choose_decoding(training: Training, run: Path) -> Iterator[str]:
    """Choose how a run's head is read, and whether its objects are sharpened; save it and say so."""
    from samtune.data.source import Subset
    from samtune.models.loading import load_model
    from samtune.models.saving import save_tuned
    from samtune.training.budget import find_budget

    data, work = training.data, HEAD_WORK[training.settings.model.head]
    sam, source = load_model(run), data.whole_source("val")
    some = Subset(source, list(range(0, len(source), -(-len(source) // _IMAGES))))
    yield work.choose(sam, some, data.min_area)
    save_tuned(sam, run)
    budget = find_budget(training.trainer)
    is_time = budget is None or budget.sharpening_seconds > 0
    if work.sharpen is not None and training.settings.sharpen and is_time:
        seconds = None if budget is None else max(_LEAST_SECONDS, _LEFT_SHARE * budget.left)
        yield work.sharpen(sam, data, some, training.trainer.global_step, seconds)
        save_tuned(sam, run)

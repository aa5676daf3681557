"""The end of `fit`: what the chosen weights answer on training images teaches a sharpener."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.evaluation.choice import Candidate
    from samtune.models.backend import Sam
    from samtune.models.sharpening.network import Sharpener
    from samtune.models.strength import TunedScale
    from samtune.tasks.choosing import AskedBase
    from samtune.training.budget import Budget
    from samtune.training.preparing import Training

log = logging.getLogger(__name__)
# Of the time, for asking: of training images, of validation and drawn ones too
_ASKED_TRAINING, _ASKED = 0.25, 0.35
# What measuring takes, over what the base's own answers took
_MEASURING = 1.5
# By how much a budget may be overrun to measure what is tried after the first
_OVERRUN = 1.1
# Seconds below which nothing is begun
_LEAST_SECONDS = 3.0
# Steps at most; where there is no limit of time, so many for each of the training
_MOST, _RATIO = 3000, 1.5
# Of the rates from nothing: it starts from what comes with samtune
_PACE = 0.5
# What is tried: how much of its answer a mask gets, and how much of the strength is kept. All of it is
# best on images like those that it was trained on. The mean of both masks has most of that gain, and
# half of the loss on others: it is the first where few validation images say how other ones would do.
# Weaker weights or less of it follow where that would still forget too much
_WHOLE, _TRIED = (1.0, 1.0), ((0.5, 1.0), (0.5, 0.75), (0.25, 1.0))


def sharpened_candidates(
    training: Training, sam: Sam, base: AskedBase, chosen: Candidate | None,
    scale: TunedScale | None,
) -> tuple[list[Candidate], list[str]]:  # fmt: skip
    """Train a sharpener for the weights that are kept, and measure them with it.

    Args:
        training: after its end.
        sam: with the weights that are kept, at full strength; it leaves with the sharpener.
        base: what candidates are compared with.
        chosen: what is kept; `None` where that is the base.
        scale: of these weights; `None` where they have no strengths.

    Returns:
        What was measured, and what there was no time for.
    """
    from samtune.training.budget import find_budget

    budget = find_budget(training.trainer)
    seconds = None if budget is None else budget.left - _MEASURING * base.seconds
    if seconds is not None and seconds < _LEAST_SECONDS:
        return [], ["masks are not sharpened: the budget has no time left for it"]
    gained = chosen.gain if chosen else 0.0
    weights, strength = (chosen.weights, chosen.strength) if chosen else ("last", 0.0)
    found: list[Candidate] = []
    left_out: list[str] = []
    try:
        if scale is not None:
            scale.set(strength)
        learned = learn_to_sharpen(sam, training.data, seconds, training.trainer.global_step)
        for amount, share in _to_try(base) if learned is not None else ():
            assert learned is not None
            if share < 1 and (scale is None or not strength):
                continue
            if found and budget is not None and _is_late(budget, base):
                left_out.append(
                    f"there was no time to measure {amount:g} of the sharpener's answer, and what "
                    "might have followed"
                )
                break
            if scale is not None:
                scale.set(share * strength)
            # after the scale, which would have its say in it
            learned.settings = replace(learned.settings, amount=amount)
            sam.sharpener = learned
            found.append(
                base.measure(sam, weights, share * strength, amount, training.data.seed, gained)
            )
            if found[-1].may_be_kept(gained):
                break
    except UserError as error:  # its answers are no numbers
        log.warning("masks are not sharpened: %s", error)
    return found, left_out


def _is_late(budget: Budget, base: AskedBase) -> bool:
    """Whether measuring once more would overrun the budget by more than a tenth."""
    return budget.elapsed + _MEASURING * base.seconds > _OVERRUN * budget.seconds


def _to_try(base: AskedBase) -> tuple[tuple[float, float], ...]:
    from samtune.evaluation.choice import ENOUGH

    is_enough = len({row.cluster for row in base.rows}) >= ENOUGH
    return (_WHOLE, *_TRIED) if is_enough else _TRIED


def save_sharpened(sam: Sam, run: Path, chosen: Candidate | None) -> None:
    """Save what is kept: the weights, and beside them the sharpener where it is part of it."""
    from samtune.models.saving import save_run

    if chosen is None or not chosen.sharpening or sam.sharpener is None:
        sam.sharpener = None
    else:
        settings = sam.sharpener.settings
        sam.sharpener.settings = replace(settings, amount=chosen.sharpening)
    save_run(sam, run)


def learn_to_sharpen(
    sam: Sam, data: SamDataModule, seconds: float | None, steps: int
) -> Sharpener | None:
    """Train a sharpener for the masks of a tuned network; `None` where that has found nothing.

    Args:
        sam: as it is kept.
        data: whose training images.
        seconds: for all of it; `None` for no limit.
        steps: of the training, for which there are half as many again; with a limit of time it ends
            with that.
    """
    import torch

    from samtune.models.sharpening.network import Sharpener
    from samtune.models.sharpening.saving import shipped_sharpener
    from samtune.tasks.opening import num_processes_of
    from samtune.tasks.sharpening_answers import domain_answers, general_answers
    from samtune.training.sharpening import (
        get_used_to,
        over_steps,
        over_time,
        train_sharpener,
    )

    began = time.monotonic()
    torch.manual_seed(data.seed)
    # what has learned on drawn pictures where edges lie needs fewer steps than what has learned nothing
    sharpener = Sharpener().to(sam.device)
    sharpener.load_state_dict(shipped_sharpener().state_dict())
    first, last = (
        float("inf") if seconds is None else began + share * seconds
        for share in (_ASKED_TRAINING, _ASKED)
    )
    own = domain_answers(sam, sharpener, data, "train", first)
    if not own:
        return None
    held_out = domain_answers(sam, sharpener, data, "val", (3 * first + last) / 4)
    general = general_answers(sam, sharpener, len(own), data.seed, last)
    if seconds is None:
        progress = over_steps(min(_MOST, max(1, round(_RATIO * steps))))
    else:
        progress = over_time(max(1.0, seconds - (time.monotonic() - began)), _MOST)
    taken = train_sharpener(
        sharpener, own, general, data.seed, progress, _PACE, num_processes_of(sam)
    )
    get_used_to(sharpener, own, held_out, data.seed)
    log.info("sharpening masks: %d steps on %d answers from training images", taken, len(own))
    return sharpener

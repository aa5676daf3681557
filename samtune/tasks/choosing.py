"""The end of `fit`: candidates and the base are asked on the validation images, and one is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.wording import counted, duration

if TYPE_CHECKING:
    from torch import Tensor

    from samtune.evaluation.choice import Candidate
    from samtune.evaluation.rows import Row
    from samtune.models.backend import Sam
    from samtune.models.strength import TunedScale
    from samtune.tasks.questions import Questions
    from samtune.training.preparing import Training

log = logging.getLogger(__name__)
# Candidates that are asked though time is over, while none of them may be kept
_MOST_IN_VAIN = 3
# Seconds for choosing where little or nothing is left of a budget of time
_LEAST_SECONDS = 5.0


@dataclass(frozen=True)
class AskedBase:
    """What the base answered to the questions that candidates are compared by.

    Attributes:
        domain, general: the questions.
        rows, elsewhere: its answers to both.
        images, pictures: that it was asked on.
        seconds: that it took to ask both.
        is_cut: there was no time for all images.
    """

    domain: Questions
    general: Questions
    rows: list[Row]
    elsewhere: list[Row]
    images: set[str]
    pictures: set[str]
    seconds: float
    is_cut: bool

    def measure(
        self, sam: Sam, weights: str, strength: float, sharpening: float, seed: int, best: float
    ) -> Candidate:
        """Compare a network with the base; on drawn pictures only where it may still be kept.

        Args:
            sam: as it would be kept.
            weights, strength, sharpening: what it is called by.
            seed: number that fixes the bootstrap.
            best: gain of what would be kept without it.

        Raises:
            UserError: it answers with NaN.
        """
        from samtune.evaluation.choice import measured, with_general
        from samtune.evaluation.contestants import TUNED
        from samtune.tasks.questions import answers_to

        sharp = " and sharpened" if sharpening else ""
        what = f"asking the {weights} weights at strength {strength:g}{sharp}"
        rows = list(answers_to(sam, self.domain, self.images, what=what))
        found = measured(weights, strength, (self.rows, rows), TUNED, seed, sharpening)
        if not found.may_be_kept(best):
            return found
        forgotten = list(answers_to(sam, self.general, self.pictures))
        return with_general(found, (self.elsewhere, forgotten), TUNED, seed)


def choose_weights(training: Training, run: Path) -> str:
    """Choose what a run leaves, save it, and say so in a sentence.

    Args:
        training: after its end, with the last weights.
        run: its folder; checkpoints/best.ckpt is a candidate too.
    """
    from samtune.evaluation.choice import choose, sentence_of
    from samtune.files import write_json
    from samtune.models.strength import can_be_scaled, undo
    from samtune.tasks.sharpening import save_sharpened, sharpened_candidates
    from samtune.training.averaging import find_averaged
    from samtune.training.budget import find_budget

    sam, budget = training.model.network.eval(), find_budget(training.trainer)
    states = _States(sam, run, find_averaged(training.trainer))
    left_out = list(_lost(training, states))
    for each in left_out:
        log.warning("%s", each)
    seconds = float("inf") if budget is None else max(budget.left_to_choose, _LEAST_SECONDS)
    base = _ask_base(training, states, seconds)
    if not base.rows:
        return "nothing was chosen: no validation image holds an object; the best weights are kept"
    candidates, unasked = _measure_all(training, states, base, seconds - base.seconds)
    for each in unasked:
        log.info("%s", each)
    chosen = choose(candidates)
    with states.at(chosen.weights if chosen else "last", 1.0):
        scale = states.scale() if can_be_scaled(sam) else None
        if chosen is None and scale is None and sam.is_adapted:
            undo(sam)
        if training.settings.sharpen:
            sharper, untried = sharpened_candidates(training, sam, base, chosen, scale)
            for each in untried:
                log.info("%s", each)
            candidates, unasked = candidates + sharper, unasked + untried
            chosen = choose(candidates)
        strength = chosen.strength if chosen else 0.0
        if scale is not None and strength == 1:
            scale.set(1.0)  # what was tried last may have been weaker
        elif scale is not None:
            scale.settle(strength)
        sam.is_better = chosen is not None and chosen.is_better
        save_sharpened(sam, run, chosen)
    sentence = sentence_of(
        chosen, len({row.key for row in base.rows}), len({row.cluster for row in base.rows})
    )
    told = [as_plain_candidate(each) | {"is_chosen": each is chosen} for each in candidates]
    content = {"sentence": sentence, "left_out": [*left_out, *unasked], "candidates": told}
    write_json(run / "choice.json", content)
    return sentence


def _lost(training: Training, states: _States) -> Iterator[str]:
    """What is to be told of the best weights, if a validation has saved some that are gone."""
    kept = (getattr(each, "best_model_path", "") for each in training.trainer.checkpoint_callbacks)
    if any(kept) and not states.has_best:
        yield (
            f"{states.best} is not there: the weights of the best validation are no candidate, though "
            "there were some; the others are compared"
        )


class _States:
    """A trained network at moments of its training and at strengths."""

    def __init__(self, sam: Sam, run: Path, averaged: dict[str, Tensor]) -> None:
        from samtune.training.checkpoints import BEST, FOLDER

        self.sam, self.best = sam, run / FOLDER / BEST
        self._averaged = averaged
        self._base: Sam | None = None
        trained = sam.named_parameters()
        self._last = {f"sam.{n}": p.detach().clone() for n, p in trained if p.requires_grad}

    def scale(self) -> TunedScale:
        """Of the weights as they are; the base of a network that was trained whole is loaded once."""
        from samtune.models.loading import load_base
        from samtune.models.strength import TunedScale

        if self._base is None and not self.sam.is_adapted:
            base = load_base(asdict(self.sam.base), "the run")
            self._base = base.to(self.sam.device).eval()
        return TunedScale(self.sam, self._base)

    @property
    def names(self) -> list[str]:
        """Those that differ: the best validation may have been that of the last weights."""
        there = {
            "averaged": bool(self._averaged),
            "best": self.has_best and not self._is_best_last(),
        }
        return ["last", *(name for name, is_there in there.items() if is_there)]

    @property
    def has_best(self) -> bool:
        return self.best.exists()

    def _is_best_last(self) -> bool:
        import torch

        try:
            best = self._state("best")
        except UserError:  # is told where it is asked
            return False
        return all(torch.equal(best[n].to(own), own) for n, own in self._last.items() if n in best)

    @contextmanager
    def at(self, weights: str, strength: float) -> Iterator[None]:
        """One of them, for the time of the block; afterwards the network has its last weights."""
        from samtune.models.loading import load_trained

        if strength == 0 and self.sam.is_adapted:  # also of adapters that have no scale
            with self.sam.base_weights():
                yield
            return
        load_trained(self.sam, self._state(weights), weights)
        scale = None if strength == 1 else self.scale()
        try:
            if scale is not None:
                scale.set(strength)
            yield
        finally:
            if scale is not None:
                scale.set(1.0)
            load_trained(self.sam, self._last, "last")

    def _state(self, weights: str) -> dict[str, Tensor]:
        from samtune.training.checkpoints import read_checkpoint

        if weights in ("last", "averaged"):
            return self._last if weights == "last" else self._averaged
        return dict(read_checkpoint(self.best)["state_dict"])


def _ask_base(training: Training, states: _States, seconds: float) -> AskedBase:
    """The base's answers; on a part of the validation images where they would take too long."""
    from samtune.tasks.questions import answers_to, questions_of

    limit = "" if seconds == float("inf") else f", about {duration(seconds)}"
    log.info("choosing what is kept: base, tuned or in between, on validation images%s ...", limit)
    began = time.monotonic()
    domain, general = questions_of(training.data, states.sam)
    with states.at("last", 0.0):
        until = began + seconds / 5
        rows = list(answers_to(states.sam, domain, until=until, what="asking the base"))
        is_cut = time.monotonic() > until
        elsewhere = list(answers_to(states.sam, general, until=time.monotonic() + seconds / 5))
    images, pictures = ({row.key.image_id for row in its} for its in (rows, elsewhere))
    is_cut &= bool(rows) and domain.source.records[-1].image_id not in images
    each = time.monotonic() - began
    return AskedBase(domain, general, rows, elsewhere, images, pictures, each, is_cut)


def _measure_all(
    training: Training, states: _States, base: AskedBase, seconds: float
) -> tuple[list[Candidate], list[str]]:
    """Candidates, and what there was no time for.

    Without a budget of time none is left out for it, so that the same training has the same choice on
    any machine, however busy.
    """
    from samtune.evaluation.choice import choose, next_asked
    from samtune.models.strength import can_be_scaled

    began, sam = time.monotonic(), states.sam
    found: list[Candidate] = []
    unasked: list[str] = []
    if base.is_cut:
        of_all = f"{len(base.images)} of {counted(len(base.domain.source), 'validation image')}"
        unasked.append(
            f"the choice had time for {of_all} (some of which may hold no object): a longer budget, or "
            "one of steps, takes all"
        )
    if len(base.pictures) < len(base.general.source):
        unasked.append(
            f"what is forgotten was measured on {len(base.pictures)} of "
            f"{counted(len(base.general.source), 'drawn picture')}: a longer budget, or one of steps, "
            "takes all"
        )
    asked = {(name, 1.0) for name in ("averaged", "best") if name not in states.names}
    while (wanted := next_asked(asked, found, can_be_scaled(sam))) is not None:
        # beyond the time it goes on only until something may be kept
        is_enough = choose(found) is not None or len(found) >= _MOST_IN_VAIN
        if is_enough and time.monotonic() + base.seconds > began + seconds:
            unasked.append(
                f"the choice had no time for the {wanted[0]} weights at strength {wanted[1]:g}, and "
                "what might have followed: a longer budget, or one of steps, takes all"
            )
            break
        asked.add(wanted)
        weights, strength = wanted
        kept = choose(found)
        best = kept.gain if kept else 0.0
        try:
            with states.at(weights, strength):
                found.append(base.measure(sam, weights, strength, 0.0, training.data.seed, best))
        except UserError as error:  # its answers are no numbers: no candidate
            log.warning("%s weights at strength %g: %s", weights, strength, error)
    return found, unasked


def as_plain_candidate(candidate: Candidate) -> dict[str, Any]:
    """As choice.json holds it."""
    return {
        "weights": candidate.weights, "strength": candidate.strength,
        "sharpening": candidate.sharpening,
        "gain": candidate.gain, "is_allowed": candidate.is_allowed,
        "domain": {name: asdict(each) for name, each in candidate.domain.items()},
        "general": dict(candidate.general), "verdicts": dict(candidate.verdicts),
    }  # fmt: skip

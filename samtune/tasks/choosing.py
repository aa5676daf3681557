"""The end of `fit`: candidates and the base are asked on the validation images, and one is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.wording import counted, duration

if TYPE_CHECKING:
    from torch import Tensor

    from samtune.data.datamodule import SamDataModule
    from samtune.data.source import Source
    from samtune.evaluation.choice import Candidate
    from samtune.evaluation.rows import Row
    from samtune.evaluation.settings import EvaluationSettings
    from samtune.models.backend import Sam
    from samtune.models.strength import TunedScale
    from samtune.training.preparing import Training

log = logging.getLogger(__name__)
PROTOCOLS = ("box", "point", "clicks_3")
# Objects of an image that are asked, and images at most
_OBJECTS, _IMAGES = 6, 60
# General pictures and objects of each: with fewer a fall of 0.02 cannot be told from chance
_GENERAL, _GENERAL_OBJECTS = 20, 10
# Candidates that are asked though time is over, while none of them may be kept
_MOST_IN_VAIN = 3
# Seconds for choosing where little or nothing is left of a budget of time
_LEAST_SECONDS = 5.0


@dataclass(frozen=True)
class Questions:
    """Images, and how to ask on them."""

    source: Source
    settings: EvaluationSettings


def choose_weights(training: Training, run: Path) -> str:
    """Choose what a run leaves, save it, and say so in a sentence.

    Args:
        training: after its end, with the last weights.
        run: its folder; checkpoints/best.ckpt is a candidate too.
    """
    from samtune.evaluation.choice import choose, sentence_of
    from samtune.files import write_json
    from samtune.models.saving import save_tuned
    from samtune.models.strength import can_be_scaled
    from samtune.training.averaging import find_averaged

    sam = training.model.network.eval()
    states = _States(sam, run, find_averaged(training.trainer))
    left_out = list(_lost(training, states))
    for each in left_out:
        log.warning("%s", each)
    candidates, rows, unasked = _measure_all(training, states)
    for each in unasked:
        log.info("%s", each)
    if not rows:
        return "nothing was chosen: no validation image holds an object; the best weights are kept"
    chosen = choose(candidates)
    sentence = sentence_of(
        chosen, len({row.key for row in rows}), len({row.cluster for row in rows})
    )
    sam.is_better = chosen is not None and chosen.is_better
    with states.at(chosen.weights if chosen else "last", 1.0):
        strength = chosen.strength if chosen else 0.0
        if strength != 1 and can_be_scaled(sam):
            states.scale().settle(strength)
        save_tuned(sam, run)
    told = [as_plain_candidate(each) | {"is_chosen": each is chosen} for each in candidates]
    content = {"sentence": sentence, "left_out": [*left_out, *unasked], "candidates": told}
    write_json(run / "choice.json", content)
    return sentence


def _lost(training: Training, states: _States) -> Iterator[str]:
    """What is to be told of the best weights, if a validation has saved some that are gone."""
    kept = (getattr(each, "best_model_path", "") for each in training.trainer.checkpoint_callbacks)
    if any(kept) and "best" not in states.names:
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
        there = {"averaged": bool(self._averaged), "best": self.best.exists()}
        return ["last", *(name for name, is_there in there.items() if is_there)]

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


def _measure_all(
    training: Training, states: _States
) -> tuple[list[Candidate], list[Row], list[str]]:
    """Candidates, the base's rows on the validation images, and what there was no time for.

    Without a budget of time none is left out for it, so that the same training has the same choice on
    any machine, however busy.
    """
    from samtune.evaluation.choice import choose, measured, next_asked
    from samtune.evaluation.contestants import TUNED
    from samtune.models.strength import can_be_scaled
    from samtune.training.budget import find_budget

    budget, sam = find_budget(training.trainer), states.sam
    began = time.monotonic()
    seconds = float("inf") if budget is None else max(budget.left, _LEAST_SECONDS)
    end = began + seconds
    limit = "" if budget is None else f", about {duration(seconds)}"
    log.info("choosing what is kept: base, tuned or in between, on validation images%s ...", limit)
    domain, general = questions_of(training.data, sam)
    with states.at("last", 0.0):
        until = began + seconds / 5
        base = list(answers_to(sam, domain, until=until, what="asking the base"))
        is_cut = time.monotonic() > until
        elsewhere = list(answers_to(sam, general))
    each = time.monotonic() - began
    found: list[Candidate] = []
    unasked: list[str] = []
    if not base:
        return [], [], []
    images = {row.key.image_id for row in base}
    if is_cut and domain.source.records[-1].image_id not in images:
        of_all = f"{len(images)} of {counted(len(domain.source), 'validation image')}"
        unasked.append(
            f"the choice had time for {of_all} (some of which may hold no object): a longer budget, or "
            "one of steps, takes all"
        )
    asked = {(name, 1.0) for name in ("averaged", "best") if name not in states.names}
    while (wanted := next_asked(asked, found, can_be_scaled(sam))) is not None:
        # beyond the time it goes on only until something may be kept
        is_enough = choose(found) is not None or len(found) >= _MOST_IN_VAIN
        if is_enough and time.monotonic() + each > end:
            unasked.append(
                f"the choice had no time for the {wanted[0]} weights at strength {wanted[1]:g}, and "
                "what might have followed: a longer budget, or one of steps, takes all"
            )
            break
        asked.add(wanted)
        weights, strength = wanted
        try:
            with states.at(weights, strength):
                what = f"asking the {weights} weights at strength {strength:g}"
                rows, forgotten = (
                    list(answers_to(sam, domain, images, what=what)),
                    list(answers_to(sam, general)),
                )
        except UserError as error:  # its answers are no numbers: no candidate
            log.warning("%s weights at strength %g: %s", weights, strength, error)
            continue
        pairs = (base, rows), (elsewhere, forgotten)
        found.append(measured(weights, strength, *pairs, TUNED, training.data.seed))
    return found, base, unasked


def questions_of(
    data: SamDataModule, sam: Sam, most_images: int = _IMAGES, most_objects: int = 0
) -> tuple[Questions, Questions]:
    """What is asked on the validation images, and on general pictures.

    Args:
        data: whose validation images.
        sam: who is asked.
        most_images: of these, at most.
        most_objects: in all, where that is more than a few of each image.
    """
    from samtune.data.drawn.source import DrawnPictures
    from samtune.data.source import FewObjects, Subset
    from samtune.evaluation.forgetting import GENERAL_PROTOCOLS
    from samtune.prompts.protocols import find_protocols
    from samtune.tasks.evaluating import Asking

    settings = replace(Asking(PROTOCOLS).settings(data, "val", sam), num_workers=0)
    source = data.source("val")
    step = max(1, -(-len(source) // most_images))
    indices = list(range(0, len(source), step))
    objects = max(_OBJECTS, most_objects // max(1, len(indices)))
    chosen = FewObjects(Subset(source, indices), objects, data.seed)
    general = replace(
        settings, protocols=tuple(find_protocols(GENERAL_PROTOCOLS)), spacing=None, tile=0
    )
    pictures = DrawnPictures("val", num_pictures=_GENERAL)
    drawn = FewObjects(pictures, _GENERAL_OBJECTS, data.seed)
    return Questions(chosen, settings), Questions(drawn, general)


def answers_to(
    sam: Sam,
    questions: Questions,
    images: set[str] | None = None,
    until: float = float("inf"),
    what: str = "",
) -> Iterator[Row]:
    """Answers of a network, image by image, to those named or while there is time.

    Args:
        sam: who is asked.
        questions: what.
        images: on which; `None` are all.
        until: `time.monotonic` at which no further image is begun, after two.
        what: a bar says; without it there is none.
    """
    from samtune.bars import bar
    from samtune.data.source import Subset
    from samtune.evaluation.comparing import compare
    from samtune.evaluation.contestants import Contestants

    contestants, source = Contestants(sam, is_tuned=True, with_base=False), questions.source
    num_asked = 0
    records = list(enumerate(source.records))
    for index, record in bar(records, what, "image", delay=5):
        if images is not None and record.image_id not in images:
            continue
        if num_asked >= 2 and time.monotonic() > until:
            return
        if _has_objects(source, index, questions.settings.min_area):
            num_asked += 1
            part = Subset(source, [index])
            yield from compare(contestants, part, questions.settings, what="").rows


def _has_objects(source: Source, index: int, min_area: int) -> bool:
    """Whether there is something to ask; images that cannot be read were told in training."""
    from samtune.data.objects import find_objects

    try:
        return bool(find_objects(source.read(index).labels, min_area))
    except UserError:
        return False


def as_plain_candidate(candidate: Candidate) -> dict[str, Any]:
    """As choice.json holds it."""
    return {
        "weights": candidate.weights, "strength": candidate.strength,
        "gain": candidate.gain, "is_allowed": candidate.is_allowed,
        "domain": {name: asdict(each) for name, each in candidate.domain.items()},
        "general": dict(candidate.general), "verdicts": dict(candidate.verdicts),
    }  # fmt: skip

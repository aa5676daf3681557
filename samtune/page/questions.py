"""Questions to the network: whose turn it is, and that an answer is of the state it was asked in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samtune.data.volumes.slices import SliceStack
from samtune.errors import UserError
from samtune.evaluation.contestants import TUNED
from samtune.inference.prelabel.placed_mask import placed_iou
from samtune.inference.settings import Focus
from samtune.models.backend import Sam
from samtune.page.answering import Answering, Candidate, Offer
from samtune.page.state import Accepted, By, Work
from samtune.page.truth import object_meant
from samtune.page.turns import Turns
from samtune.types import Prompt, Sample


@dataclass(frozen=True, eq=False)
class Answers:
    """What both contestants say to the prompt of an image.

    Attributes:
        number: of the question: the state of the image that it is about.
        strength: of the adapter.
        offers: by contestant.
        is_final: whether a closer look at a small object would say nothing else.
    """

    number: int
    strength: float
    offers: Mapping[str, Offer]
    is_final: bool = True

    @property
    def agreement(self) -> float | None:
        """IoU of base and tuned; `None` where there is one alone."""
        masks = [offer.candidates[offer.best].mask for offer in self.offers.values()]
        return placed_iou(*masks) if len(masks) == 2 else None

    def choose(self, by: By | None, candidate: int | None) -> tuple[By, Candidate]:
        """A candidate; without `by` the tuned model's, without `candidate` the best one.

        Raises:
            UserError: there is no such contestant or candidate.
        """
        by = by or ("tuned" if "tuned" in self.offers else "base")
        offer = self.offers.get(by)
        if offer is None:
            raise UserError(f"there is no mask by '{by}': choose from {', '.join(self.offers)}")
        place = offer.best if candidate is None else candidate
        if not 0 <= place < len(offer.candidates):
            count = len(offer.candidates)
            raise UserError(f"there is no candidate {place + 1}: this prompt has {count}")
        return by, offer.candidates[place]


class Questions:
    """Asks the network, in turns; what a person waits for goes before what is made ahead.

    Args:
        sample: reads an image.
        has_truth: whether the labels of samples are the truth.
        focus: `auto` looks at small objects in a window around them.

    Attributes:
        answering: the network and its base, by `use`.
        turns: whose turn it is to use them.
    """

    answering: Answering

    def __init__(self, sample: Callable[[int], Sample], has_truth: bool, focus: Focus) -> None:
        self._sample, self._has_truth, self._focus = sample, has_truth, focus
        self.turns = Turns()
        self._answers: dict[int, Answers] = {}

    def use(self, sam: Sam, is_tuned: bool) -> None:
        """Ask another network from now on."""
        with self.turns.taken(is_urgent=True):
            self.answering = Answering(sam, is_tuned, self._focus, sam.reading.tile)
            self._answers.clear()

    @property
    def last_name(self) -> By:
        """Who is asked where one alone is: the tuned model, or the base without one."""
        return "tuned" if TUNED in self.answering.names else "base"

    def answer(
        self, index: int, work: Work, number: int | None, strength: float, is_quick: bool
    ) -> Answers | None:
        """See `Session.answer`."""
        with self.turns.taken(is_urgent=True):
            state, now = work.history.state, work.history.number
            if state.prompt is None or number not in (None, now):
                return None
            known = self._answers.get(index)
            if known is not None and (known.number, known.strength) == (now, strength):
                return known
            self.answering.set_strength(strength)
            sample = self._sample(index)
            truth = object_meant(sample.labels, state.prompt) if self._has_truth else None
            asked = (index, sample.image, state.prompt, truth)
            if is_quick:
                offers, is_final = self.answering.glance(*asked)
            else:
                offers, is_final = self.answering.ask(*asked), True
            found = Answers(now, strength, offers, is_final)
            if is_final:
                self._answers[index] = found
        return found

    def find_everything(
        self, index: int, name: str, known: Sequence[Accepted]
    ) -> tuple[Accepted, ...]:
        """What an automatic search finds besides objects that are known."""
        image = self._sample(index).image
        with self.turns.taken(is_urgent=True):
            return self.answering.find_everything(image, name, known)

    def carry(
        self, stack: SliceStack, number: int, prompt: Prompt
    ) -> dict[int, tuple[dict[str, Any], float]]:
        """An object through the slices of a volume: run lengths and expected IoU by slice."""
        with self.turns.taken(is_urgent=True):
            return self.answering.carry(stack, number, prompt)

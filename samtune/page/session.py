"""The session behind the page, the widget and the backends: images, prompts, answers, objects.

    session = Session(sam, True, open_images([folder], sam.reading), out)
    session.click(0, 30, 40)
    answers = session.answer(0)
    session.accept(0, name="nucleus")

Several threads may call it. What changes an image is done at once and in order; a question takes its
turn at the network, and one that was overtaken by another change is not answered any more.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from samtune.errors import UserError
from samtune.inference.settings import Focus
from samtune.models.backend import Sam
from samtune.page.ahead import Ahead
from samtune.page.answering import Answering
from samtune.page.changes import Change
from samtune.page.images import Images
from samtune.page.labelling import Labelling
from samtune.page.parts import VolumeSlices
from samtune.page.prelabels import Prelabels
from samtune.page.questions import Answers, Questions
from samtune.page.state import Accepted, By, State


class Session(Labelling):
    """Images that are gone through with a model.

    Args:
        sam: the network.
        is_tuned: it has a base, which is asked too.
        images: what is gone through.
        out: folder for the annotations; what an earlier session left there comes back.
        focus: `auto` looks at small objects in a window around them.
        prelabels: what `samtune prelabel` made of the images, to be accepted or rejected.

    Raises:
        UserError: the folder holds something else, or two images would have one name there.
    """

    def __init__(
        self, sam: Sam, is_tuned: bool, images: Images, out: Path, focus: Focus = "auto",
        prelabels: Prelabels | None = None,
    ) -> None:  # fmt: skip
        super().__init__(images, out, sam.reading, prelabels)
        self._questions = Questions(self.sample, images.has_truth, focus)
        self._ahead = Ahead(self.works, self.queue, self.sample, self._questions)
        self.set_model(sam, is_tuned)

    def set_model(self, sam: Sam, is_tuned: bool) -> None:
        """Use another network from now on; doubts are looked for anew.

        Images are read as before: by the source that they come from.
        """
        self._questions.use(sam, is_tuned)
        for work in self.works:
            work.doubt = None

    @property
    def answering(self) -> Answering:
        """The network and its base."""
        return self._questions.answering

    def look_at(self, index: int) -> None:
        """Say which image is on the screen: the ones after it are made ahead.

        What was labelled before in it is suggested.

        Raises:
            UserError: that cannot be read.
        """
        self.current = self._changes.require(index)
        self._suggest_prelabelled(index, self._questions.last_name)

    @property
    def seconds_idle(self) -> float:
        """How long nobody has asked the network anything."""
        return self._questions.turns.seconds_idle

    def work_ahead(self, with_doubts: bool = True) -> bool:
        """Do one piece of what a person will need soon; whether there was anything to do."""
        return self._ahead.work(self.current, with_doubts)

    def answer(
        self, index: int, number: int | None = None, strength: float = 1.0, is_quick: bool = False
    ) -> Answers | None:
        """What base and tuned say to the prompt of an image.

        Args:
            index: of the image.
            number: of the question; `None` is the present one.
            strength: of the adapter: 0 is the base, 1 as it was tuned.
            is_quick: answer from what is encoded already, where a closer look would take longer.

        Returns:
            `None` where there is no prompt, or another change came after that question.

        Raises:
            UserError: the image cannot be read, or the network answers with NaN.
        """
        work = self.works[self._changes.require(index)]
        return self._questions.answer(index, work, number, strength, is_quick)

    def accept(
        self, index: int, name: str = "", by: By | None = None, candidate: int | None = None,
        strength: float = 1.0, number: int | None = None,
    ) -> int:  # fmt: skip
        """Put the mask among the image's objects; it is on the disk when this returns.

        Args:
            index: of the image.
            name: of its class.
            by: whose mask; `None` is that mended by hand, else the tuned model's, else the base's.
            candidate: which one, from 0; `None` is the one that the model rates best.
            strength: of the adapter.
            number: of the question whose answer is accepted; `None` is the present one.

        Raises:
            UserError: there is no mask, it is empty, or another change came after that question.
        """
        name, history = self.kept.class_name(name), self.works[self._changes.require(index)].history
        state, now = history.state, history.number
        if number not in (None, now):
            raise UserError("the prompt has changed since: look at the new mask, then accept it")
        mask, score = state.hand, None
        if mask is None or by not in (None, "hand"):
            answers = self.answer(index, now, strength)
            if answers is None:
                raise UserError("there is nothing to accept yet: click on an object, or drag a box")
            by, found = answers.choose(by, candidate)
            mask, score = found.mask, found.score
        if not mask.area:
            raise UserError("the mask is empty: click elsewhere, or draw a box")
        rle = mask.to_rle(self.hw(index))
        who: By = by or "hand"

        def accept(state: State) -> State:
            made = Accepted(state.replaces, name, rle, who, score)
            own = state.replaces or self._numbering.of(index, [made])[0]
            return state.accepted(replace(made, number=own))

        return self._changes.change(index, accept, now)

    def find_everything(self, index: int, name: str = "") -> int:
        """Suggest what an automatic search finds besides the objects, with the strength 1.

        Args:
            index: of the image.
            name: of the class that it is suggested with, unless a head of the model says another.

        Raises:
            UserError: the network answers with NaN.
        """
        name, known = self.kept.class_name(name), list(self.state(index).objects)
        known += self.objects_beside(index)
        found = self._questions.find_everything(index, name, known)

        def suggest(state: State) -> State:
            numbers = [each.number for each in found]
            if self.is_stack:
                numbers = self._numbering.of(index, found)
            self.kept.know_classes(each.name for each in found)
            return state.suggesting(
                replace(each, number=own) for each, own in zip(found, numbers, strict=True)
            )

        return self._changes.change(index, suggest)

    def carry(self, index: int, name: str = "") -> int:
        """Suggest the object that is prompted on a slice on all its neighbours too.

        Where it ends is told by the rule of `samtune segment-volume`.

        Args:
            index: of the slice with the prompt.
            name: of the class that it is suggested with.

        Returns:
            The number of the slice's new state.

        Raises:
            UserError: these are no slices of a volume, or nothing is prompted.
        """
        source, prompt = self.images.source, self.state(index).prompt
        if not isinstance(source, VolumeSlices):
            raise UserError("an object is carried through the slices of one volume: open its file")
        if prompt is None:
            raise UserError("click on an object, or drag a box around it, before it is carried on")
        name = self.kept.class_name(name)
        masks = self._questions.carry(source.stack, index, prompt)
        with self._changes.lock:
            own, by = self._numbering.free(index), self._questions.last_name
        changes: dict[int, Change] = {index: State.cleared}
        for number, (rle, score) in masks.items():
            made = Accepted(own, name, rle, by, score)
            changes[number] = partial(_carried, made, number == index)
        self._changes.change_all(changes)
        return self.works[index].history.number


def _carried(made: Accepted, is_prompted: bool, state: State) -> State:
    """With an object that was carried there; the prompt that it comes from is done."""
    state = state.cleared() if is_prompted else state
    return state.suggesting((*state.suggested, made))

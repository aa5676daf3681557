"""The session behind the page, the widget and the backends: images, prompts, answers, objects.

    session = Session(sam, True, open_images([folder], sam.reading), out)
    session.click(0, 30, 40)
    answers = session.answer(0)
    session.accept(0, name="nucleus")

Several threads may call it. What changes an image is done at once and in order; a question takes its
turn at the network, and one that was overtaken by another change is not answered any more.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.inference.outputs import cutout
from samtune.inference.settings import Focus
from samtune.models.backend import Sam
from samtune.page.ahead import Ahead
from samtune.page.answering import Answering
from samtune.page.images import Images
from samtune.page.parts import VolumeSlices
from samtune.page.prelabels import Prelabels
from samtune.page.prompting import Prompting
from samtune.page.questions import Answers, Questions
from samtune.page.state import Accepted, By, State, Status
from samtune.types import ImageArray, MaskArray


class Session(Prompting):
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
        return self._changes.change(index, lambda state: state.accepted(rle, name, who, score), now)

    def edit(self, index: int, number: int) -> int:
        """Take an object up again: what is accepted next takes its place."""
        return self._changes.change(index, lambda state: state.editing(number))

    def delete(self, index: int, number: int) -> int:
        """Remove an object."""
        return self._changes.change(index, lambda state: state.without(number))

    def name(self, index: int, number: int, name: str) -> int:
        """Give an object another class."""
        name = self.kept.class_name(name)
        return self._changes.change(index, lambda state: state.named(number, name))

    def add_class(self, name: str) -> None:
        """Add a class that objects may be given."""
        name = self.kept.class_name(name)
        with self._changes.lock:
            if name not in self.kept.classes:
                self.kept.classes.append(name)
                self.kept.write_session()

    def find_everything(self, index: int, name: str = "") -> int:
        """Suggest what an automatic search finds besides the objects, with the strength 1.

        Args:
            index: of the image.
            name: of the class that it is suggested with.

        Raises:
            UserError: the network answers with NaN.
        """
        work = self.works[self._changes.require(index)]
        found = self._questions.find_everything(index, work, self.kept.class_name(name))
        return self._changes.change(index, lambda state: state.suggesting(found))

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
        with self._questions.turns.taken(is_urgent=True):
            masks = self.answering.carry(source.stack, index, prompt)
        for number, (rle, score) in masks.items():
            self._suggest_one(number, rle, name, score)
        return self._changes.change(index, State.cleared)

    def _suggest_one(self, index: int, rle: dict[str, Any], name: str, score: float) -> None:
        def suggest(state: State) -> State:
            number = 1 + max((each.number for each in state.suggested), default=0)
            made = Accepted(number, name, rle, self._questions.last_name, score)
            return state.suggesting((*state.suggested, made))

        self._changes.change(index, suggest)

    def take(self, index: int, numbers: Collection[int]) -> int:
        """Accept suggestions."""
        return self._changes.change(index, lambda state: state.taking(numbers))

    def drop(self, index: int, numbers: Collection[int]) -> int:
        """Reject suggestions."""
        return self._changes.change(index, lambda state: state.dropping(numbers))

    def set_status(self, index: int, status: Status) -> None:
        """Say how far an image is."""
        with self._changes.changing(index) as work:
            work.status = status
            self.kept.write(index)

    def hold_out(self, index: int, is_held_out: bool) -> None:
        """Say whether an image is for testing: then it is never trained on.

        Raises:
            UserError: it was trained on already.
        """
        work = self.works[self._changes.require(index)]
        if is_held_out and work.image_id in self.kept.trained_on:
            raise UserError(
                f"{work.image_id} was trained on already: hold out an image that was not"
            )
        with self._changes.changing(index):
            work.is_held_out = is_held_out
            self.kept.write(index)

    def cutout(self, index: int, number: int) -> ImageArray:
        """An object alone as (h, w, 4) RGBA, cropped to it.

        Raises:
            UserError: there is no such object.
        """
        found = self.state(index).object(number)
        return cutout(self.sample(index).image, found.mask.whole(self.hw(index)))

    def masks_of(self, index: int) -> dict[int, MaskArray]:
        """(H, W) boolean masks of the objects of an image, by number."""
        hw = self.hw(index)
        return {each.number: each.mask.whole(hw) for each in self.state(index).objects}

    @property
    def masks(self) -> dict[str, dict[int, MaskArray]]:
        """`masks_of` each image that has objects, by its id."""
        return {
            work.image_id: self.masks_of(index)
            for index, work in enumerate(self.works)
            if work.history.state.objects
        }

"""The session behind the page, the widget and the backends: images, prompts, answers, objects.

    session = Session(sam, True, open_images([folder], sam.reading), out)
    session.click(0, 30, 40)
    answers = session.answer(0)
    session.accept(0, name="nucleus")

Several threads may call it. What changes an image is done at once and in order; a question takes its
turn at the network, and one that was overtaken by another change is not answered any more.
"""

import io
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from PIL import Image

from samtune.errors import UserError
from samtune.evaluation.contestants import TUNED
from samtune.images.naming import match_names
from samtune.inference.outputs import cutout
from samtune.inference.prelabel.placed_mask import PlacedMask, placed_iou
from samtune.inference.settings import Focus
from samtune.models.backend import Sam
from samtune.page.answering import Answering, Candidate, Offer, object_meant
from samtune.page.images import Images
from samtune.page.keeping import Keeping
from samtune.page.parts import VolumeSlices
from samtune.page.queue import Queue
from samtune.page.state import Accepted, By, Click, State, Status, Work
from samtune.page.suggesting import Prelabels
from samtune.page.turns import Turns
from samtune.types import ImageArray, MaskArray, Sample

# Images that are held in memory, and images that are encoded ahead of the present one.
_KEPT, _AHEAD = 4, 2
_LONGEST_NAME = 200


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


class Session:
    """Images that are gone through with a model.

    Args:
        sam: the network.
        is_tuned: it has a base, which is asked too.
        images: what is gone through.
        out: folder for the annotations; what an earlier session left there comes back.
        focus: `auto` looks at small objects in a window around them.
        prelabels: what `samtune prelabel` made of the images, to be accepted or rejected.

    Attributes:
        works: what is known of each image.
        queue: in which order they are gone through.
        kept: what is written of them: classes and rounds of tuning, too.

    Raises:
        UserError: the folder holds something else, or two images would have one name there.
    """

    def __init__(
        self, sam: Sam, is_tuned: bool, images: Images, out: Path, focus: Focus = "auto",
        prelabels: Prelabels | None = None,
    ) -> None:  # fmt: skip
        self.images, self.out, self.focus = images, out, focus
        self._lock, self._reading, self._turns = RLock(), RLock(), Turns()
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._answers: dict[int, Answers] = {}
        self._unreadable: set[int] = set()
        self.works = [Work(record.image_id) for record in images.source.records]
        names: Mapping[str, str] = {}
        self._prelabels = prelabels
        if prelabels is not None:
            paths = {record.image_id: record.path for record in images.source.records}
            names, _ = match_names(prelabels.names, paths)
        self._prelabelled = {image_id: name for name, image_id in names.items()}
        trusts = {} if prelabels is None else prelabels.trusts
        review = {names[name]: trust for name, trust in trusts.items() if name in names}
        self.queue = Queue(self.works, review, self.is_stack)
        self.kept = Keeping(out, images.source, self.works, sam.reading, self.sample)
        self.current = len(self.works) // 2 if self.is_stack else self.queue.order()[0]
        self.set_model(sam, is_tuned)

    def set_model(self, sam: Sam, is_tuned: bool) -> None:
        """Use another network from now on; doubts are looked for anew.

        Images are read as before: by the source that they come from.
        """
        with self._turns.taken(is_urgent=True), self._lock:
            self.answering = Answering(sam, is_tuned, self.focus, sam.reading.tile)
            self._answers.clear()
            for work in self.works:
                work.doubt = None

    # -- images ---------------------------------------------------------------------------------

    def sample(self, index: int) -> Sample:
        """An image as the model sees it, and its truth where it is known.

        Raises:
            UserError: it cannot be read.
        """
        with self._reading:
            if index not in self._samples:
                self._samples[index] = self.images.source.read(index)
            self._samples.move_to_end(index)
            while len(self._samples) > _KEPT:
                self._samples.popitem(last=False)
            return self._samples[index]

    def picture(self, index: int) -> bytes:
        """PNG of an image as the model sees it."""
        buffer = io.BytesIO()
        Image.fromarray(self.sample(index).image).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def hw(self, index: int) -> tuple[int, int]:
        height, width = self.sample(index).image.shape[:2]
        return height, width

    def look_at(self, index: int) -> None:
        """Say which image is on the screen: the ones after it are made ahead.

        What was labelled before in it is suggested.

        Raises:
            UserError: that cannot be read.
        """
        self.current = self._require(index)
        work, prelabels = self.works[index], self._prelabels
        if prelabels is None or work.prelabelled is not None:
            return
        name, by = self._prelabelled.get(work.image_id), self._last_name
        found = () if name is None else prelabels.objects(name, self.hw(index), by)
        with self._lock:
            self.kept.classes += [
                each for each in prelabels.classes if each and each not in self.kept.classes
            ]
            work.prelabelled = found
            work.history.state = work.history.state.suggesting(found)

    # -- the prompt -----------------------------------------------------------------------------

    def state(self, index: int) -> State:
        return self.works[self._require(index)].history.state

    def click(self, index: int, x: float, y: float, is_inside: bool = True) -> int:
        """Add a click, pixels of the image; returns the number of the question that this makes.

        Raises:
            UserError: it lies outside the image.
        """
        click = Click(float(x), float(y), bool(is_inside))
        return self._prompted(index, lambda state: state.clicked(click))

    def drag_box(self, index: int, box_xyxy: Sequence[float]) -> int:
        """Set the box, pixels of the image, which takes the place of one that was there.

        Raises:
            UserError: it reaches out of the image.
        """
        corners = [float(corner) for corner in box_xyxy]
        return self._prompted(index, lambda state: state.boxed(corners))

    def _prompted(self, index: int, change: Callable[[State], State]) -> int:
        hw = self.hw(self._require(index))

        def checked(state: State) -> State:
            changed = change(state)
            assert changed.prompt is not None
            changed.prompt.require_inside(hw, self.works[index].image_id)
            return changed

        return self._change(index, checked)

    def mend(self, index: int, mask: PlacedMask) -> int:
        """Take a mask that was drawn or mended by hand, until the next click.

        Raises:
            UserError: it reaches out of the image.
        """
        (height, width), part = self.hw(index), mask.part.shape
        if not (0 <= mask.top <= height - part[0] and 0 <= mask.left <= width - part[1]):
            raise UserError(f"the mask reaches out of {self.works[index].image_id}")
        mended = PlacedMask.of(mask.part, mask.top, mask.left)
        return self._change(index, lambda state: state.mended(mended))

    def clear(self, index: int) -> int:
        """Drop the prompt that was begun."""
        return self._change(index, State.cleared)

    def undo(self, index: int) -> int:
        """Go back by one change of whatever kind."""
        with self._changing(index) as work:
            work.history.undo()
            return work.history.number

    def redo(self, index: int) -> int:
        """Take back the last undo."""
        with self._changing(index) as work:
            work.history.redo()
            return work.history.number

    # -- answers --------------------------------------------------------------------------------

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
        work = self.works[self._require(index)]
        with self._turns.taken(is_urgent=True):
            state, now = work.history.state, work.history.number
            if state.prompt is None or number not in (None, now):
                return None
            known = self._answers.get(index)
            if known is not None and (known.number, known.strength) == (now, strength):
                return known
            self.answering.set_strength(strength)
            sample = self.sample(index)
            truth = None
            if self.images.has_truth:
                truth = object_meant(sample.labels, state.prompt)
            asked = (index, sample.image, state.prompt, truth)
            if is_quick:
                offers, is_final = self.answering.glance(*asked)
            else:
                offers, is_final = self.answering.ask(*asked), True
            found = Answers(now, strength, offers, is_final)
            if is_final:
                self._answers[index] = found
        return found

    # -- objects --------------------------------------------------------------------------------

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
        name, history = self._require_name(name), self.works[self._require(index)].history
        state, now = history.state, history.number
        if number not in (None, now):
            raise UserError("the prompt has changed since: look at the new mask, then accept it")
        mask, score = state.hand, None
        if mask is None or by not in (None, "hand"):
            by, found = self._offered(index, now, strength, by, candidate)
            mask, score = found.mask, found.score
        if not mask.area:
            raise UserError("the mask is empty: click elsewhere, or draw a box")
        rle = mask.to_rle(self.hw(index))
        who: By = by or "hand"
        return self._change(index, lambda state: state.accepted(rle, name, who, score), now)

    def _offered(
        self, index: int, number: int, strength: float, by: By | None, candidate: int | None
    ) -> tuple[By, Candidate]:
        """The candidate of a contestant that is meant."""
        answers = self.answer(index, number, strength)
        if answers is None:
            raise UserError("there is nothing to accept yet: click on an object, or drag a box")
        by = by or ("tuned" if "tuned" in answers.offers else "base")
        offer = answers.offers.get(by)
        if offer is None:
            raise UserError(f"there is no mask by '{by}': choose from {', '.join(answers.offers)}")
        place = offer.best if candidate is None else candidate
        if not 0 <= place < len(offer.candidates):
            count = len(offer.candidates)
            raise UserError(f"there is no candidate {place + 1}: this prompt has {count}")
        return by, offer.candidates[place]

    def edit(self, index: int, number: int) -> int:
        """Take an object up again: what is accepted next takes its place."""
        return self._change(index, lambda state: state.editing(number))

    def delete(self, index: int, number: int) -> int:
        """Remove an object."""
        return self._change(index, lambda state: state.without(number))

    def name(self, index: int, number: int, name: str) -> int:
        """Give an object another class."""
        name = self._require_name(name)
        return self._change(index, lambda state: state.named(number, name))

    def add_class(self, name: str) -> None:
        """Add a class that objects may be given."""
        name = self._require_name(name)
        with self._lock:
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
        name, image = self._require_name(name), self.sample(index).image
        with self._turns.taken(is_urgent=True):
            known = self.state(index).objects
            found = self.answering.find_everything(image, name, known)
        return self._change(index, lambda state: state.suggesting(found))

    @property
    def is_stack(self) -> bool:
        """Whether the images are the slices of one volume, in their order."""
        return isinstance(self.images.source, VolumeSlices)

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
        name = self._require_name(name)
        with self._turns.taken(is_urgent=True):
            masks = self.answering.carry(source.stack, index, prompt)
        for number, (rle, score) in masks.items():
            self._suggest_one(number, rle, name, score)
        return self._change(index, State.cleared)

    def _suggest_one(self, index: int, rle: dict[str, Any], name: str, score: float) -> None:
        def suggest(state: State) -> State:
            number = 1 + max((each.number for each in state.suggested), default=0)
            made = Accepted(number, name, rle, self._last_name, score)
            return state.suggesting((*state.suggested, made))

        self._change(index, suggest)

    def take(self, index: int, numbers: Collection[int]) -> int:
        """Accept suggestions."""
        return self._change(index, lambda state: state.taking(numbers))

    def drop(self, index: int, numbers: Collection[int]) -> int:
        """Reject suggestions."""
        return self._change(index, lambda state: state.dropping(numbers))

    @property
    def _last_name(self) -> By:
        return "tuned" if TUNED in self.answering.names else "base"

    def set_status(self, index: int, status: Status) -> None:
        """Say how far an image is."""
        with self._changing(index) as work:
            work.status = status
            self.kept.write(index)

    def hold_out(self, index: int, is_held_out: bool) -> None:
        """Say whether an image is for testing: then it is never trained on.

        Raises:
            UserError: it was trained on already.
        """
        work = self.works[self._require(index)]
        if is_held_out and work.image_id in self.kept.trained_on:
            raise UserError(
                f"{work.image_id} was trained on already: hold out an image that was not"
            )
        with self._changing(index):
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

    # -- ahead ----------------------------------------------------------------------------------

    def work_ahead(self, with_doubts: bool = True) -> bool:
        """Do one piece of what a person will need soon; whether there was anything to do.

        The present image and those after it are encoded, then images are looked at for their doubt.
        """
        waiting = self.queue.open_from(self.current)
        after = [each for each in waiting if each not in self._unreadable]
        for index in after[: _AHEAD + 1]:
            if self._ahead(index, is_doubt=False):
                return True
        if not with_doubts:
            return False
        unknown = (each for each in after if self.works[each].doubt is None)
        return any(self._ahead(index, is_doubt=True) for index in unknown)

    def _ahead(self, index: int, is_doubt: bool) -> bool:
        try:
            image = self.sample(index).image
            with self._turns.taken(is_urgent=False):
                self.answering.set_strength(1.0)
                if not is_doubt:
                    return self.answering.encode(index, image)
                self.works[index].doubt = self.answering.doubt(index, image)
        except UserError:  # whoever opens it is told
            self._unreadable.add(index)
        return True

    # -- changing -------------------------------------------------------------------------------

    def _change(
        self, index: int, change: Callable[[State], State], number: int | None = None
    ) -> int:
        """Make another state of the present one, which is that of `number`; returns its number."""
        with self._changing(index) as work:
            if number is not None and work.history.number != number:
                raise UserError("the image was changed at the same time: try again")
            work.history.change(change(work.history.state))
            return work.history.number

    @contextmanager
    def _changing(self, index: int) -> Iterator[Work]:
        """One change at a time; what it changed is written before the block ends, or nothing changes.

        Raises:
            UserError: it cannot be written.
        """
        self._require(index)
        with self._lock:
            work = self.works[index]
            before = work.history.copy(), work.status, work.is_held_out
            try:
                yield work
                now = work.history.state
                if work.status == "untouched" and not (now.is_empty and not now.objects):
                    work.status = "in work"
                if now.objects is not before[0].state.objects:
                    self.kept.write(index)
                self.kept.write_session()
            except BaseException as error:
                work.history, work.status, work.is_held_out = before
                if isinstance(error, OSError):
                    raise UserError(
                        f"nothing was changed, for {self.out} cannot be written: {error.strerror}"
                    ) from error
                raise

    def _require(self, index: int) -> int:
        if not 0 <= index < len(self.works):
            raise UserError(f"there is no image {index}: there are {len(self.works)}")
        return index

    def _require_name(self, name: str) -> str:
        name = " ".join(name.split())
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise UserError(
                f"a class is named by up to {_LONGEST_NAME} characters that can be read"
            )
        return name or self.kept.classes[0]

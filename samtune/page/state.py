"""What is known of one image: the prompt that is being made, the objects that were accepted.

A state never changes; what a person does makes a new one. So undo is going back to the one before, for
clicks, boxes, strokes and accepted objects alike.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.masks import rle_to_mask
from samtune.types import Prompt, Window

Status = Literal["untouched", "in work", "done"]
# Who made the mask of an object: a contestant, or a hand.
By = Literal["base", "tuned", "hand"]
# States that can be gone back to.
_MOST_STATES = 200


@dataclass(frozen=True)
class Click:
    """A click, original frame; `is_inside` where it is on the object."""

    x: float
    y: float
    is_inside: bool = True


@dataclass(frozen=True, eq=False)
class Accepted:
    """An object of an image.

    Attributes:
        number: its value in the label map.
        name: of its class.
        rle: COCO's run lengths of its mask.
        by: who made the mask.
        score: the IoU that was expected of it; `None` of what was made by hand.
    """

    number: int
    name: str
    rle: dict[str, Any]
    by: By
    score: float | None = None

    @cached_property
    def mask(self) -> PlacedMask:
        return PlacedMask.of(rle_to_mask(self.rle))


@dataclass(frozen=True, eq=False)
class State:
    """One moment of an image.

    Attributes:
        clicks, box: of the prompt that is being made, original frame; the box is inclusive xyxy.
        hand: a mask that was mended by hand, which goes before what the model says; `None` without.
        replaces: number of the object that the next accepted mask takes the place of; 0 is none.
        objects: that were accepted, by number.
        suggested: objects that nobody has clicked on, to be accepted or rejected.
    """

    clicks: tuple[Click, ...] = ()
    box: tuple[float, float, float, float] | None = None
    hand: PlacedMask | None = None
    replaces: int = 0
    objects: tuple[Accepted, ...] = ()
    suggested: tuple[Accepted, ...] = ()

    @property
    def prompt(self) -> Prompt | None:
        """Original frame; `None` where nothing is asked."""
        if not self.clicks and self.box is None:
            return None
        points = np.array([(click.x, click.y) for click in self.clicks], np.float32)
        labels = np.array([int(click.is_inside) for click in self.clicks], np.int64)
        box = None if self.box is None else np.array(self.box, np.float32)
        return Prompt(points, labels, box) if self.clicks else Prompt(box_xyxy=box)

    @property
    def is_empty(self) -> bool:
        """Whether no object is being made."""
        return self.prompt is None and self.hand is None

    def cleared(self) -> "State":
        """Without the prompt."""
        return State(objects=self.objects, suggested=self.suggested)

    def clicked(self, click: Click) -> "State":
        return replace(self, clicks=(*self.clicks, click), hand=None)

    def boxed(self, box_xyxy: Iterable[float]) -> "State":
        """With a box, which takes the place of one that was there."""
        x0, y0, x1, y1 = box_xyxy
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        return replace(self, box=box, hand=None)

    def mended(self, mask: PlacedMask) -> "State":
        return replace(self, hand=mask)

    def editing(self, number: int) -> "State":
        """With the mask of an object taken up again, to be mended or prompted anew.

        Raises:
            UserError: there is no such object.
        """
        return replace(self.cleared(), hand=self.object(number).mask, replaces=number)

    def accepted(self, made: Accepted) -> "State":
        """With one more object, or another mask of the one of its number; the prompt is done."""
        others = [each for each in self.objects if each.number != made.number]
        return replace(self.cleared(), objects=_sorted([*others, made]))

    def suggesting(self, suggested: Iterable[Accepted]) -> "State":
        """With other suggestions."""
        return replace(self, suggested=tuple(suggested))

    def those_suggested(self, numbers: Collection[int]) -> list[Accepted]:
        return [each for each in self.suggested if each.number in numbers]

    def taking(self, numbers: Collection[int], new: Iterable[int]) -> "State":
        """With some suggestions as objects, which have other numbers from then on."""
        taken = self.those_suggested(numbers)
        made = [replace(each, number=own) for each, own in zip(taken, new, strict=True)]
        return replace(self.dropping(numbers), objects=_sorted([*self.objects, *made]))

    def dropping(self, numbers: Collection[int]) -> "State":
        """Without some suggestions."""
        return self.suggesting(each for each in self.suggested if each.number not in numbers)

    def without(self, number: int) -> "State":
        """Raises UserError: there is no such object."""
        gone = self.object(number)
        kept = tuple(each for each in self.objects if each is not gone)
        return replace(self.cleared() if self.replaces == number else self, objects=kept)

    def named(self, number: int, name: str) -> "State":
        """With another class of an object.

        Raises:
            UserError: there is no such object.
        """
        changed = replace(self.object(number), name=name)
        kept = [each for each in self.objects if each.number != number]
        return replace(self, objects=_sorted([*kept, changed]))

    def object(self, number: int) -> Accepted:
        """Raises UserError: there is no such object."""
        found = next((each for each in self.objects if each.number == number), None)
        if found is None:
            raise UserError(f"there is no object {number} in this image: it may have been deleted")
        return found


def _sorted(objects: Iterable[Accepted]) -> tuple[Accepted, ...]:
    return tuple(sorted(objects, key=lambda each: each.number))


@dataclass
class History:
    """The states of one image, with those that were undone.

    Attributes:
        state: now.
        number: counts all changes, undo and redo too: an answer carries that of its question.
        objects_number: the one at which objects or suggestions changed last.
    """

    state: State = field(default_factory=State)
    number: int = 0
    objects_number: int = 0
    _before: list[State] = field(default_factory=list)
    _after: list[State] = field(default_factory=list)

    def change(self, state: State) -> None:
        self._before = [*self._before[-_MOST_STATES:], self.state]
        self._after.clear()
        self._go(state)

    def undo(self) -> bool:
        """Go back; whether there was something to go back to."""
        if self._before:
            self._after.append(self.state)
            self._go(self._before.pop())
            return True
        return False

    def redo(self) -> bool:
        """Take back the last undo; whether there was one."""
        if self._after:
            self._before.append(self.state)
            self._go(self._after.pop())
            return True
        return False

    def copy(self) -> "History":
        """The same, which stays as it is when this one changes."""
        return replace(self, _before=list(self._before), _after=list(self._after))

    @property
    def can_undo(self) -> bool:
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        return bool(self._after)

    def _go(self, state: State) -> None:
        self.number += 1
        now = self.state
        if state.objects is not now.objects or state.suggested is not now.suggested:
            self.objects_number = self.number
        self.state = state


@dataclass(frozen=True)
class Side:
    """What an image with objects is for.

    Attributes:
        is_held_out: it is for testing, and never trained on.
        part: of it that is used, pixels; `None` is all. One without pixels is not used at all.
    """

    is_held_out: bool
    part: Window | None = None

    @property
    def is_used(self) -> bool:
        return self.part is None or self.part.height * self.part.width > 0


@dataclass(eq=False)
class Work:
    """What is known of one image of a session.

    Attributes:
        image_id: in the source.
        history: its states.
        status: how far it is.
        side: what it is for; `None` while it has no objects.
        doubt: of the model about it, 0 to 1; `None` while nobody has looked.
        prelabelled: what was labelled before; `None` while that was not read.
    """

    image_id: str
    history: History = field(default_factory=History)
    status: Status = "untouched"
    side: Side | None = None
    doubt: float | None = None
    prelabelled: tuple[Accepted, ...] | None = None

    def copy(self) -> "Work":
        """The same, which stays as it is when this one changes."""
        return replace(self, history=self.history.copy())

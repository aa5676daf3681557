"""The objects of a session's images: named, removed, suggested ones taken or dropped; no network."""

from collections.abc import Collection
from functools import partial

from samtune.errors import UserError
from samtune.inference.outputs import cutout
from samtune.page.changes import Change
from samtune.page.prompting import Prompting
from samtune.page.state import State, Status
from samtune.types import ImageArray, MaskArray


class Labelling(Prompting):
    """Images that are gone through, with their objects and how far each image is; see `Prompting`."""

    def edit(self, index: int, number: int) -> int:
        """Take an object up again: what is accepted next takes its place."""
        return self._changes.change(index, lambda state: state.editing(number))

    def delete(self, index: int, number: int) -> int:
        """Remove an object."""
        return self._changes.change(index, lambda state: state.without(number))

    def delete_everywhere(self, number: int) -> None:
        """Remove an object of a volume from all its slices.

        Raises:
            UserError: there is no such object, or these are no slices of a volume.
        """
        if not (slices := self.slices_of(number)):
            raise UserError(f"there is no object {number} on slices of a volume")
        self._changes.change_all(dict.fromkeys(slices, partial(State.without, number=number)))

    def slices_of(self, number: int) -> list[int]:
        """The slices that an object of a volume is on; none of other images."""
        places = range(len(self.works)) if self.is_stack else ()
        return [place for place in places if number in self._numbers(place)]

    def name(self, index: int, number: int, name: str) -> int:
        """Give an object another class; in a volume on all its slices."""
        name = self.kept.class_name(name)
        named = partial(State.named, number=number, name=name)
        self._changes.change_all(dict.fromkeys({index, *self.slices_of(number)}, named))
        return self.works[index].history.number

    def _numbers(self, index: int) -> set[int]:
        return {each.number for each in self.works[index].history.state.objects}

    def add_class(self, name: str) -> None:
        """Add a class that objects may be given."""
        name = self.kept.class_name(name)
        with self._changes.lock:
            self.kept.know_classes([name])
            self.kept.write_session()

    def take(self, index: int, numbers: Collection[int]) -> int:
        """Accept suggestions."""
        return self._changes.change(index, self._taking(index, numbers))

    def drop(self, index: int, numbers: Collection[int]) -> int:
        """Reject suggestions."""
        return self._changes.change(index, partial(State.dropping, numbers=numbers))

    def take_everywhere(self, number: int) -> None:
        """Accept an object that was carried through a volume, on all its slices.

        Raises:
            UserError: there is no such suggestion, or these are no slices of a volume.
        """
        slices = self._require_suggested(number)
        self._changes.change_all({each: self._taking(each, [number]) for each in slices})

    def drop_everywhere(self, number: int) -> None:
        """Reject an object that was carried through a volume, on all its slices; see above."""
        dropping = partial(State.dropping, numbers=[number])
        self._changes.change_all(dict.fromkeys(self._require_suggested(number), dropping))

    def _taking(self, index: int, numbers: Collection[int]) -> Change:
        def take(state: State) -> State:
            new = self._numbering.taken(index, state.those_suggested(numbers))
            return state.taking(numbers, new)

        return take

    def suggested_on(self, number: int) -> list[int]:
        """The slices that an object of a volume is suggested on; none of other images."""
        states = [work.history.state for work in self.works] if self.is_stack else []
        return [place for place, each in enumerate(states) if each.those_suggested([number])]

    def _require_suggested(self, number: int) -> list[int]:
        if not (slices := self.suggested_on(number)):
            raise UserError(f"no object {number} is suggested on slices of a volume")
        return slices

    def set_status(self, index: int, status: Status) -> None:
        """Say how far an image is."""
        with self._changes.changing([index]):
            self.works[index].status = status
            self.kept.write([index])

    def hold_out(self, index: int, is_held_out: bool) -> None:
        """Say whether an image, with what belongs to it, is for testing: then it is never trained on.

        Raises:
            UserError: some of it was trained on already.
        """
        tied = self.kept.tied_to(self._changes.require(index))
        names, trained_on = (self.works[place].image_id for place in tied), self.kept.trained_on
        if is_held_out and (known := next((name for name in names if name in trained_on), "")):
            raise UserError(f"{known} was trained on already: hold out an image that was not")
        with self._changes.changing(tied):
            self.kept.hold_out(tied, is_held_out)

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

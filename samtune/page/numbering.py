"""Numbers of objects: each image has its own, but a volume has one of all its slices.

There an object has the same number on every slice: it is its label in the whole volume.
"""

from collections.abc import Sequence

from samtune.inference.volumes.carrying import Rle
from samtune.inference.volumes.linking import link_slices
from samtune.page.state import Accepted, Work


class Numbering:
    """Gives numbers, none of them twice.

    Args:
        works: what is known of each image.
        is_stack: whether they are the slices of one volume, in their order.
    """

    def __init__(self, works: Sequence[Work], is_stack: bool) -> None:
        self._works, self._is_stack = works, is_stack
        self._last = 0

    def free(self, index: int) -> int:
        """A number that no object of an image has, nor of its volume."""
        if not self._is_stack:
            return 1 + max(self._of_objects(index), default=0)
        states = [work.history.state for work in self._works]
        used = (each.number for state in states for each in (*state.objects, *state.suggested))
        self._last = 1 + max(self._last, max(used, default=0))
        return self._last

    def of(self, index: int, made: Sequence[Accepted]) -> list[int]:
        """Numbers of new objects of an image.

        In a volume an object that goes on on a neighbouring slice keeps its number, by the rule by
        which `samtune segment-volume` links the masks of slices.
        """
        if not self._is_stack:
            first = self.free(index)
            return list(range(first, first + len(made)))
        numbers: dict[int, int] = {}
        for name in dict.fromkeys(each.name for each in made):
            places = [place for place, each in enumerate(made) if each.name == name]
            own = self._of_class(index, name, [made[place].rle for place in places])
            numbers |= dict(zip(places, own, strict=True))
        return [numbers[place] for place in range(len(made))]

    def _of_class(self, index: int, name: str, rles: Sequence[Rle]) -> list[int]:
        own = self._of_objects(index)
        beside = [
            each
            for other in (index - 1, index + 1) if 0 <= other < len(self._works)
            for each in self._works[other].history.state.objects
            if each.name == name and each.number not in own
        ]  # fmt: skip
        numbers: list[int] = []
        *_, linked = link_slices([[each.rle for each in beside], rles])
        for place, _ in linked:
            known = beside[place - 1].number if place <= len(beside) else 0
            numbers.append(known if known and known not in numbers else self.free(index))
        return numbers

    def taken(self, index: int, suggested: Sequence[Accepted]) -> list[int]:
        """Numbers of suggestions that are accepted: those of a volume have theirs already."""
        if not self._is_stack:
            return self.of(index, suggested)
        own = self._of_objects(index)
        return [self.free(index) if each.number in own else each.number for each in suggested]

    def _of_objects(self, index: int) -> set[int]:
        return {each.number for each in self._works[index].history.state.objects}

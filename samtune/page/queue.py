"""In which order images are gone through: a person's work is worth most where the model is in doubt."""

from collections.abc import Mapping, Sequence

from samtune.page.state import Status, Work


class Queue:
    """The images of a session in order.

    Args:
        works: what is known of each.
        review: images that were found doubtful before, with how far they are to be trusted (0 to 1).
        is_stack: they are slices, and stay in their order.
    """

    def __init__(
        self, works: Sequence[Work], review: Mapping[str, float], is_stack: bool = False
    ) -> None:
        self._works, self._review, self._is_stack = works, dict(review), is_stack

    def order(self) -> list[int]:
        """All images: those of the review first, then by doubt, then as they lie."""
        if self._is_stack:
            return list(range(len(self._works)))

        def rank(index: int) -> tuple[float, float, int]:
            work = self._works[index]
            trust, doubt = self._review.get(work.image_id), work.doubt
            return 2.0 if trust is None else trust, 0.0 if doubt is None else -doubt, index

        return sorted(range(len(self._works)), key=rank)

    def open_from(self, index: int) -> list[int]:
        """Images that are not done, with this one before all."""
        others = [each for each in self.order() if self._works[each].status != "done"]
        return [index, *(each for each in others if each != index)]

    def progress(self) -> dict[Status, int]:
        """Images by status."""
        counts: dict[Status, int] = {"untouched": 0, "in work": 0, "done": 0}
        for work in self._works:
            counts[work.status] += 1
        return counts

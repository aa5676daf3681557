"""What a person will need soon, made while nobody asks: embeddings, then how doubtful each image is."""

from collections.abc import Callable, Sequence

from samtune.errors import UserError
from samtune.page.questions import Questions
from samtune.page.queue import Queue
from samtune.page.state import Work
from samtune.types import Sample

# Images that are encoded ahead of the present one.
_AHEAD = 2


class Ahead:
    """Works ahead, a piece at a time.

    Args:
        works: what is known of each image; doubts are put there.
        queue: in which order they are gone through.
        sample: reads an image.
        questions: to the network.
    """

    def __init__(
        self, works: Sequence[Work], queue: Queue, sample: Callable[[int], Sample],
        questions: Questions,
    ) -> None:  # fmt: skip
        self._works, self._queue, self._sample, self._questions = works, queue, sample, questions
        self._unreadable: set[int] = set()

    def work(self, current: int, with_doubts: bool) -> bool:
        """Do one piece; whether there was anything to do.

        The present image and those after it are encoded, then images are looked at for their doubt.
        """
        waiting = self._queue.open_from(current)
        after = [each for each in waiting if each not in self._unreadable]
        if any(self._make(index, is_doubt=False) for index in after[: _AHEAD + 1]):
            return True
        if not with_doubts:
            return False
        unknown = (each for each in after if self._works[each].doubt is None)
        return any(self._make(index, is_doubt=True) for index in unknown)

    def _make(self, index: int, is_doubt: bool) -> bool:
        try:
            image = self._sample(index).image
            with self._questions.turns.taken(is_urgent=False):
                answering = self._questions.answering
                answering.set_strength(1.0)
                if not is_doubt:
                    return answering.encode(index, image)
                self._works[index].doubt = answering.doubt(index, image)
        except UserError:  # whoever opens it is told
            self._unreadable.add(index)
        return True

"""The objects of a report that are shown: the largest gains and losses, kept as they come."""

import heapq
from dataclasses import dataclass, field
from itertools import count

from samtune.drawing import BASE as BASE_COLOUR
from samtune.drawing import TRUTH as TRUTH_COLOUR
from samtune.drawing import TUNED as TUNED_COLOUR
from samtune.drawing import comparison
from samtune.evaluation.compare import Answer, Row
from samtune.evaluation.contestants import BASE, TUNED
from samtune.types import ImageArray


@dataclass(order=True)
class Picture:
    """One object of the gallery; `rank` is what it is kept by."""

    rank: float
    number: int
    row: Row = field(compare=False)
    image: ImageArray = field(compare=False)


class Gallery:
    """Keeps the `size` largest gains and the `size` largest losses among all answers.

    Where a base is evaluated alone, its best and its worst objects.
    """

    def __init__(self, size: int = 8, side: int = 160) -> None:
        self.size, self.side = size, side
        self._gains: list[Picture] = []
        self._losses: list[Picture] = []
        self._numbers = count()

    def add(self, answer: Answer) -> None:
        """Consider one answer; it is drawn only if it is kept."""
        change = difference(answer.row)
        for heap, rank in ((self._gains, change), (self._losses, -change)):
            if len(heap) < self.size or rank > heap[0].rank:
                picture = Picture(rank, next(self._numbers), answer.row, self._draw(answer))
                (heapq.heappushpop if len(heap) == self.size else heapq.heappush)(heap, picture)

    def _draw(self, answer: Answer) -> ImageArray:
        colours = {BASE: BASE_COLOUR, TUNED: TUNED_COLOUR}
        masks = [(answer.truth, TRUTH_COLOUR)]
        masks += [(mask, colours[name]) for name, mask in answer.masks.items()]
        return comparison(answer.sample.image, answer.prompt, masks, self.side)

    @property
    def gains(self) -> list[Picture]:
        """Largest first; only objects that did gain."""
        return [p for p in sorted(self._gains, reverse=True) if p.rank > 0]

    @property
    def losses(self) -> list[Picture]:
        """Largest first; only objects that did lose (of a base alone: the lowest scores)."""
        is_compared = any(TUNED in picture.row.scores for picture in self._losses)
        return [p for p in sorted(self._losses, reverse=True) if p.rank > 0 or not is_compared]


def difference(row: Row) -> float:
    """IoU gained by tuning; the base's IoU where it was evaluated alone."""
    if TUNED in row.scores:
        return row.scores[TUNED].iou - row.scores[BASE].iou
    return row.scores[BASE].iou

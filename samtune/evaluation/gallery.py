"""The objects of a report that are shown: the largest gains and losses, kept as they come."""

from dataclasses import dataclass

from samtune.drawing import BASE as BASE_COLOUR
from samtune.drawing import TRUTH as TRUTH_COLOUR
from samtune.drawing import TUNED as TUNED_COLOUR
from samtune.drawing import comparison
from samtune.evaluation.compare import Answer, Row
from samtune.evaluation.contestants import BASE, TUNED
from samtune.types import ImageArray


@dataclass(frozen=True)
class Picture:
    """One object of the gallery; `rank` is what it is kept by."""

    rank: float
    row: Row
    image: ImageArray


class Gallery:
    """Keeps the `size` largest gains and the `size` largest losses, each object once.

    Where a base is evaluated alone, its best and its worst objects.
    """

    def __init__(self, size: int = 8, side: int = 160) -> None:
        self.size, self.side = size, side
        self._gains: list[Picture] = []
        self._losses: list[Picture] = []

    def add(self, answer: Answer) -> None:
        """Consider one answer; it is drawn only if it is kept."""
        change = difference(answer.row)
        self._gains = self._considered(self._gains, change, answer)
        self._losses = self._considered(self._losses, -change, answer)

    def _considered(self, kept: list[Picture], rank: float, answer: Answer) -> list[Picture]:
        """`kept`, largest first, with the answer in its place if it has one there."""
        same = [picture for picture in kept if picture.row.key == answer.row.key]
        rival = same[0] if same else kept[-1] if len(kept) == self.size else None
        if rival is not None and rank <= rival.rank:
            return kept
        others = [picture for picture in kept if picture is not rival]
        drawn = Picture(rank, answer.row, self._draw(answer))
        return sorted([*others, drawn], key=lambda picture: -picture.rank)

    def _draw(self, answer: Answer) -> ImageArray:
        colours = {BASE: BASE_COLOUR, TUNED: TUNED_COLOUR}
        masks = [(answer.truth, TRUTH_COLOUR)]
        masks += [(mask, colours[name]) for name, mask in answer.masks.items()]
        return comparison(answer.sample.image, answer.prompt, masks, self.side)

    @property
    def gains(self) -> list[Picture]:
        """Largest first; only objects that did gain."""
        return [picture for picture in self._gains if picture.rank > 0]

    @property
    def losses(self) -> list[Picture]:
        """Largest first; only objects that did lose (of a base alone: the lowest scores)."""
        is_compared = any(TUNED in picture.row.scores for picture in self._losses)
        return [p for p in self._losses if p.rank > 0 or not is_compared]


def difference(row: Row) -> float:
    """IoU gained by tuning; the base's IoU where it was evaluated alone."""
    if TUNED in row.scores:
        return row.scores[TUNED].iou - row.scores[BASE].iou
    return row.scores[BASE].iou

"""The objects of a report that are shown: the largest gains and losses, and others by chance."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from samtune.drawing import BASE as BASE_COLOUR
from samtune.drawing import TRUTH as TRUTH_COLOUR
from samtune.drawing import TUNED as TUNED_COLOUR
from samtune.drawing import comparison
from samtune.evaluation.compare import Answer
from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.rows import Row
from samtune.prompts.seeding import object_rng
from samtune.types import ImageArray

LOST_COLOUR = (213, 94, 0)


@dataclass(frozen=True)
class Picture:
    """One object of the gallery; `rank` is what it is kept by."""

    rank: float
    row: Row
    webp: bytes

    @property
    def image(self) -> ImageArray:
        """(side, panels, 3), as it was drawn but for what WebP took from it."""
        return np.asarray(Image.open(io.BytesIO(self.webp)).convert("RGB"))

    @property
    def data_uri(self) -> str:
        return "data:image/webp;base64," + base64.b64encode(self.webp).decode("ascii")


class Gallery:
    """Keeps a third each of the largest gains, the largest losses, and objects drawn by lot.

    Each object is there once among the gains, once among the losses. Where a base is evaluated
    alone, its best and its worst objects stand for gains and losses.

    Args:
        size: pictures at most.
        side: of each panel, pixels.
    """

    def __init__(self, size: int = 120, side: int = 128) -> None:
        self.size, self.side = size, side
        self._gains: list[Picture] = []
        self._losses: list[Picture] = []
        self._drawn: list[Picture] = []

    def add(self, answer: Answer) -> None:
        """Consider one answer; it is drawn only if it is kept."""
        row, third = answer.row, self.size // 3
        change = difference(row)
        lot = object_rng("gallery", row.key.image_id, row.key.object_id).random()
        pictures: list[bytes] = []  # of this answer, drawn once at most
        self._gains = self._considered(self._gains, third, change, answer, pictures)
        self._losses = self._considered(self._losses, third, -change, answer, pictures)
        rest = self.size - 2 * third
        self._drawn = self._considered(self._drawn, rest, float(lot), answer, pictures)

    def _considered(
        self, kept: list[Picture], size: int, rank: float, answer: Answer, pictures: list[bytes]
    ) -> list[Picture]:
        """`kept`, largest first, with the answer in its place if it has one there."""
        if not size or (len(kept) == size and rank <= kept[-1].rank):
            return kept
        same = [picture for picture in kept if picture.row.key == answer.row.key]
        rival = same[0] if same else kept[-1] if len(kept) == size else None
        if rival is not None and rank <= rival.rank:
            return kept
        if not pictures:
            pictures.append(self._draw(answer))
        others = [picture for picture in kept if picture is not rival]
        found = Picture(rank, answer.row, pictures[0])
        return sorted([*others, found], key=lambda picture: -picture.rank)

    def _draw(self, answer: Answer) -> bytes:
        colours = {BASE: BASE_COLOUR, TUNED: TUNED_COLOUR}
        masks = [(answer.truth, TRUTH_COLOUR)]
        masks += [(mask, colours[name]) for name, mask in answer.masks.items()]
        changes = []
        if TUNED in answer.masks:
            base, tuned = (answer.masks[name] == answer.truth for name in (BASE, TUNED))
            changes = [(tuned & ~base, TUNED_COLOUR), (base & ~tuned, LOST_COLOUR)]
        picture = comparison(answer.sample.image, answer.prompt, masks, self.side, changes)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "WEBP", quality=80)
        return buffer.getvalue()

    @property
    def gains(self) -> list[Picture]:
        """Largest first; only objects that did gain."""
        return [picture for picture in self._gains if picture.rank > 0]

    @property
    def losses(self) -> list[Picture]:
        """Largest first; only objects that did lose (of a base alone: the lowest scores)."""
        is_compared = any(TUNED in picture.row.scores for picture in self._losses)
        return [picture for picture in self._losses if picture.rank > 0 or not is_compared]

    @property
    def pictures(self) -> list[Picture]:
        """All that is kept, each row once."""
        found = {
            (p.row.protocol, p.row.key, p.row.repeat): p
            for p in (*self._gains, *self._losses, *self._drawn)
        }
        return list(found.values())


def difference(row: Row) -> float:
    """Tuned minus base IoU; of a base alone, its IoU."""
    base = row.scores[BASE].iou
    return row.scores[TUNED].iou - base if TUNED in row.scores else base

"""The objects of a report that are shown: the largest gains and losses, and others drawn by lot."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from samtune.drawing import BASE as BASE_COLOUR
from samtune.drawing import TRUTH as TRUTH_COLOUR
from samtune.drawing import TUNED as TUNED_COLOUR
from samtune.drawing import comparison
from samtune.evaluation.asking import Answer
from samtune.evaluation.contestants import BASE, TUNED
from samtune.evaluation.rows import Row
from samtune.prompts.seeding import object_rng
from samtune.types import ImageArray, ObjectKey

LOST_COLOUR = (213, 94, 0)


@dataclass(frozen=True)
class Picture:
    """One object of the gallery; `rank` is what it is kept by."""

    rank: float
    row: Row
    webp: bytes

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width, from the header alone."""
        with Image.open(io.BytesIO(self.webp)) as image:
            return image.height, image.width

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

    def __init__(self, size: int = 120, side: int = 160) -> None:
        self.size, self.side = size, side
        third = size // 3
        self._gains, self._losses = _Best(third), _Best(third)
        self._drawn = _Best(size - 2 * third)

    def add(self, answer: Answer) -> None:
        """Consider one answer; it is drawn only if it is kept."""
        row = answer.row
        change = difference(row)
        lot = float(
            object_rng("gallery", row.protocol, row.key.image_id, row.key.object_id).random()
        )
        ranked = [(self._gains, change), (self._losses, -change), (self._drawn, lot)]
        wanted = [(best, rank) for best, rank in ranked if best.wants(row.key, rank)]
        if wanted:
            webp = self._draw(answer)
            for best, rank in wanted:
                best.add(Picture(rank, row, webp))

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
        return [picture for picture in self._gains.pictures if picture.rank > 0]

    @property
    def losses(self) -> list[Picture]:
        """Largest first; only objects that did lose (of a base alone: the lowest scores)."""
        lost = self._losses.pictures
        is_compared = any(TUNED in picture.row.scores for picture in lost)
        return [picture for picture in lost if picture.rank > 0 or not is_compared]

    @property
    def pictures(self) -> list[Picture]:
        """All that is kept, each row once."""
        everything = self._gains.pictures + self._losses.pictures + self._drawn.pictures
        rows = {(p.row.protocol, p.row.key, p.row.repeat): p for p in everything}
        return list(rows.values())

    @property
    def groups(self) -> dict[str, list[Picture]]:
        """All that is kept by the heading it stands under, each row once; empty ones are left out."""
        pictures = self.pictures
        if not any(TUNED in picture.row.scores for picture in pictures):
            worst_first = sorted(pictures, key=lambda picture: difference(picture.row))
            return {"Lowest IoU first": worst_first} if pictures else {}
        gains, losses = self.gains, self.losses
        shown = {id(picture.row) for picture in gains + losses}
        others = [picture for picture in pictures if id(picture.row) not in shown]
        groups = {
            "Largest gains": gains, "Largest losses": losses, "Others, at random": others,
        }  # fmt: skip
        return {name: its for name, its in groups.items() if its}


class _Best:
    """The `size` pictures of highest rank, one of each object.

    It holds up to a quarter more until it is asked, so that keeping many takes no time.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: dict[ObjectKey, Picture] = {}
        self._floor = -np.inf

    def wants(self, key: ObjectKey, rank: float) -> bool:
        rival = self._kept.get(key)
        return self.size > 0 and rank > (self._floor if rival is None else rival.rank)

    def add(self, picture: Picture) -> None:
        self._kept[picture.row.key] = picture
        if len(self._kept) > self.size + self.size // 4:
            kept = self.pictures
            self._kept = {picture.row.key: picture for picture in kept}
            self._floor = kept[-1].rank

    @property
    def pictures(self) -> list[Picture]:
        """Highest rank first; of equal ones the earlier."""
        return sorted(self._kept.values(), key=lambda picture: -picture.rank)[: self.size]


def difference(row: Row) -> float:
    """Tuned minus base IoU; of a base alone, its IoU."""
    base = row.scores[BASE].iou
    return row.scores[TUNED].iou - base if TUNED in row.scores else base

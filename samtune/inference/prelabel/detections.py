"""What a detector found: boxes or points with a class and a score, and what is wrong with them.

Coordinates are those of detectors and annotation tools: (0, 0) is the outer corner of the top-left
pixel, a box ends behind its last pixel (x1 = x0 + width). A bad row is no error: it is kept with its
reason.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samtune.types import Prompt

Numbers = tuple[float, ...]


class RowError(ValueError):
    """Why a detection cannot be used: a reason that many may share, and what was found."""

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, str(detail)[:200]


@dataclass(frozen=True)
class Rejected:
    """A detection that was not used.

    Attributes:
        where: its place in the file.
        image: as the file names it.
        reason, detail: see `RowError`.
    """

    where: str
    image: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Detection:
    """One object that was detected.

    Attributes:
        number: its id, unique within the file.
        where: its place in the file, for messages.
        image: as the file names it.
        category: id of its class.
        score: of the detector, if it gave one.
        box: x0, y0, x1, y1 (outer edges).
        points: x, y of pixels of the object, where there is no box.
        is_share: coordinates are shares of width and height.
    """

    number: int
    where: str
    image: str
    category: int
    score: float | None
    box: Numbers | None
    points: tuple[Numbers, ...] = ()
    is_share: bool = False

    def to_prompt(self, hw: tuple[int, int]) -> tuple[Prompt, bool]:
        """The prompt for it in an image of size `hw`, and whether its box was cut to the image.

        Raises:
            RowError: it lies outside the image.
        """
        height, width = hw
        ratio = np.array([width, height], np.float64) if self.is_share else np.ones(2)
        if self.box is None:
            points = np.asarray(self.points, np.float64) * ratio
            if (points < -0.5).any() or (points > np.array([width, height])).any():
                raise RowError("outside the image", f"{_told(points)} of {width}x{height} pixels")
            return Prompt(points.astype(np.float32), np.ones(len(points), np.int64)), False
        corners = np.asarray(self.box, np.float64).reshape(2, 2) * ratio
        inside = np.clip(corners, 0, [width, height])
        if (inside[1] <= inside[0]).any():
            raise RowError("outside the image", f"{_told(corners)} of {width}x{height} pixels")
        is_cut = bool(np.abs(inside - corners).max() >= 1)  # rounding is no news
        inside[1] = np.maximum(inside[1] - 1, inside[0])  # inclusive, as prompts are
        return Prompt(box_xyxy=inside.reshape(4).astype(np.float32)), is_cut


def _told(coordinates: Iterable[Any]) -> str:
    return ",".join(f"{value:g}" for value in np.ravel(np.asarray(coordinates)))


@dataclass
class Detections:
    """All that a file says.

    Attributes:
        rows: detections that can be used as far as the file tells.
        rejected: the others.
        categories: `id` and `name`, and what else the file says of each.
        image_ids: of the file's own, by image name.
        image_hws: height and width that the file says its images have.
        num_below: detections left out for their low score.
    """

    rows: list[Detection] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(default_factory=list)
    image_ids: dict[str, int] = field(default_factory=dict)
    image_hws: dict[str, tuple[int, int]] = field(default_factory=dict)
    num_below: int = 0

    @property
    def num_read(self) -> int:
        return len(self.rows) + len(self.rejected) + self.num_below

    def reject(self, where: str, image: str, error: RowError) -> None:
        self.rejected.append(Rejected(where, image, error.reason, error.detail))

    def keep(self, row: Detection, min_score: float) -> None:
        """Keep a detection, unless its score is lower than wanted."""
        if row.score is not None and row.score < min_score:
            self.num_below += 1
        else:
            self.rows.append(row)


def finite_numbers(values: Any, lengths: tuple[int, ...], what: str) -> Numbers:
    """Plain numbers of what a file holds.

    Raises:
        RowError: they are no numbers, not finite, or of another length.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"{what} is no list of numbers", values) from None
    if len(numbers) not in lengths:
        raise RowError(f"{what} has another length", values)
    if not all(math.isfinite(number) for number in numbers):
        raise RowError("not finite", values)
    return numbers


def box_of_size(x: float, y: float, width: float, height: float) -> Numbers:
    """x0, y0, x1, y1 of a corner (or centre already moved to it) and a size.

    Raises:
        RowError: it has no area.
    """
    return box_of_corners(x, y, x + width, y + height)


def box_of_corners(x0: float, y0: float, x1: float, y1: float) -> Numbers:
    """x0, y0, x1, y1.

    Raises:
        RowError: it has no area.
    """
    if not all(map(math.isfinite, (x1 - x0, y1 - y0))):
        raise RowError("not finite", _told((x0, y0, x1, y1)))
    if x1 <= x0 or y1 <= y0:
        raise RowError("no area", _told((x0, y0, x1, y1)))
    return x0, y0, x1, y1


def score_of(value: Any) -> float | None:
    """A detector's score; `None` where there is none.

    Raises:
        RowError: it is no number.
    """
    return None if value in (None, "") else finite_numbers([value], (1,), "the score")[0]

"""A queue for review: which pre-labels are doubtful, and why; the most doubtful first."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from samtune.escaping import csv_text
from samtune.inference.prelabel.labelling import Prelabel
from samtune.models.calibration import Calibration, Threshold

# Below these a reason is given: the masks are of different things, this one is not what the box is
# around, or of a mask that was right so much is gone that its IoU is no longer 0.8.
LEAST_AGREEMENT, LEAST_BOX_IOU, LEAST_KEPT = 0.5, 0.5, 0.8
# Of masks named with less, more than one in five is something else
LEAST_CLASS = 0.8
ACCEPT, REVIEW = "accept", "review"


@dataclass(frozen=True)
class ReviewRow:
    """One object in the queue.

    Attributes:
        decision: `accept` or `review`.
        score: predicted IoU, calibrated where the model has a calibration; of the mask as the model
            gave it, before anything was cut from it.
        trust: score times `certainty`, the root of `box_iou`, and `class_score`, where they are, by
            which the queue is sorted. A detector's box is wrong by itself, too: all of its fit would
            put right masks first.
        area: of the mask, pixels; 0 where there is none.
        reasons: for doubt, besides the score.
    """

    image: str
    object: int
    category: str
    decision: str
    trust: float
    score: float
    detection_score: float | None
    agreement: float | None
    box_fill: float | None
    box_iou: float | None
    area: int
    class_score: float | None
    certainty: float | None
    reasons: str

    @property
    def order(self) -> tuple[bool, float, str, int]:
        """What the queue is sorted by: no mask first, then the lower trust."""
        return self.area > 0, self.trust, self.image, self.object


def review_row(
    image: str, label: Prelabel, area: int, category: str, accept_from: float | None
) -> ReviewRow:
    """The row of one object; it is accepted from a score on, unless there is a reason for doubt.

    Args:
        image: its name.
        label: the object; its fit is that of the final mask.
        area: of the final mask, pixels.
        category: its name.
        accept_from: the score; `None` accepts nothing.
    """
    reasons = "; ".join(_reasons(label, area))
    is_accepted = accept_from is not None and not reasons and label.score >= accept_from
    fit = None if label.box_iou is None else math.sqrt(label.box_iou)
    parts = (label.score, label.certainty, fit, label.class_score)
    trust = math.prod(part for part in parts if part is not None)
    return ReviewRow(
        image, label.number, category, ACCEPT if is_accepted else REVIEW, trust, label.score,
        label.detection_score, label.agreement, label.box_fill, label.box_iou, area,
        label.class_score, label.certainty, reasons,
    )  # fmt: skip


def _reasons(label: Prelabel, area: int) -> Iterable[str]:
    whole = label.mask.area
    if not area:
        yield "wholly under others" if whole else "no mask"
    if not label.has_object:
        yield "no object found"
    if area and label.agreement is not None and label.agreement < LEAST_AGREEMENT:
        yield "masks disagree"
    if area and label.class_score is not None and label.class_score < LEAST_CLASS:
        yield "class is not sure"
    if area and label.box_iou is not None and label.box_iou < LEAST_BOX_IOU:
        yield "does not fit its box"
    if 0 < area < LEAST_KEPT * whole:
        yield "partly under others"


def choose_threshold(calibration: Calibration | None, iou: float, share: float) -> Threshold | None:
    """The threshold for that IoU and share, if one was fitted."""
    thresholds = () if calibration is None else calibration.thresholds
    found = (each for each in thresholds if (each.iou, each.share) == (iou, share))
    return next(found, None)


def review_csv(rows: Sequence[ReviewRow]) -> str:
    """A table of the rows in their order, numbers with six digits.

    Names that a spreadsheet would take for a formula have a `'` before them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(ReviewRow)]
    writer.writerow(["rank", *names])
    for rank, row in enumerate(rows, start=1):
        writer.writerow([rank, *(_cell(getattr(row, name)) for name in names)])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return csv_text(value)
    return f"{value:.6f}" if isinstance(value, float) else "" if value is None else value

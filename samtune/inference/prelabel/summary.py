"""What `samtune prelabel` says of its work, in the terminal, on the page and in the COCO file."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from samtune.inference.prelabel.detections import Detections, Rejected
from samtune.inference.prelabel.labelling import ImagePrelabels
from samtune.inference.prelabel.review import ACCEPT, ReviewRow
from samtune.models.calibration import Calibration, Threshold
from samtune.wording import counted

HINT_OF_HEAD = (
    "fit calibrates the scores of a head, where its validation images hold enough objects"
)
HINT = "samtune calibrate RUN makes the scores of a tuned model mean what they say"


class Summary:
    """Counts while files are written.

    Args:
        found: the detections.
        calibration: of the model.
        threshold: from which masks are accepted.
        failed: images that could not be read.
        hint: how scores come to mean what they say.
    """

    def __init__(
        self, found: Detections, calibration: Calibration | None, threshold: Threshold | None,
        failed: Sequence[dict[str, str]], hint: str = HINT,
    ) -> None:  # fmt: skip
        self.found, self.calibration, self.threshold = found, calibration, threshold
        self.failed, self.hint = failed, hint
        self.rejected: list[Rejected] = list(found.rejected)
        self.accept_from = None if threshold is None else threshold.score
        self.num_older_cutouts = 0
        self._num_images = self._num_cut = self._num_empty = 0
        self._decisions: Counter[str] = Counter()

    def add(self, image: ImagePrelabels) -> None:
        """Count one image."""
        self._num_images += 1
        self._num_cut += image.num_cut
        self.rejected += image.rejected

    def count(self, rows: Sequence[ReviewRow]) -> None:
        """Count the queue."""
        self._decisions = Counter(row.decision for row in rows)
        self._num_empty = sum(not row.area for row in rows)

    @property
    def about(self) -> dict[str, Any]:
        """What the scores of the COCO file mean."""
        return {"score": self._score_told(), "accept_from": self.accept_from}

    def _score_told(self) -> str:
        if self.calibration is None:
            return "predicted IoU, not calibrated"
        its = self.calibration
        return (
            f"predicted IoU, calibrated on {counted(its.num_masks, 'mask')} of the split "
            f"'{its.split}'"
        )

    @property
    def headline(self) -> str:
        """In a sentence or two."""
        total, accepted = self._decisions.total(), self._decisions[ACCEPT]
        told = (
            f"{counted(total - self._num_empty, 'object')} in {counted(self._num_images, 'image')}."
        )
        if self.threshold is None:
            return f"{told} All are to be reviewed, since the scores are not calibrated."
        if self.accept_from is None:
            its = self.threshold
            return (
                f"{told} All are to be reviewed, since no score is high enough: in calibration even of "
                f"the masks rated best fewer than {its.share:.0%} had an IoU of {its.iou:.2f} (a lower "
                "--accept asks for less)."
            )
        return (
            f"{told} {accepted:,} score {self.accept_from:.3f} or more without a reason for doubt and "
            f"are marked accept (of all masks with such a score {self.threshold.share:.0%} had an IoU "
            f"of {self.threshold.iou:.2f} or more in calibration), {total - accepted:,} are to be "
            "reviewed."
        )

    @property
    def notes(self) -> list[str]:
        """What else is to be known, worst first."""
        notes = [f"cannot be used: {each['image']}: {each['reason']}" for each in self.failed[:5]]
        if len(self.failed) > 5:
            notes.append(
                f"and {counted(len(self.failed) - 5, 'more image')} (rejected.json has all)"
            )
        if self.rejected:
            reasons = Counter(each.reason for each in self.rejected).most_common()
            told = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
            notes.append(f"detections rejected: {told} (rejected.json)")
        if self._num_empty:
            notes.append(f"{self._num_empty:,} without a mask: in review.csv, not in the COCO file")
        if self._num_cut:
            notes.append(
                f"{counted(self._num_cut, 'box', 'boxes')} reached over the edge of the "
                "image and were cut"
            )
        if self.num_older_cutouts:
            notes.append(
                f"{counted(self.num_older_cutouts, 'older file stays', 'older files stay')} "
                "among the cut-outs"
            )
        if self.found.num_below:
            notes.append(f"{counted(self.found.num_below, 'detection')} left out by --min_score")
        if self.calibration is None:
            notes.append(self.hint)
        return notes

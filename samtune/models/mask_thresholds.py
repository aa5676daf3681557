"""Thresholds of automatic masks that suit a tuned model: what `samtune thresholds` found.

They lie beside the tuned weights as `thresholds.json`; `AutomaticMaskGenerator` takes them where
it is given none.
"""

from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.files import write_json
from samtune.parsing import read_json

THRESHOLDS_FILE = "thresholds.json"
THRESHOLDS_FORMAT = 1


@dataclass(frozen=True)
class MaskThresholds:
    """Which automatic masks stay; by default what segment_anything takes.

    Attributes:
        pred_iou_thresh: masks stay with a predicted IoU above it.
        stability_score_thresh: and with a stability score from it up.
        box_nms_thresh: of two boxes with a larger IoU the one of the better score stays.
    """

    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    box_nms_thresh: float = 0.7


@dataclass(frozen=True)
class FittedThresholds:
    """Thresholds with their origin.

    Attributes:
        thresholds: that were chosen.
        points_per_side: of the grid that they were chosen with.
        provenance: versions, data and figures of the choice.
    """

    thresholds: MaskThresholds
    points_per_side: int
    provenance: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Write it beside the tuned weights in `folder`."""
        write_json(folder / THRESHOLDS_FILE, {"format": THRESHOLDS_FORMAT, **asdict(self)})
        return folder / THRESHOLDS_FILE


def load_thresholds(folder: Path) -> FittedThresholds | None:
    """The thresholds beside tuned weights; `None` if there are none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / THRESHOLDS_FILE
    if not path.exists():
        return None
    content = read_json(path)
    try:
        if content["format"] > THRESHOLDS_FORMAT:
            raise UserError(f"{path} was written by a newer samtune: upgrade this one")
        values = {name: float(value) for name, value in content["thresholds"].items()}
        side = int(content["points_per_side"])
        if not all(isfinite(value) for value in values.values()) or side < 1:
            raise ValueError("a number makes no sense")
        return FittedThresholds(MaskThresholds(**values), side, dict(content["provenance"]))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged ({error}): run samtune thresholds again") from error

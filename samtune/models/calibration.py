"""Predicted IoU that can be taken at its word: a map from what the IoU head says to what came out.

It is fitted on validation images (`samtune calibrate`), lies beside the tuned weights as
`calibration.json`, and is used wherever a score meets a person: predictor, files of predictions. That
of an instance head's scores is fitted at the end of its training, and lies among its settings.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samtune.errors import UserError
from samtune.files import write_json
from samtune.parsing import read_json

CALIBRATION_FILE = "calibration.json"
CALIBRATION_FORMAT = 1


@dataclass(frozen=True)
class Threshold:
    """Masks scored `score` or more: at least `share` of them have an IoU of `iou` or more.

    Attributes:
        iou, share: what is wanted.
        score: calibrated; `None` where no score is high enough for that.
        coverage: share of all masks that pass.
    """

    iou: float
    share: float
    score: float | None
    coverage: float


@dataclass(frozen=True)
class Calibration:
    """A piecewise linear map that keeps the order of scores; constant outside its knots (which
    reach far beyond the scores that it was fitted on).

    Attributes:
        raw, calibrated: coordinates of the knots, both increasing.
        method: `isotonic` or `temperature`.
        num_masks: that it was fitted on.
        split: of the data that they are from.
        thresholds: for review queues, measured on the same masks.
    """

    raw: tuple[float, ...]
    calibrated: tuple[float, ...]
    method: str
    num_masks: int
    split: str = "val"
    thresholds: tuple[Threshold, ...] = ()

    def __call__(self, scores: Tensor) -> Tensor:
        """Calibrate scores of any shape."""
        values = self.of_array(scores.detach().double().cpu().numpy())
        return torch.as_tensor(values, dtype=scores.dtype, device=scores.device)

    def of_array(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.interp(scores, self.raw, self.calibrated))

    def save(self, folder: Path) -> Path:
        """Write it beside the tuned weights in `folder`."""
        write_json(folder / CALIBRATION_FILE, {"format": CALIBRATION_FORMAT, **asdict(self)})
        return folder / CALIBRATION_FILE


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration beside tuned weights; `None` if there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return None
    content = read_json(path)
    try:
        if content["format"] > CALIBRATION_FORMAT:
            raise UserError(f"{path} was written by a newer samtune: upgrade this one")
        return calibration_from(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged ({error}): run samtune calibrate again") from error


def calibration_from(content: Any) -> Calibration:
    """A calibration as JSON holds it.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is none.
    """
    return Calibration(
        _knots(content["raw"]), _knots(content["calibrated"]), str(content["method"]),
        int(content["num_masks"]), str(content["split"]),
        tuple(Threshold(**each) for each in content["thresholds"]),
    )  # fmt: skip


def _knots(values: Sequence[Any]) -> tuple[float, ...]:
    knots = tuple(float(value) for value in values)
    if len(knots) < 2 or not all(np.isfinite(knots)) or any(np.diff(knots) <= 0):
        raise ValueError("its knots do not increase")
    return knots

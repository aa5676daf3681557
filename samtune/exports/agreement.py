"""How alike two forms of a model answer on images with truth: what int8, or a tool's ways, cost."""

from dataclasses import dataclass
from statistics import mean

import numpy as np

from samtune.data.drawn.source import DrawnPictures
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.exports.exported import ExportSettings
from samtune.exports.onnx_session import Answering
from samtune.masks import mask_to_box
from samtune.prompts.sampling import centre_point
from samtune.types import MaskArray, Prompt, Sample
from samtune.wording import counted, signed


@dataclass(frozen=True)
class Agreement:
    """Means over prompts.

    Attributes:
        same: IoU of one's masks with the other's.
        one, other: IoU with the truth.
        num_prompts, num_images: that were asked.
        data: on what.
    """

    same: float
    one: float
    other: float
    num_prompts: int
    num_images: int
    data: str

    def sentence(self, one: str, other: str) -> str:
        return (
            f"{counted(self.num_prompts, 'prompt')} (boxes and points) on "
            f"{counted(self.num_images, 'image')} of {self.data}: mIoU "
            f"{self.same:.3f} of {other} with {one}; with the truth {self.one:.3f} for {one}, "
            f"{self.other:.3f} for {other} ({signed(self.other - self.one)})"
        )


def compare_masks(one: Answering, other: Answering, settings: ExportSettings) -> Agreement:
    """Ask both for the objects of some images, each with its box and with its centre point.

    Raises:
        UserError: the images have no objects.
    """
    source: Source = settings.source or DrawnPictures("val", num_pictures=settings.max_images)
    rows: list[tuple[float, float, float]] = []
    count = source.num_of_first(settings.max_images)
    for index in range(count):
        sample = source.read(index)
        for each in (one, other):
            each.set_image(sample.image)
        for truth, prompt in _asked(sample, settings.min_area):
            first, second = one.mask(prompt), other.mask(prompt)
            rows.append((_iou(first, second), _iou(first, truth), _iou(second, truth)))
    if not rows:
        raise UserError("there are no objects to compare on: choose other data, or --max_images")
    data = "the validation split" if settings.source else "drawn pictures"
    same, first_iou, second_iou = (mean(column) for column in zip(*rows, strict=True))
    return Agreement(same, first_iou, second_iou, len(rows), count, data)


def _asked(sample: Sample, min_area: int) -> list[tuple[MaskArray, Prompt]]:
    asked = []
    for layer in sample.labels:
        for number in np.unique(layer[layer > 0]):
            mask = layer == number
            if mask.sum() >= min_area:
                point = np.array([centre_point(mask)], np.float32)
                asked.append((mask, Prompt(box_xyxy=mask_to_box(mask))))
                asked.append((mask, Prompt(point, np.ones(1, np.int64))))
    return asked


def _iou(one: MaskArray, other: MaskArray) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0

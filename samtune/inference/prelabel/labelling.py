"""Masks for the detections of one image, and what tells how far each may be wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from samtune.geometry import valid_cells
from samtune.inference.ask import Answer
from samtune.inference.certainty import certainty
from samtune.inference.prelabel.detections import Detection, Rejected, RowError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.inference.views import ImageViews, Viewed, ask_in_views
from samtune.masks import box_area, box_ious, mask_to_rle, rle_to_mask
from samtune.models.backend import Sam
from samtune.types import (
    FloatArray,
    ImageArray,
    Prompt,
)

Prompted = tuple[Detection, Prompt]


@dataclass(frozen=True)
class Prelabel:
    """One object with its mask.

    Attributes:
        number, category, detection_score: of the detection; what the model found by itself has none.
        score: predicted IoU, calibrated where the model has a calibration.
        rle: of the part of the image that the mask covers.
        corner: row and column of that part.
        box: of the prompt, inclusive; empty for points.
        points: of the prompt.
        agreement: mean IoU of the mask with the two others that the model offered; `None` where it
            offered one. Of what the model found by itself: IoU with what SAM makes of its box.
        box_fill: area of the mask as a share of the prompt's box; `None` without one.
        box_iou: IoU of the mask's own box with the prompt's; `None` without one.
        has_object: whether the model finds an object there at all (families that tell).
        class_score: how likely its class is, where the model named it.
        certainty: of the mask, see `certainty`; `None` where the model does not tell.
    """

    number: int
    category: int
    detection_score: float | None
    score: float
    rle: dict[str, Any]
    corner: list[int]
    box: list[float]
    points: list[list[float]]
    agreement: float | None
    box_fill: float | None
    box_iou: float | None
    has_object: bool
    class_score: float | None = None
    certainty: float | None = None

    @property
    def mask(self) -> PlacedMask:
        top, left = self.corner
        return PlacedMask(top, left, rle_to_mask(self.rle))

    def fitted_to(self, mask: PlacedMask) -> "Prelabel":
        """The same object with `box_fill` and `box_iou` of what was left of its mask."""
        if not self.box:
            return self
        fill, fit = _fit(mask, np.asarray(self.box, np.float32))
        return replace(self, box_fill=fill, box_iou=fit)

    @property
    def prompt(self) -> Prompt:
        """Original frame."""
        points = np.asarray(self.points, np.float32).reshape(-1, 2)
        if self.box:
            return Prompt(box_xyxy=np.asarray(self.box, np.float32))
        return Prompt(points, np.ones(len(points), np.int64))


@dataclass(frozen=True)
class ImagePrelabels:
    """What was made of one image.

    Attributes:
        hw: height and width.
        objects: in the order of the detections.
        rejected: detections that do not fit the image.
        num_cut: boxes that reached over its edge and were cut.
        names: of the classes that the model told, which categories number from 1.
    """

    hw: tuple[int, int]
    objects: list[Prelabel]
    rejected: list[Rejected]
    num_cut: int
    names: list[str] = field(default_factory=list)


@torch.no_grad()
def prelabel(
    sam: Sam, image: ImageArray, detections: list[Detection], tile: int = 0, with_focus: bool = True
) -> ImagePrelabels:
    """Segment what was detected in an image, each object in the view that fits it.

    Args:
        sam: in evaluation mode.
        image: (H, W, 3) as `read_image` gives it, with the settings of the model.
        detections: of this image.
        tile: side of the windows in which objects are looked at, pixels; 0 is the whole image.
        with_focus: small objects are looked at in a window around them.
    """
    views = ImageViews(image, sam, tile, with_focus)
    hw = views.hw
    fitting: list[Prompted] = []
    rejected, num_cut = [], 0
    for detection in detections:
        try:
            prompt, is_cut = detection.to_prompt(hw)
        except RowError as error:
            rejected.append(Rejected(detection.where, detection.image, error.reason, error.detail))
            continue
        fitting.append((detection, prompt))
        num_cut += is_cut
    objects: dict[int, Prelabel] = {}
    for viewed in ask_in_views(sam, views, [prompt for _, prompt in fitting]):
        for label in _describe_all(viewed, sam, fitting):
            objects[label.number] = label
    ordered = [objects[detection.number] for detection, _ in fitting]
    return ImagePrelabels(hw, ordered, rejected, num_cut)


def _describe_all(viewed: Viewed, sam: Sam, fitting: list[Prompted]) -> Iterator[Prelabel]:
    """Objects of one answer."""
    answer, window = viewed.answer, viewed.window
    agreements, there = _agreements(answer, sam, window.hw), answer.has_object
    each = (own for few in viewed.full_logits(sam) for own in few)
    for n, (place, logits) in enumerate(zip(answer.indices, each, strict=True)):
        part = (logits[0] > sam.mask_threshold).cpu().numpy()
        mask = PlacedMask.of(part, window.y, window.x)
        label = _describe(*fitting[place], mask, float(answer.scores[n]), agreements[n], there[n])
        yield replace(label, certainty=certainty(sam, logits)[0])


def _agreements(answer: Answer, sam: Sam, hw: tuple[int, int]) -> list[float | None]:
    """Mean IoU of the best mask with each other one, at low resolution without the padding."""
    found = answer.candidates
    num_objects, num_masks = found.iou_scores.shape
    if num_masks == 1:
        return [None] * num_objects
    inside = torch.from_numpy(valid_cells(hw, sam.frame.grid(sam.mask_side)))
    is_object = found.low_res_logits > sam.mask_threshold
    masks = (is_object & inside.to(is_object.device)).flatten(2)
    rows = torch.arange(num_objects, device=masks.device)
    own = masks[rows, answer.best][:, None]
    ious = (masks & own).sum(2).float() / (masks | own).sum(2).clamp(min=1)
    others = (ious.sum(1) - ious[rows, answer.best]) / (num_masks - 1)
    return [float(value) for value in others]


def _describe(
    detection: Detection, prompt: Prompt, mask: PlacedMask, score: float,
    agreement: float | None, has_object: bool,
) -> Prelabel:  # fmt: skip
    box = prompt.box_xyxy
    fill, fit = (None, None) if box is None else _fit(mask, box)
    points = [] if prompt.point_coords is None else prompt.point_coords.tolist()
    return Prelabel(
        detection.number, detection.category, detection.score, score,
        mask_to_rle(mask.part), [mask.top, mask.left], [] if box is None else box.tolist(),
        points, agreement, fill, fit, has_object,
    )  # fmt: skip


def _fit(mask: PlacedMask, box: FloatArray) -> tuple[float, float]:
    """`box_fill` and `box_iou`."""
    own = mask.box
    fit = 0.0 if own is None else float(box_ious(box[None], own[None])[0, 0])
    return mask.area / max(1.0, box_area(box)), fit

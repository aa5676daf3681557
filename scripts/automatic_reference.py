"""segment_anything's procedure for automatic masks, step by step: what tests and benchmark hold
`AutomaticMaskGenerator` against.

Every mask is enlarged, then filtered, made run lengths, and only then thinned out. Source of the steps
and their order: segment_anything/automatic_mask_generator.py and utils/amg.py (the copies that its
`MaskData` makes of everything are left out).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samtune.inference.automatic.crops import crop_boxes, layer_grids
from samtune.inference.predictor import SamPredictor
from samtune.masks import mask_to_rle
from samtune.types import ImageArray


@dataclass
class Found:
    """Masks as run lengths, with all that is known of each."""

    rles: list[list[int]]
    ious: Tensor
    stability: Tensor
    boxes: Tensor
    points: Tensor
    crops: Tensor

    def __getitem__(self, kept: Tensor) -> "Found":
        rles = [self.rles[index] for index in kept.tolist()]
        rest = (self.ious, self.stability, self.boxes, self.points, self.crops)
        return Found(rles, *(value[kept] for value in rest))


def join(parts: list[Found]) -> Found:
    names = ("ious", "stability", "boxes", "points", "crops")
    values = (torch.cat([getattr(part, name) for part in parts]) for name in names)
    return Found([rle for part in parts for rle in part.rles], *values)


def generate(
    predictor: SamPredictor, image: ImageArray, points_per_side: int = 32, points_per_batch: int = 64,
    pred_iou_thresh: float = 0.88, stability_score_thresh: float = 0.95, offset: float = 1.0,
    box_nms_thresh: float = 0.7, crop_n_layers: int = 0, crop_nms_thresh: float = 0.7,
    crop_overlap_ratio: float = 512 / 1500, downscale: int = 1, min_mask_region_area: int = 0,
) -> list[dict[str, Any]]:  # fmt: skip
    """The records of segment_anything's generator, masks as COCO's run lengths.

    It takes the predictor's scores, calibrated or not.
    """
    limits = (pred_iou_thresh, stability_score_thresh, offset)
    grids = layer_grids(points_per_side, crop_n_layers, downscale)
    layers = crop_boxes(image.shape[:2], crop_n_layers, crop_overlap_ratio)
    parts = []
    for crops, grid in zip(layers, grids, strict=True):
        for crop in crops:
            x0, y0, x1, y1 = crop
            predictor.set_image(np.ascontiguousarray(image[y0:y1, x0:x1]))
            points = grid * (x1 - x0, y1 - y0)
            batches = [
                one_batch(predictor, points[i : i + points_per_batch], crop, image.shape, limits)
                for i in range(0, len(points), points_per_batch)
            ]
            found = join(batches)
            parts.append(found[nms(found.boxes, found.ious, box_nms_thresh)])
    found = join(parts)
    if crop_n_layers:
        sides = found.crops[:, 2:] - found.crops[:, :2]
        found = found[nms(found.boxes, 1 / sides.prod(1), crop_nms_thresh)]
    if min_mask_region_area and found.rles:
        threshold = max(box_nms_thresh, crop_nms_thresh)
        found = mend(found, image.shape, min_mask_region_area, threshold)
    return [record(found, index, image.shape) for index in range(len(found.rles))]


def one_batch(
    predictor: SamPredictor, points: NDArray[Any], crop: tuple[int, ...], shape: tuple[int, ...],
    limits: tuple[float, float, float],
) -> Found:  # fmt: skip
    iou_thresh, stability_thresh, offset = limits
    hw = (crop[3] - crop[1], crop[2] - crop[0])
    moved = torch.as_tensor(predictor.transform.apply_coords(points, hw), device=predictor.device)
    labels = torch.ones(len(moved), 1, dtype=torch.int, device=predictor.device)
    with_multimask = predictor.model.with_multimask
    masks, ious, _ = predictor.predict_torch(
        moved[:, None], labels, multimask_output=with_multimask, return_logits=True
    )
    asked = torch.as_tensor(points).repeat_interleave(masks.shape[1], 0)
    masks, ious = masks.flatten(0, 1), ious.flatten()
    if iou_thresh > 0:
        kept = ious > iou_thresh
        masks, ious, asked = masks[kept], ious[kept], asked[kept]
    cut = predictor.model.mask_threshold
    inner = (masks > cut + offset).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    outer = (masks > cut - offset).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    stability = inner / outer
    if stability_thresh > 0:
        kept = stability >= stability_thresh
        masks, ious, asked, stability = masks[kept], ious[kept], asked[kept], stability[kept]
    masks = masks > cut
    x0, y0 = crop[:2]
    boxes = boxes_of(masks) + torch.tensor([x0, y0, x0, y0])
    edges = torch.tensor(crop), torch.tensor([0, 0, shape[1], shape[0]])
    near_crop, near_image = (
        torch.isclose(boxes.float(), edge.float(), atol=20.0, rtol=0.0) for edge in edges
    )
    kept = ~(near_crop & ~near_image).any(1)
    masks, ious, asked, stability, boxes = (
        value[kept] for value in (masks, ious, asked, stability, boxes)
    )
    padding = (x0, shape[1] - crop[2], y0, shape[0] - crop[3])
    whole = torch.nn.functional.pad(masks, padding)
    crops = torch.tensor(crop).expand(len(ious), 4)
    return Found(to_rles(whole), ious, stability, boxes, asked + torch.tensor([x0, y0]), crops)


def boxes_of(masks: Tensor) -> Tensor:
    """Inclusive boxes; (0, 0, 0, 0) for an empty mask."""
    height, width = masks.shape[-2:]
    if not len(masks):
        return torch.zeros(0, 4, dtype=torch.int64)
    in_rows, in_columns = masks.any(-1), masks.any(-2)
    rows = in_rows * torch.arange(height)
    columns = in_columns * torch.arange(width)
    bottom, right = rows.max(-1).values, columns.max(-1).values
    top = (rows + height * ~in_rows).min(-1).values
    left = (columns + width * ~in_columns).min(-1).values
    boxes = torch.stack([left, top, right, bottom], -1)
    return boxes * ~((right < left) | (bottom < top))[:, None]


def to_rles(masks: Tensor) -> list[list[int]]:
    """Uncompressed run lengths, column by column."""
    count, height, width = masks.shape
    flat = masks.permute(0, 2, 1).flatten(1)
    changes = (flat[:, 1:] ^ flat[:, :-1]).nonzero()
    rles = []
    for index in range(count):
        ends = changes[changes[:, 0] == index, 1] + 1
        edges = torch.cat([torch.tensor([0]), ends, torch.tensor([height * width])])
        first = [0] if flat[index, 0] else []
        rles.append(first + (edges[1:] - edges[:-1]).tolist())
    return rles


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """torchvision's `nms`: numbers of the boxes that stay, best first."""
    order = scores.sort(descending=True, stable=True).indices
    boxes = boxes.float()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        order = order[~(shared / (areas[best] + areas[order] - shared) > threshold)]
    return torch.tensor(kept, dtype=torch.int64)


def to_mask(runs: list[int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape[1], shape[0]).T


def mend(found: Found, shape: tuple[int, ...], min_area: int, threshold: float) -> Found:
    """Small holes and islands removed, then doubles once more; unchanged masks go first."""
    masks, scores = [], []
    for runs in found.rles:
        mask, had_holes = remove_small(to_mask(runs, shape), min_area, "holes")
        mask, had_islands = remove_small(mask, min_area, "islands")
        masks.append(torch.as_tensor(np.ascontiguousarray(mask)))
        scores.append(float(not (had_holes or had_islands)))
    stacked = torch.stack(masks)
    boxes = boxes_of(stacked)
    kept = nms(boxes, torch.tensor(scores), threshold)
    rles = to_rles(stacked)
    return Found(rles, found.ious, found.stability, boxes, found.points, found.crops)[kept]


def remove_small(
    mask: NDArray[np.bool_], min_area: int, mode: str
) -> tuple[NDArray[np.bool_], bool]:
    inverted = mode == "holes"
    working = (inverted ^ mask).astype(np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(working, connectivity=8)
    sizes = stats[1:, -1]
    small = [number + 1 for number, size in enumerate(sizes) if size < min_area]
    if not small:
        return mask, False
    filled = [0, *small]
    if not inverted:
        filled = [number for number in range(count) if number not in filled]
        filled = filled or [int(np.argmax(sizes)) + 1]
    return np.isin(regions, filled), True


def record(found: Found, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
    x0, y0, x1, y1 = found.boxes[index].tolist()
    left, top, right, bottom = found.crops[index].tolist()
    return {
        "segmentation": mask_to_rle(to_mask(found.rles[index], shape)),
        "area": sum(found.rles[index][1::2]),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "predicted_iou": found.ious[index].item(),
        "point_coords": [found.points[index].tolist()],
        "stability_score": found.stability[index].item(),
        "crop_box": [left, top, right - left, bottom - top],
    }

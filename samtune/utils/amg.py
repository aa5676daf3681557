"""segment_anything/utils/amg.py: the functions that scripts take from there, with their arguments."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samtune.inference.automatic.candidates import mended_mask
from samtune.inference.automatic.crops import crop_boxes, layer_grids, point_grid
from samtune.masks import mask_to_box, mask_to_rle, mask_to_runs, rle_to_mask
from samtune.types import MaskArray

__all__ = [
    "area_from_rle", "batch_iterator", "batched_mask_to_box", "box_xyxy_to_xywh",
    "build_all_layer_point_grids", "build_point_grid", "calculate_stability_score", "coco_encode_rle",
    "generate_crop_boxes", "mask_to_rle_pytorch", "remove_small_regions", "rle_to_mask",
]  # fmt: skip


def batch_iterator(batch_size: int, *args: Any) -> Iterator[list[Any]]:
    """Parts of several equally long sequences, at most `batch_size` long."""
    assert args
    assert all(len(arg) == len(args[0]) for arg in args)
    for start in range(0, len(args[0]), batch_size):
        yield [arg[start : start + batch_size] for arg in args]


def mask_to_rle_pytorch(tensor: Tensor) -> list[dict[str, Any]]:
    """Uncompressed run lengths of (K, H, W) masks."""
    size = [int(side) for side in tensor.shape[-2:]]
    return [{"size": size, "counts": mask_to_runs(mask)} for mask in tensor.bool().cpu().numpy()]


def area_from_rle(rle: dict[str, Any]) -> int:
    """Pixels of an uncompressed run-length encoding."""
    return int(sum(rle["counts"][1::2]))


def coco_encode_rle(uncompressed_rle: dict[str, Any]) -> dict[str, Any]:
    """COCO's compressed form."""
    return mask_to_rle(rle_to_mask(uncompressed_rle))


def calculate_stability_score(
    masks: Tensor, mask_threshold: float, threshold_offset: float
) -> Tensor:
    """IoU of each of (..., H, W) logits cut a little above and a little below the threshold."""
    inner = (masks > mask_threshold + threshold_offset).sum((-1, -2), dtype=torch.int32)
    outer = (masks > mask_threshold - threshold_offset).sum((-1, -2), dtype=torch.int32)
    return inner / outer


def batched_mask_to_box(masks: Tensor) -> Tensor:
    """Inclusive boxes (..., 4) xyxy of (..., H, W) masks; zeros for an empty one."""
    flat = masks.reshape(-1, *masks.shape[-2:]).bool().cpu().numpy()
    boxes = [mask_to_box(mask) for mask in flat]
    found = np.array([np.zeros(4) if box is None else box for box in boxes]).reshape(-1, 4)
    return torch.from_numpy(found).long().reshape(*masks.shape[:-2], 4).to(masks.device)


def box_xyxy_to_xywh(box_xyxy: Tensor) -> Tensor:
    """Corners to corner and size."""
    return torch.cat([box_xyxy[..., :2], box_xyxy[..., 2:] - box_xyxy[..., :2]], -1)


def build_point_grid(n_per_side: int) -> NDArray[np.float64]:
    """Points (N * N, 2) xy of the unit square."""
    return point_grid(n_per_side)


def build_all_layer_point_grids(
    n_per_side: int, n_layers: int, scale_per_layer: int
) -> list[NDArray[np.float64]]:
    """A grid for the image and for each layer of crops."""
    return layer_grids(n_per_side, n_layers, scale_per_layer)


def generate_crop_boxes(
    im_size: tuple[int, ...], n_layers: int, overlap_ratio: float
) -> tuple[list[list[int]], list[int]]:
    """Crops xyxy of an image of (height, width), and the layer of each; the image is the first."""
    layers = crop_boxes((im_size[0], im_size[1]), n_layers, overlap_ratio)
    pairs = [(list(crop), number) for number, crops in enumerate(layers) for crop in crops]
    return [crop for crop, _ in pairs], [number for _, number in pairs]


def remove_small_regions(mask: MaskArray, area_thresh: float, mode: str) -> tuple[MaskArray, bool]:
    """Fill small `holes` of an (H, W) mask, or drop small `islands`; and whether there were any."""
    assert mode in ("holes", "islands")
    return mended_mask(mask, area_thresh, mode == "holes")

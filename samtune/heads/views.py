"""A whole image through a head: overlapping views, their maps blended before anything is decoded.

A view knows least at its edges. So maps are joined with weights that fall towards the edges, and
objects are made once, of the image's own maps: there are no seams to close.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samtune.geometry import logits_to_original, resized_hw
from samtune.heads.head import DenseHead
from samtune.images.preprocess import to_pixel_values
from samtune.types import Features, FloatArray, ImageArray, InputFrame, Window

# Share of a view's side that neighbours have in common; views that are encoded together
OVERLAP = 0.25
_TOGETHER = 4
# The least weight, at the very edge: where there is no other view, it is all there is.
_EDGE = 0.05


def views_of(hw: tuple[int, int], tile: int, overlap: int = -1) -> list[Window]:
    """Windows that cover an image, evenly spread, row by row.

    Args:
        hw: of the image.
        tile: side of a window; 0 is the whole image.
        overlap: of neighbours, at least, pixels; -1 is a quarter of the tile.
    """
    if not tile:
        return [Window(0, 0, *hw)]
    overlap = int(tile * OVERLAP) if overlap < 0 else overlap
    rows, columns = (_spread(length, tile, overlap) for length in hw)
    return [Window(y, x, min(tile, hw[0]), min(tile, hw[1])) for y in rows for x in columns]


def _spread(length: int, side: int, overlap: int) -> list[int]:
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [round(place) for place in np.linspace(0, length - side, count).tolist()]


@torch.no_grad()
def image_maps(
    encode: Callable[[Tensor], Features], head: DenseHead, image: ImageArray, frame: InputFrame,
    device: torch.device, tile: int = -1,
) -> FloatArray:  # fmt: skip
    """Activated maps (maps, H, W) of a whole image.

    Args:
        encode: pixel values (B, 3, S, S) -> features.
        head: whose maps.
        image: (H, W, 3), as the network is to see it.
        frame: of the network's input.
        device: of the network.
        tile: side of the views, pixels; -1 is the head's own.
    """
    hw = (image.shape[0], image.shape[1])
    total, weights = np.zeros((head.num_maps, *hw), np.float32), np.zeros(hw, np.float32)
    windows = views_of(hw, head.tile if tile < 0 else tile)
    for start in range(0, len(windows), _TOGETHER):
        part = windows[start : start + _TOGETHER]
        pixels = torch.stack([to_pixel_values(image[each.slices], frame) for each in part])
        pixels = pixels.to(device)
        maps = head.activate(head(pixels, encode(pixels)))
        _add(total, weights, maps, part, frame)
    total /= weights
    return total


def _add(
    total: FloatArray, weights: FloatArray, maps: Tensor, windows: Sequence[Window],
    frame: InputFrame,
) -> None:  # fmt: skip
    for window, own in zip(windows, maps, strict=True):
        inside = _without_padding(own[None].float(), window.hw, frame)
        full = logits_to_original(inside, window.hw, frame)[0].cpu().numpy()
        weight = _weight(window.hw)
        total[:, *window.slices] += full * weight
        weights[window.slices] += weight


def _without_padding(maps: Tensor, hw: tuple[int, int], frame: InputFrame) -> Tensor:
    """Maps whose padding, where nothing was learned, goes on as the image's last cells do."""
    cell = frame.side / maps.shape[-1]
    rows, columns = (math.ceil(length / cell) for length in resized_hw(hw, frame))
    height, width = maps.shape[-2:]
    padding = (0, width - columns, 0, height - rows)
    return F.pad(maps[..., :rows, :columns], padding, mode="replicate")


def _weight(hw: tuple[int, int]) -> NDArray[np.float32]:
    """1 in the middle, little at the edges."""
    rows, columns = (_ramp(length) for length in hw)
    return np.outer(rows, columns).astype(np.float32)


def _ramp(length: int) -> NDArray[np.float64]:
    places = (np.arange(length) + 0.5) / length
    return np.clip(np.minimum(places, 1 - places) / OVERLAP, _EDGE, 1)

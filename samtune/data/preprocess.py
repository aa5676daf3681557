"""SAM's own preprocessing, exactly: resize the longest side, normalise, pad right and below.

A base model measured with any other preprocessing would make every gain look larger than it is.
Source: segment_anything's utils/transforms.py and modeling/sam.py. Pillow's bilinear filter on
uint8 is what the official code resizes with.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from samtune.geometry import resized_hw
from samtune.types import ImageArray

PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)


def resize_longest(image: ImageArray, side: int) -> ImageArray:
    """Resize an (H, W, 3) uint8 image so that its longest side is `side`."""
    height, width = resized_hw(image.shape[:2], side)
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def to_pixel_values(image: ImageArray, side: int) -> Tensor:
    """(H, W, 3) uint8 RGB -> (3, side, side) float32, as the network takes it."""
    resized = resize_longest(image, side)
    values = torch.zeros(3, side, side)
    normalised = (resized.astype(np.float32) - PIXEL_MEAN) / PIXEL_STD
    values[:, : resized.shape[0], : resized.shape[1]] = torch.from_numpy(
        np.ascontiguousarray(normalised.transpose(2, 0, 1))
    )
    return values


def valid_cells(original_hw: tuple[int, int], side: int) -> Tensor:
    """(side, side) bool: which cells of the padded input hold image."""
    height, width = resized_hw(original_hw, side)
    cells = torch.zeros(side, side, dtype=torch.bool)
    cells[:height, :width] = True
    return cells

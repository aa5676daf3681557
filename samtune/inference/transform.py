"""`InputTransform` and `ResizeLongestSide`: what segment_anything's users reach for beside
`predict_torch`."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samtune.geometry import resized_hw, scale_xy
from samtune.images.preprocess import resize_to_frame
from samtune.types import FloatArray, ImageArray, InputFrame


class InputTransform:
    """Moves images and prompts from the original frame to the input frame.

    Args:
        frame: of the model.
    """

    def __init__(self, frame: InputFrame) -> None:
        self.frame = frame
        self.target_length = frame.side

    def apply_image(self, image: ImageArray) -> ImageArray:
        """Resize an (H, W, 3) uint8 image."""
        values = resize_to_frame(image, self.frame).round().clamp(0, 255)
        return np.ascontiguousarray(values.byte().permute(1, 2, 0).numpy())

    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> FloatArray:
        """Scale (..., 2) xy coordinates of an image of `original_size` (height, width)."""
        original_hw = (int(original_size[0]), int(original_size[1]))
        return scale_xy(coords, original_hw, resized_hw(original_hw, self.frame))

    def apply_boxes(self, boxes: NDArray[Any], original_size: tuple[int, ...]) -> FloatArray:
        """Scale (K, 4) xyxy boxes."""
        return self.apply_coords(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Scale (..., 2) xy coordinates; the result stays on the device of `coords`."""
        old_h, old_w = int(original_size[0]), int(original_size[1])
        new_h, new_w = resized_hw((old_h, old_w), self.frame)
        ratio = torch.tensor([new_w / old_w, new_h / old_h], device=coords.device)
        return coords.to(torch.float) * ratio

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Scale (K, 4) xyxy boxes; the result stays on the device of `boxes`."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)


class ResizeLongestSide(InputTransform):
    """segment_anything's transform, by its own name and argument.

    Args:
        target_length: longest side S of the input frame.
    """

    def __init__(self, target_length: int) -> None:
        super().__init__(InputFrame(target_length))

    @staticmethod
    def get_preprocess_shape(old_h: int, old_w: int, long_side_length: int) -> tuple[int, int]:
        """Size after resizing."""
        return resized_hw((old_h, old_w), InputFrame(long_side_length))

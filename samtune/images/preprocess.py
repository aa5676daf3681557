"""The official preprocessing of each family, exactly: resize, normalise, pad right and below.

A base model measured with any other preprocessing would make every gain look larger than it is.
Sources: segment_anything's utils/transforms.py and modeling/sam.py, which resize uint8 with Pillow's
bilinear filter; sam2's utils/transforms.py, which resizes floats with torchvision's antialiased
bilinear filter, `torch.nn.functional.interpolate` by another name.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from samtune.geometry import resized_hw
from samtune.types import ImageArray, InputFrame


def resize_to_frame(image: ImageArray, frame: InputFrame) -> Tensor:
    """Resize an (H, W, 3) uint8 image to (3, h, w) float32, values 0..255, without the padding."""
    height, width = resized_hw(image.shape[:2], frame)
    if image.shape[:2] != (height, width) and frame.keeps_aspect:
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        image = np.asarray(resized)
    values = torch.from_numpy(np.array(image.transpose(2, 0, 1), np.float32))
    if values.shape[1:] == (height, width):
        return values
    return F.interpolate(values[None], (height, width), mode="bilinear", antialias=True)[0]


def to_pixel_values(image: ImageArray, frame: InputFrame) -> Tensor:
    """(H, W, 3) uint8 RGB -> (3, S, S) float32, as the network takes it."""
    resized = resize_to_frame(image, frame)
    mean, std = torch.tensor(frame.mean), torch.tensor(frame.std)
    values = torch.zeros(3, frame.side, frame.side)
    values[:, : resized.shape[1], : resized.shape[2]] = resized.sub_(mean[:, None, None]).div_(
        std[:, None, None]
    )
    return values

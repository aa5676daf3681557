"""Masks of a grid as a sharpener leaves them, where the model has one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from samtune.geometry import logits_to_original
from samtune.inference.automatic.candidates import Candidate, box_and_bits
from samtune.inference.automatic.crops import CropBox
from samtune.models.backend import Sam
from samtune.types import ImageArray, Prompt, Window


def sharpen(
    sam: Sam, image: ImageArray, crop: CropBox, found: Sequence[Candidate], pixels: int
) -> list[Candidate]:
    """The same candidates without their logits, their masks sharpened; an empty one stays as it was.

    Args:
        sam: that found them.
        image: (H, W, 3), stretched already.
        crop: that all were found in.
        found: with SAM's logits.
        pixels: of masks that are enlarged at once.
    """
    x0, y0, x1, y1 = crop
    window = Window(y0, x0, y1 - y0, x1 - x0)
    size = max(1, pixels // max(window.height * window.width, sam.image_size**2))
    starts = range(0, len(found), size)
    return [
        each for start in starts for each in _some(sam, image, window, found[start : start + size])
    ]


def _some(
    sam: Sam, image: ImageArray, window: Window, found: Sequence[Candidate]
) -> Iterator[Candidate]:
    kept = [each.low_res_logits for each in found if each.low_res_logits is not None]
    low_res = torch.stack(kept).to(sam.device, torch.float32)
    logits = logits_to_original(low_res[:, None], window.hw, sam.frame)[:, 0]
    prompts = [
        Prompt(np.array([each.point_xy], np.float32), np.ones(1, np.int64)) for each in found
    ]
    masks = sam.sharpened(image, window, logits, prompts) > sam.mask_threshold
    for each, mask in zip(found, masks.cpu().numpy(), strict=True):
        plain = replace(each, low_res_logits=None)
        if not mask.any():
            yield plain
            continue
        box, bits = box_and_bits(mask)
        box += (window.x, window.y, window.x, window.y)
        yield replace(plain, box_xyxy=box, bits=bits)

"""The networks as annotation tools call them.

AnyLabeling and X-AnyLabeling hand SAM and SAM-HQ a picture of at most 1024 pixels as it is, and points
in its frame; what follows, down to the input side S, is part of the graphs here, so that models of any
size fit. Beside a box, too, they send the padding point that SAM never saw there: it is dropped. They
take one mask: it is the one that samtune takes and evaluates.

Sources: services/auto_labeling/sam_onnx.py, sam_hq.py and __base__/sam2.py of
https://github.com/CVHub520/X-AnyLabeling and https://github.com/vietanhdev/anylabeling, read in 2026.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samtune.exports.graphs import DecoderGraph, to_original
from samtune.models.backend import Sam
from samtune.types import Features

# Longest side of what the tools send; mask prompts have a quarter of it.
CANVAS = 1024


class PictureEncoder(nn.Module):
    """`input_image` (H, W, 3), values 0..255, RGB -> embeddings, details.

    It is at most 1024 pixels wide and high. It is normalised, padded right and below to 1024 pixels,
    and brought to the input side S by an antialiased bilinear filter, written as products of matrices:
    ONNX's own resizing has other filters.
    """

    rows: Tensor

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam
        sizes = (sam.image_size, CANVAS)
        rows = F.interpolate(torch.eye(CANVAS)[None, None], sizes, mode="bilinear", antialias=True)
        self.register_buffer("rows", rows[0, 0], persistent=False)

    def forward(self, input_image: Tensor) -> tuple[Tensor, ...]:
        values = (input_image.permute(2, 0, 1) - self.sam.pixel_mean) / self.sam.pixel_std
        height, width = values.shape[-2:]
        values = F.pad(values, (0, CANVAS - width, 0, CANVAS - height))
        if self.sam.image_size != CANVAS:
            values = torch.einsum("sh,chw,tw->cst", self.rows, values, self.rows)
        features = self.sam.family.ready(self.sam.encode(values[None]))
        return features.main, *features.details


class ToolDecoder(DecoderGraph):
    """`DecoderGraph` for prompts in the frame of 1024 pixels, answering with one mask."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (main, *details), (points, labels, mask, has_mask, size) = inputs[:-5], inputs[-5:]
        points, labels = _without_padding(points, labels)
        side = self.sam.mask_side
        mask = F.interpolate(mask, (side, side), mode="bilinear", align_corners=False)
        # X-AnyLabeling stacks what SAM-HQ's encoder gives besides the embeddings
        features = Features(main, tuple(detail[0] for detail in details))
        points = points * (self.sam.image_size / CANVAS)
        logits, scores = self.decode(features, points, labels, mask, has_mask)
        logits, scores = choose_one(logits, scores, labels, self.sam.with_multimask)
        return to_original(logits, self.sam.frame, size), scores, logits


class PyramidEncoder(nn.Module):
    """Pixel values (1, 3, S, S) -> details and embeddings, in the order that the tools take."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.sam.family.ready(self.sam.encode(image))
        return *features.details, features.main


class PyramidDecoder(DecoderGraph):
    """SAM 2's, as the tools call it: no image size, logits (1, 1, h, w) first, then scores (1, 1)."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (main, *details), (points, labels, mask, has_mask) = inputs[:-4], inputs[-4:]
        features = Features(main, tuple(details))
        logits, scores = self.decode(features, points, labels, mask, has_mask)
        return choose_one(logits, scores, labels, self.sam.with_multimask)


def _without_padding(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    has_no_box = (labels == 2).sum() == 0
    kept = ((labels[0] >= 0) | has_no_box).nonzero()[:, 0]
    return points.index_select(1, kept), labels.index_select(1, kept)


def choose_one(
    logits: Tensor, scores: Tensor, labels: Tensor, with_multimask: bool
) -> tuple[Tensor, Tensor]:
    """One of four masks: for one point or one box the best of the last three, else the first.

    As `samtune predict` chooses; a model that was tuned for one mask always gives the first.
    """
    if not with_multimask:
        return logits[:, :1], scores[:, :1]
    is_single = ((labels >= 0) & (labels < 3)).sum() == 1
    first = torch.where(is_single, -1000.0, 1000.0)
    best = (scores + first * torch.eye(scores.shape[1])[:1]).argmax(1)
    rows = torch.arange(1)
    return logits[rows, best, None], scores[rows, best, None]

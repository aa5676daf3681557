"""The networks as graphs: what is traced into ONNX files.

The decoder has the interface of segment_anything's `SamOnnxModel` (segment_anything/utils/onnx.py in
https://github.com/facebookresearch/segment-anything): one object at a time, any number of points, a box
as two points with the labels 2 and 3, a padding point (0, 0) with the label -1 where there is no box.
SAM 2 and its relatives had a padding point with a box too in training: here it is part of the graph, and
one more is not to be given. What a family's decoder takes of the image besides its embeddings are
further inputs, by the names that their exporters gave them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samtune.models.backend import Sam
from samtune.types import Features, InputFrame

INPUTS = (
    "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size",
)  # fmt: skip
OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
# SAM-HQ: segment_anything/utils/onnx.py in https://github.com/SysCV/sam-hq; SAM 2:
# samexporter/export_sam2.py in https://github.com/vietanhdev/samexporter
_PYRAMID = ("high_res_feats_0", "high_res_feats_1")
DETAILS = {
    "sam": (), "mobile_sam": (), "sam_hq": ("interm_embeddings",), "sam2": _PYRAMID,
    "sam3": _PYRAMID, "edgetam": _PYRAMID,
}  # fmt: skip


class EncoderGraph(nn.Module):
    """Preprocessed `pixel_values` (1, 3, S, S) -> image embeddings, and details."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        features = self.sam.encode(pixel_values)
        return features.main, *features.details


class DecoderGraph(nn.Module):
    """Embeddings, details and a prompt -> masks in the original frame, scores, low-resolution logits.

    Args:
        sam: a plain network.
        prompt_side: longest side of the frame that prompts are given in; 0 is the input frame S.
            Mask prompts have a quarter of it.
        is_single: only the mask that segment_anything's `select_masks` would choose, instead of all
            four (first the one for several prompts, then the three for an ambiguous one).
    """

    places: Tensor

    def __init__(self, sam: Sam, prompt_side: int = 0, is_single: bool = False) -> None:
        super().__init__()
        self.sam, self.is_single = sam, is_single
        self.prompt_side = prompt_side or sam.image_size
        self.pads_always = sam.frame.keeps_aspect is False
        with torch.no_grad():
            places = sam.core.get_image_wide_positional_embeddings()[0].flatten(1).T.clone()
        self.register_buffer("places", places, persistent=False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs: embeddings, details, then as `INPUTS` names them."""
        (main, *details), (points, labels, mask, has_mask, size) = inputs[:-5], inputs[-5:]
        family = self.sam.family
        features = family.ready(Features(main, tuple(details)))
        sparse = self.embed_points(points, labels)
        dense = self.embed_mask(mask, has_mask)
        tokens, image = family.attend(features, sparse, dense, self.places)
        answers = [family.read_masks(tokens, image, features, three) for three in (False, True)]
        logits = torch.cat([each.low_res_logits for each in answers], 1)
        scores = torch.cat([each.iou_scores for each in answers], 1)
        if self.is_single:
            logits, scores = self._select(logits, scores, points.shape[1])
        return to_original(logits, self.sam.frame, size), scores, logits

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """(1, N, 2) and (1, N) labels -1 to 3 -> (1, N, C) tokens."""
        encoder = self.sam.core.prompt_encoder
        if self.pads_always:
            points = torch.cat([points, points.new_zeros(1, 1, 2)], 1)
            labels = torch.cat([labels, -labels.new_ones(1, 1)], 1)
        side = self.sam.image_size
        coords = (points * (side / self.prompt_side) + 0.5)[:, None]
        places = encoder.shared_embedding(coords, (side, side))[:, 0]
        kinds, nothing = _point_kinds(encoder), encoder.not_a_point_embed.weight
        found = torch.where(labels[..., None] == -1, nothing, places)
        for label, kind in enumerate(kinds):
            found = found + torch.where(labels[..., None] == label, kind, torch.zeros_like(kind))
        return found

    def embed_mask(self, mask: Tensor, has_mask: Tensor) -> Tensor:
        """(1, 1, h, w) logits -> (1, C, h/4, w/4); the sign for none where `has_mask` is 0 or less."""
        encoder, side = self.sam.core.prompt_encoder, self.sam.mask_side
        if self.prompt_side != self.sam.image_size:
            mask = F.interpolate(mask, (side, side), mode="bilinear", align_corners=False)
        nothing = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        return torch.where(has_mask.view(1, 1, 1, 1) > 0, encoder.mask_embed(mask), nothing)

    def _select(self, logits: Tensor, scores: Tensor, num_points: int) -> tuple[Tensor, Tensor]:
        """The first mask for several points (a box is two), else the best of the others.

        As `SamOnnxModel.select_masks` does, which counts the padding point too.
        """
        weights = scores.new_tensor([[1000.0] + [0.0] * (scores.shape[1] - 1)])
        ranked = scores + (num_points - 2.5) * weights
        best = ranked.argmax(1)
        rows = torch.arange(len(logits), device=logits.device)
        return logits[rows, best, None], scores[rows, best, None]


def _point_kinds(encoder: nn.Module) -> list[Tensor]:
    """(1, C) for the labels 0 to 3: outside, inside, first corner, second corner."""
    table = encoder.point_embed
    if isinstance(table, nn.ModuleList):
        return [kind.weight for kind in table]  # type: ignore[misc]
    return list(table.weight[:, None])  # type: ignore[union-attr, arg-type]


def to_original(logits: Tensor, frame: InputFrame, size: Tensor) -> Tensor:
    """(1, M, h, w) logits -> (1, M, H, W) for a `size` (H, W) that is part of the graph.

    In double precision, so that sizes are rounded as `geometry.resized_hw` rounds them.
    """
    if frame.keeps_aspect:
        logits = F.interpolate(
            logits, (frame.side, frame.side), mode="bilinear", align_corners=False
        )
        scale = frame.side / size.double().max()
        resized = torch.floor(size.double() * scale + 0.5).to(torch.int64).clamp(min=1)
        logits = logits[..., : resized[0], : resized[1]]
    original = size.to(torch.int64)
    return F.interpolate(
        logits, (original[0], original[1]), mode="bilinear", align_corners=False
    )  # type: ignore[arg-type]


class PictureGraph(nn.Module):
    """A picture as annotation tools hand it over -> image embeddings, and details.

    `input_image` is (H, W, 3), values 0..255, RGB, within a canvas of `canvas` pixels. It is normalised,
    padded right and below to the canvas, and brought to the input side S by an antialiased bilinear
    filter, written as two products: ONNX's own resizing has other filters.

    Args:
        sam: a plain network that keeps the aspect.
        canvas: longest side that pictures come with.
    """

    rows: Tensor

    def __init__(self, sam: Sam, canvas: int) -> None:
        super().__init__()
        self.sam, self.canvas = sam, canvas
        side = sam.image_size
        unit = torch.eye(canvas)[None, None]
        rows = F.interpolate(unit, (side, canvas), mode="bilinear", antialias=True)[0, 0]
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, input_image: Tensor) -> tuple[Tensor, ...]:
        values = (input_image.permute(2, 0, 1) - self.sam.pixel_mean) / self.sam.pixel_std
        height, width = values.shape[-2:]
        values = F.pad(values, (0, self.canvas - width, 0, self.canvas - height))
        if self.canvas != self.sam.image_size:
            values = self.rows @ values @ self.rows.T
        features = self.sam.encode(values[None])
        return features.main, *features.details

"""The networks as graphs: what is traced into ONNX files.

The decoder has the interface of segment_anything's `SamOnnxModel` (segment_anything/utils/onnx.py in
https://github.com/facebookresearch/segment-anything): one object at a time, any number of points, a box
as two points with the labels 2 and 3, a padding point (0, 0) with the label -1 where there is no box.
SAM 2 and its relatives saw a padding point beside boxes too: for them it is part of the graph, and none
is to be given. What a family's decoder takes of the image besides its embeddings are further inputs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samtune.models.backend import Sam
from samtune.types import Features, InputFrame

PROMPT_INPUTS = ("point_coords", "point_labels", "mask_input", "has_mask_input")
INPUTS = (*PROMPT_INPUTS, "orig_im_size")
OUTPUTS = ("masks", "iou_predictions", "low_res_masks")


def feature_names(sam: Sam) -> tuple[str, ...]:
    """Outputs of the encoder that the decoder takes."""
    return ("image_embeddings", *sam.family.detail_names)


class EncoderGraph(nn.Module):
    """Preprocessed pixel values (1, 3, S, S) -> image embeddings, and details from `Family.ready`."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        features = self.sam.family.ready(self.sam.encode(pixel_values))
        return features.main, *features.details


class HeadGraph(nn.Module):
    """Preprocessed pixel values (1, 3, S, S) -> activated maps (1, maps, S/2, S/2) of a head."""

    def __init__(self, sam: Sam, name: str) -> None:
        super().__init__()
        self.sam = sam
        self.head: Any = sam.heads[name]

    def forward(self, pixel_values: Tensor) -> Tensor:
        maps: Tensor = self.head(pixel_values, self.sam.encode_for_heads(pixel_values))
        activated: Tensor = self.head.activate(maps)
        return activated


class DecoderGraph(nn.Module):
    """Embeddings, details and a prompt -> masks in the original frame, scores, low-resolution logits.

    There are four of each: first that for several prompts, then the three for an ambiguous one.
    """

    places: Tensor

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam
        with torch.no_grad():
            places = sam.core.get_image_wide_positional_embeddings()[0].flatten(1).T.clone()
        self.register_buffer("places", places, persistent=False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs: embeddings, details, then as `INPUTS` names them."""
        (main, *details), prompt, size = inputs[:-5], inputs[-5:-1], inputs[-1]
        logits, scores = self.decode(Features(main, tuple(details)), *prompt)
        return to_original(logits, self.sam.frame, size), scores, logits

    def decode(
        self, features: Features, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (1, 4, h, w) and scores (1, 4) of a prompt in the input frame."""
        family = self.sam.family
        sparse, dense = self.embed_points(points, labels), self.embed_mask(mask, has_mask)
        tokens, image = family.attend(features, sparse, dense, self.places)
        answers = [family.read_masks(tokens, image, features, three) for three in (False, True)]
        logits = torch.cat([each.low_res_logits for each in answers], 1)
        return logits, torch.cat([each.iou_scores for each in answers], 1)

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """(1, N, 2) and (1, N) labels -1 to 3 -> (1, N, C) tokens."""
        encoder, side = self.sam.core.prompt_encoder, self.sam.image_size
        if not self.sam.frame.keeps_aspect:
            points = torch.cat([points, points.new_zeros(1, 1, 2)], 1)
            labels = torch.cat([labels, -labels.new_ones(1, 1)], 1)
        places = encoder.shared_embedding((points + 0.5)[:, None], (side, side))[:, 0]
        found = torch.where(labels[..., None] == -1, encoder.not_a_point_embed.weight, places)
        for label, kind in enumerate(_point_kinds(encoder)):
            found = found + torch.where(labels[..., None] == label, kind, torch.zeros_like(kind))
        return found

    def embed_mask(self, mask: Tensor, has_mask: Tensor) -> Tensor:
        """(1, 1, h, w) logits -> (1, C, h/4, w/4).

        The sign for none where `has_mask` is 0, or -1 as labelme sends it.
        """
        encoder = self.sam.core.prompt_encoder
        nothing = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        given = encoder.mask_embed(self.sam.family.fed_back(mask))
        return torch.where(has_mask.view(1, 1, 1, 1) > 0, given, nothing)


def _point_kinds(encoder: nn.Module) -> list[Tensor]:
    """(1, C) for the labels 0 to 3: outside, inside, first corner, second corner."""
    table = encoder.point_embed
    if isinstance(table, nn.ModuleList):
        return [kind.weight for kind in table]  # type: ignore[misc]
    return list(table.weight[:, None])  # type: ignore[union-attr, index]


def to_original(logits: Tensor, frame: InputFrame, size: Tensor) -> Tensor:
    """(1, M, h, w) logits -> (1, M, H, W), as `geometry.logits_to_original`.

    The `size` (H, W) is a tensor, part of the graph; in double precision it is rounded as
    `geometry.resized_hw` rounds it.
    """
    if frame.keeps_aspect:
        side = (frame.side, frame.side)
        logits = F.interpolate(logits, side, mode="bilinear", align_corners=False)
        scale = frame.side / size.double().max()
        resized = torch.floor(size.double() * scale + 0.5).to(torch.int64).clamp(min=1)
        logits = logits[..., : resized[0], : resized[1]]
    height, width = size.to(torch.int64)
    return F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)

"""The original SAM (arXiv 2304.02643): ViT-B, -L, -H, MedSAM, nano."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from samtune.models.attention import use_exact_attention
from samtune.models.decoder import mask_vectors, to_pixels, upscale_once
from samtune.models.families.base import Family
from samtune.types import Features, InputFrame, MaskPrediction


def upscale(decoder: Any, image: Tensor) -> Tensor:
    """Image tokens (K, P, C) -> (K, P * 16, C / 8), in the order of `to_pixels`."""
    values = upscale_once(decoder.upscale_conv1, image)
    norm = decoder.upscale_layer_norm
    values = nn.functional.layer_norm(
        values, norm.normalized_shape, norm.weight, norm.bias, norm.eps
    )
    values = decoder.activation(values)
    finest: Tensor = decoder.activation(upscale_once(decoder.upscale_conv2, values))
    return finest.flatten(1, 3)


class SamFamily(Family):
    """`SamModel`."""

    name: ClassVar[str] = "sam"
    model_types: ClassVar[tuple[str, ...]] = ("sam",)
    blocks_path: ClassVar[str] = r"vision_encoder\.layers"
    lora_layers: ClassVar[Mapping[str, str]] = {
        "qkv": r"attn\.qkv",
        "attention": r"attn\.(qkv|proj)",
        "all": r"(attn\.(qkv|proj)|mlp\.(lin1|lin2))",
    }

    def prepare(self) -> None:
        use_exact_attention(self.core.vision_encoder)

    @property
    def frame(self) -> InputFrame:
        return InputFrame(int(self.core.config.vision_config.image_size))

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return list(self.core.vision_encoder.layers)

    def begin(self, pixel_values: Tensor) -> Features:
        encoder = self.core.vision_encoder
        hidden = encoder.patch_embed(pixel_values)
        return Features(hidden if encoder.pos_embed is None else hidden + encoder.pos_embed)

    def finish(self, features: Features) -> Features:
        return Features(self.core.vision_encoder.neck(features.main), features.details)

    def own_tokens(self) -> Tensor:
        decoder = self.core.mask_decoder
        return torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])

    def read_masks(
        self, tokens: Tensor, image: Tensor, features: Features, multimask: bool
    ) -> MaskPrediction:
        decoder = self.core.mask_decoder
        wanted = slice(1, None) if multimask else slice(0, 1)
        mask_tokens = tokens[:, 1 : 1 + decoder.num_mask_tokens]
        vectors = mask_vectors(decoder.output_hypernetworks_mlps, mask_tokens)[:, wanted]
        logits = to_pixels(vectors @ upscale(decoder, image).mT, self.grid)
        return MaskPrediction(logits, decoder.iou_prediction_head(tokens[:, 0])[:, wanted])

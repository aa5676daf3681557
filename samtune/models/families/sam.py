"""The original SAM (arXiv 2304.02643): ViT-B, -L, -H, MedSAM, nano."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from samtune.models.attention import use_exact_attention
from samtune.models.decoder import mask_vectors, to_pixels, upscale_once
from samtune.models.families.base import Family
from samtune.models.official import sam as official
from samtune.models.official.strict import Settings
from samtune.types import Features, InputFrame, MaskPrediction

ENCODER_STD = 0.02
# The authors' nn.LayerNorm default in the mask decoder; transformers writes 1e-6 there. With 1e-5
# the masks are the official code's to 3e-7 instead of 3e-5.
OFFICIAL_DECODER_EPS = 1e-5


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
    network_class: ClassVar[Any] = SamModel
    official: ClassVar[Any] = official
    config_class: ClassVar[Any] = SamConfig
    processor: ClassVar[tuple[str, str]] = ("SamProcessor", "SamImageProcessor")
    tool_type: ClassVar[str] = "segment_anything"
    official_code: ClassVar[tuple[str, str]] = ("segment_anything", "")
    blocks_path: ClassVar[str] = r"vision_encoder\.layers"
    lora_layers: ClassVar[Mapping[str, str]] = {
        "qkv": r"attn\.qkv",
        "attention": r"attn\.(qkv|proj)",
        "all": r"(attn\.(qkv|proj)|mlp\.(lin1|lin2))",
    }

    @classmethod
    def is_official(cls, state: Mapping[str, Tensor]) -> bool:
        others = ("mask_decoder.hf_token.weight", "image_encoder.patch_embed.seq.0.c.weight")
        has_blocks = any(key.startswith("image_encoder.blocks.") for key in state)
        is_sam = has_blocks or official.is_official(state)
        return is_sam and not any(key in state for key in others)

    @classmethod
    def build_config(cls, side: int, settings: Settings) -> Any:
        """With the official decoder eps; transformers' own start of the encoder, 1e-10, is none."""
        return cls.config_class(
            vision_config={
                "image_size": side, "initializer_range": ENCODER_STD, **settings["vision"]
            },
            prompt_encoder_config={"image_size": side, **settings["prompt_encoder"]},
            mask_decoder_config={
                "layer_norm_eps": OFFICIAL_DECODER_EPS, **settings["mask_decoder"]
            },
        )  # fmt: skip

    def set_image_size(self, side: int) -> None:
        """Windowed blocks keep their tables: their window does not change."""
        vision, encoder = self.core.config.vision_config, self.core.vision_encoder
        self.require_multiple(side, vision.patch_size)
        grid = side // vision.patch_size
        if encoder.pos_embed is not None:
            encoder.pos_embed = resize_absolute(encoder.pos_embed, grid)
        for layer in encoder.layers:
            if layer.window_size == 0 and vision.use_rel_pos:
                layer.attn.rel_pos_h = resize_relative(layer.attn.rel_pos_h, grid)
                layer.attn.rel_pos_w = resize_relative(layer.attn.rel_pos_w, grid)
        encoder.image_size = vision.image_size = side
        encoder.patch_embed.image_size = (side, side)
        encoder.patch_embed.num_patches = grid * grid
        self.core.config.prompt_encoder_config.image_embedding_size = grid
        self.resize_prompts(side, grid)

    def prepare(self) -> None:
        use_exact_attention(self.core.vision_encoder)

    @property
    def frame(self) -> InputFrame:
        return InputFrame(int(self.core.config.vision_config.image_size))

    @property
    def blocks(self) -> Sequence[Any]:
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
        logits = to_pixels(vectors @ upscale(decoder, image).transpose(-1, -2), self.grid)
        return MaskPrediction(logits, decoder.iou_prediction_head(tokens[:, 0])[:, wanted])


@torch.no_grad()
def resize_absolute(table: Tensor, grid: int) -> nn.Parameter:
    """(1, g, g, C) -> (1, grid, grid, C)."""
    resized = F.interpolate(
        table.permute(0, 3, 1, 2), (grid, grid), mode="bicubic", align_corners=False
    )
    return nn.Parameter(resized.permute(0, 2, 3, 1).contiguous())


@torch.no_grad()
def resize_relative(table: Tensor, grid: int) -> nn.Parameter:
    """(2g - 1, C) -> (2 grid - 1, C)."""
    resized = F.interpolate(table.T[None], 2 * grid - 1, mode="linear", align_corners=False)
    return nn.Parameter(resized[0].T.contiguous())

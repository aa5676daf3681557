"""SAM 2 and 2.1 (arXiv 2408.00714) for images, and the families that share its decoder.

The decoder sees two finer maps of the image besides its embeddings, and says whether there is an
object at all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import Sam2Config, Sam2Model

from samtune.models.decoder import finer_values, mask_vectors, to_pixels, upscale_once
from samtune.models.families.base import Family
from samtune.models.official import sam2 as official
from samtune.models.official.strict import Settings
from samtune.types import Features, InputFrame, MaskPrediction

# Logits of a mask that goes back as a prompt are at most so large, either way.
_MOST_FED_BACK = 32.0


class PyramidFamily(Family):
    """A decoder with finer maps and an object token.

    The features' details are the maps of (S/4, S/4) and (S/8, S/8), as the encoder's neck makes them:
    what the decoder makes of them is the decoder's, and may be trained.
    """

    processor: ClassVar[tuple[str, str]] = ("Sam2Processor", "Sam2ImageProcessor")
    # as samexporter/export_sam2.py in https://github.com/vietanhdev/samexporter names them
    detail_names: ClassVar[tuple[str, ...]] = ("high_res_feats_0", "high_res_feats_1")

    @property
    def frame(self) -> InputFrame:
        return InputFrame(int(self.core.prompt_encoder.input_image_size), keeps_aspect=False)

    def fed_back(self, logits: Tensor) -> Tensor:
        """Within -32 to 32. Source: sam2/sam2_image_predictor.py, `_predict`."""
        return logits.clamp(-_MOST_FED_BACK, _MOST_FED_BACK)

    def own_tokens(self) -> Tensor:
        decoder = self.core.mask_decoder
        tokens = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
        return torch.cat([token.weight for token in tokens])

    def ready(self, features: Features) -> Features:
        """The finer maps in the decoder's channels and in the order of `upscale_once`."""
        decoder = self.core.mask_decoder
        finest, finer = features.details
        details = (
            finer_values(decoder.conv_s0(finest), 2),
            finer_values(decoder.conv_s1(finer), 1),
        )
        return Features(features.main, details)

    def read_masks(
        self, tokens: Tensor, image: Tensor, features: Features, multimask: bool
    ) -> MaskPrediction:
        decoder = self.core.mask_decoder
        mask_tokens = tokens[:, 2 : 2 + decoder.num_mask_tokens]
        vectors = mask_vectors(decoder.output_hypernetworks_mlps, mask_tokens)
        # this order keeps the gradient of the maps in their own layout, which halves its time
        values = self._upscale(image, features) @ vectors.transpose(-1, -2)
        logits = to_pixels(values.transpose(-1, -2), self.grid)
        scores = decoder.iou_prediction_head(tokens[:, 1])
        found = decoder.pred_obj_score_head(tokens[:, 0])[:, 0]
        if multimask:
            return MaskPrediction(logits[:, 1:], scores[:, 1:], found)
        if decoder.dynamic_multimask_via_stability and not decoder.training:
            return MaskPrediction(*self._stable(logits, scores), found)
        return MaskPrediction(logits[:, :1], scores[:, :1], found)

    def _upscale(self, image: Tensor, features: Features) -> Tensor:
        """Image tokens (K, P, C) -> (K, P * 16, C / 8), with the finer maps added on the way."""
        decoder, (finest, finer) = self.core.mask_decoder, features.details
        norm = decoder.upscale_layer_norm
        values = upscale_once(decoder.upscale_conv1, image) + finer
        values = nn.functional.layer_norm(
            values, norm.normalized_shape, norm.weight, norm.bias, norm.eps
        )
        values = upscale_once(decoder.upscale_conv2, decoder.activation(values)).flatten(2, 3)
        upscaled: Tensor = decoder.activation(values + finest)
        return upscaled.flatten(1, 2)

    def _stable(self, logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The single mask, or the best of the three where that one depends on the threshold.

        Source: sam2's modeling/sam/mask_decoder.py, `_dynamic_multimask_via_stability`.
        """
        decoder = self.core.mask_decoder
        delta = decoder.dynamic_multimask_stability_delta
        inner = (logits[:, 0] > delta).sum((1, 2)).float()
        outer = (logits[:, 0] > -delta).sum((1, 2)).float()
        stability = torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)
        is_stable = stability >= decoder.dynamic_multimask_stability_thresh
        best = torch.where(is_stable, 0, 1 + scores[:, 1:].argmax(1))
        rows = torch.arange(len(best), device=best.device)
        return logits[rows, best, None], scores[rows, best, None]


class Sam2Family(PyramidFamily):
    """`Sam2Model`. Between blocks, the details are what earlier stages ended with."""

    name: ClassVar[str] = "sam2"
    tool_type: ClassVar[str] = "segment_anything_2"
    official_code: ClassVar[tuple[str, str]] = ("sam2", "")
    official_key: ClassVar[str] = "model"
    model_types: ClassVar[tuple[str, ...]] = ("sam2", "sam2_video")
    network_class: ClassVar[Any] = Sam2Model
    official: ClassVar[Any] = official
    blocks_path: ClassVar[str] = r"vision_encoder\.backbone\.blocks"
    lora_layers: ClassVar[Mapping[str, str]] = {
        "qkv": r"attn\.qkv",
        "attention": r"attn\.(qkv|proj)",
        "all": r"(attn\.(qkv|proj)|mlp\.(proj_in|proj_out))",
    }
    # the last block's answers are smaller than the neck's
    with_kept_embeddings: ClassVar[bool] = False

    @classmethod
    def is_official(cls, state: Mapping[str, Tensor]) -> bool:
        return official.is_official(state)

    @classmethod
    def build_config(cls, side: int, settings: Settings) -> Any:
        widths = settings["vision"]["embed_dim_per_stage"]
        sizes = [[side // step, side // step] for step in (4, 8, 16)]
        return Sam2Config(
            vision_config={
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model",
                    "image_size": [side, side],
                    **settings["vision"],
                },
                "backbone_channel_list": list(reversed(widths)),
                "backbone_feature_sizes": sizes,
                "fpn_hidden_size": settings["mask_decoder"].get("hidden_size", 256),
            },
            prompt_encoder_config={"image_size": side, **settings["prompt_encoder"]},
            mask_decoder_config=dict(settings["mask_decoder"]),
        )

    @property
    def blocks(self) -> Sequence[Any]:
        return list(self.core.vision_encoder.backbone.blocks)

    def begin(self, pixel_values: Tensor) -> Features:
        backbone = self.core.vision_encoder.backbone
        hidden = backbone.patch_embed(pixel_values)
        return Features(hidden + backbone._get_pos_embed(hidden.shape[1:3]))

    def advance(self, features: Features, number: int, run: Callable[..., Tensor]) -> Features:
        is_stage_over = number - 1 in self.core.vision_encoder.backbone.stage_ends
        details = features.details + ((features.main,) if is_stage_over else ())
        return Features(run(self.blocks[number], features.main), details)

    def finish(self, features: Features) -> Features:
        maps = pyramid(self.core.vision_encoder.neck, [*features.details, features.main])
        finest, finer, coarse = reversed(maps[-3:])
        sign = self.core.no_memory_embedding.view(1, -1, 1, 1)
        return Features(coarse + sign, (finest, finer))

    def set_image_size(self, side: int) -> None:
        self.require_multiple(side, 8 * 4)
        vision = self.core.config.vision_config
        vision.backbone_config.image_size = [side, side]
        vision.backbone_feature_sizes = [[side // step, side // step] for step in (4, 8, 16)]
        self.core.backbone_feature_sizes = vision.backbone_feature_sizes
        self.resize_prompts(side, side // 16)


def pyramid(neck: Any, stages: list[Tensor]) -> list[Tensor]:
    """Maps (B, C, ., .) of the feature pyramid from what the stages made (B, ., ., C'), coarse first.

    transformers' neck, without the positional encodings that images have no use for.
    """
    maps: list[Tensor] = []
    top = len(stages) - 1
    for level in range(top, -1, -1):
        lateral = neck.convs[top - level](stages[level].permute(0, 3, 1, 2))
        if level in neck.fpn_top_down_levels and level != top:
            above = nn.functional.interpolate(maps[-1].float(), scale_factor=2.0, mode="nearest")
            lateral = lateral + above.to(lateral.dtype)
        maps.append(lateral)
    return maps

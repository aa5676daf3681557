"""SAM-HQ (arXiv 2306.01567): SAM with one more token that reads an early block's finer features."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import SamHQConfig, SamHQModel

from samtune.models.decoder import mask_vectors, to_pixels
from samtune.models.families.sam import SamFamily, upscale
from samtune.models.official.strict import Settings
from samtune.types import Features, MaskPrediction


class SamHQFamily(SamFamily):
    """`SamHQModel`. The features' detail is what the first block with global attention made.

    For an ambiguous prompt there are three masks, as of every family, best first; the authors' code
    gives the first alone. Each has the high-quality mask added, as theirs without `hq_token_only`.
    """

    name: ClassVar[str] = "sam_hq"
    model_types: ClassVar[tuple[str, ...]] = ("sam_hq",)
    network_class: ClassVar[Any] = SamHQModel
    config_class: ClassVar[Any] = SamHQConfig
    processor: ClassVar[tuple[str, str]] = ("SamHQProcessor", "SamImageProcessor")
    # as SAM-HQ's own exporter names it: segment_anything/utils/onnx.py in
    # https://github.com/SysCV/sam-hq
    detail_names: ClassVar[tuple[str, ...]] = ("interm_embeddings",)
    tool_type: ClassVar[str] = "sam_hq"
    official_code: ClassVar[tuple[str, str]] = ("segment_anything", "SAM-HQ")
    transformers_note: ClassVar[str] = (
        "transformers (5.23) reads SAM-HQ's masks off another tensor than its authors' code and "
        "samtune do: its masks differ."
    )

    @classmethod
    def is_official(cls, state: Mapping[str, Tensor]) -> bool:
        return "mask_decoder.hf_token.weight" in state

    @classmethod
    def build_config(cls, side: int, settings: Settings) -> Any:
        width = settings["vision"].get("hidden_size", 768)
        decoder = {"vit_dim": width, **settings["mask_decoder"]}
        return super().build_config(side, {**settings, "mask_decoder": decoder})

    def advance(self, features: Features, number: int, run: Any) -> Features:
        features = super().advance(features, number, run)
        is_global = self.blocks[number].window_size == 0
        if is_global and not features.details:
            return Features(features.main, (features.main,))
        return features

    def finer_maps(self, features: Features) -> tuple[Tensor, ...]:
        """None: its detail is an early block's answer, as coarse as the embeddings."""
        return ()

    def ready(self, features: Features) -> Features:
        """The early block's answer and the embeddings, joined to (B, C / 8, h, w)."""
        decoder = self.core.mask_decoder
        late = _refine(
            decoder, decoder.encoder_conv1, decoder.encoder_norm, decoder.encoder_conv2,
            features.main,
        )  # fmt: skip
        early = _refine(
            decoder, decoder.compress_vit_conv1, decoder.compress_vit_norm,
            decoder.compress_vit_conv2, features.details[0].permute(0, 3, 1, 2),
        )  # fmt: skip
        return Features(features.main, (late + early,))

    def own_tokens(self) -> Tensor:
        return torch.cat([super().own_tokens(), self.core.mask_decoder.hq_token.weight])

    def read_masks(
        self, tokens: Tensor, image: Tensor, features: Features, multimask: bool
    ) -> MaskPrediction:
        """SAM's masks, best first, each with the high-quality mask's logits added."""
        decoder = self.core.mask_decoder
        wanted = slice(1, decoder.num_multimask_outputs + 1) if multimask else slice(0, 1)
        heads = [*decoder.output_hypernetworks_mlps, decoder.hq_mask_mlp]
        vectors = mask_vectors(heads, tokens[:, 1 : 1 + decoder.num_mask_tokens])
        finest = upscale(decoder, image).transpose(-1, -2)
        scores = decoder.iou_prediction_head(tokens[:, 0])[:, wanted]
        logits = to_pixels(vectors[:, wanted] @ finest, self.grid)
        if multimask:
            scores, order = scores.sort(dim=1, descending=True)
            logits = logits[torch.arange(len(logits), device=logits.device)[:, None], order]
        upscaled = to_pixels(finest, self.grid)
        fine = features.details[0] + _refine(
            decoder, decoder.mask_conv1, decoder.mask_norm, decoder.mask_conv2, upscaled
        )
        finer = torch.einsum("kc,kchw->khw", vectors[:, -1], fine)
        return MaskPrediction(logits + finer[:, None], scores)


def _refine(decoder: Any, first: Any, norm: Any, second: Any, values: Tensor) -> Tensor:
    refined: Tensor = second(decoder.activation(norm(first(values))))
    return refined

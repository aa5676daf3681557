"""MobileSAM (arXiv 2306.14289): SAM's prompt encoder and decoder on a TinyViT."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedConfig, SamConfig, SamModel
from transformers.models.sam.configuration_sam import SamMaskDecoderConfig, SamPromptEncoderConfig
from transformers.models.sam.modeling_sam import (
    SamMaskDecoder,
    SamPositionalEmbedding,
    SamPreTrainedModel,
    SamPromptEncoder,
)

from samtune.models.families.sam import OFFICIAL_DECODER_EPS, SamFamily
from samtune.models.official import mobile_sam as official
from samtune.models.official.strict import Settings
from samtune.models.tiny_vit import TinyViT
from samtune.types import Features, InputFrame


class MobileSamVisionConfig(PreTrainedConfig):  # type: ignore[misc]
    """Of the encoder; the defaults are the published network's."""

    model_type = "mobile_sam_vision_model"
    base_config_key = "vision_config"

    image_size: int = 1024
    patch_size: int = 16
    num_channels: int = 3
    widths: list[int] | tuple[int, ...] = (64, 128, 160, 320)
    depths: list[int] | tuple[int, ...] = (2, 2, 6, 2)
    heads: list[int] | tuple[int, ...] = (2, 4, 5, 10)
    windows: list[int] | tuple[int, ...] = (7, 7, 14, 7)
    output_channels: int = 256
    num_pos_feats: int = 128
    initializer_range: float = 0.02

    @property
    def hidden_size(self) -> int:
        """Channels of the last stage, which the neck takes."""
        return int(self.widths[-1])

    @property
    def scale(self) -> float:
        """Of the random positional matrix, before weights are loaded."""
        return 1.0


class MobileSamConfig(SamConfig):  # type: ignore[misc]
    """Of the whole network."""

    model_type = "mobile_sam"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "prompt_encoder_config": SamPromptEncoderConfig,
        "mask_decoder_config": SamMaskDecoderConfig,
        "vision_config": MobileSamVisionConfig,
    }


class MobileSamModel(SamModel):  # type: ignore[misc]
    """SAM with TinyViT in the place of its encoder; saved and loaded as any transformers model."""

    config_class = MobileSamConfig
    _no_split_modules: ClassVar[list[str]] = ["AttentionBlock"]

    def __init__(self, config: MobileSamConfig) -> None:
        # past SamModel's own, which would build a ViT
        SamPreTrainedModel.__init__(self, config)
        self.shared_image_embedding = SamPositionalEmbedding(config.vision_config)
        self.vision_encoder = TinyViT(config.vision_config)
        self.prompt_encoder = SamPromptEncoder(config)
        config.mask_decoder_config._attn_implementation = config._attn_implementation
        self.mask_decoder = SamMaskDecoder(config.mask_decoder_config)
        self.post_init()


class MobileSamFamily(SamFamily):
    """`MobileSamModel`."""

    name: ClassVar[str] = "mobile_sam"
    official_code: ClassVar[tuple[str, str]] = ("mobile_sam", "")
    model_types: ClassVar[tuple[str, ...]] = ("mobile_sam",)
    network_class: ClassVar[Any] = MobileSamModel
    official: ClassVar[Any] = official
    blocks_path: ClassVar[str] = r"vision_encoder\.blocks"
    lora_layers: ClassVar[Mapping[str, str]] = {
        "qkv": r"attn\.qkv",
        "attention": r"attn\.(qkv|proj)",
        "all": r"(attn\.(qkv|proj)|mlp\.(fc1|fc2))",
    }

    @classmethod
    def is_official(cls, state: Mapping[str, Tensor]) -> bool:
        return official.is_official(state)

    @classmethod
    def build_config(cls, side: int, settings: Settings) -> Any:
        return MobileSamConfig(
            vision_config={"image_size": side, **settings["vision"]},
            prompt_encoder_config={"image_size": side, **settings["prompt_encoder"]},
            mask_decoder_config={
                "layer_norm_eps": OFFICIAL_DECODER_EPS, **settings["mask_decoder"]
            },
        )  # fmt: skip

    def prepare(self) -> None:
        """Its attention within windows is fast as it is."""

    @property
    def frame(self) -> InputFrame:
        return InputFrame(int(self.core.config.vision_config.image_size))

    @property
    def blocks(self) -> Sequence[Any]:
        return list(self.core.vision_encoder.blocks)

    def begin(self, pixel_values: Tensor) -> Features:
        return Features(self.core.vision_encoder.patch_embed(pixel_values))

    def finish(self, features: Features) -> Features:
        places = features.main.permute(0, 2, 3, 1)
        return Features(self.core.vision_encoder.neck(places))

    def set_image_size(self, side: int) -> None:
        self.require_multiple(side, 16)
        self.core.config.vision_config.image_size = side
        self.core.config.prompt_encoder_config.image_embedding_size = side // 16
        self.resize_prompts(side, side // 16)

"""The tracker of SAM 3 for points, boxes and masks; its text prompts are not served here."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from transformers import Sam3TrackerConfig, Sam3TrackerModel

from samtune.models.families.sam2 import PyramidFamily
from samtune.models.official.strict import Settings
from samtune.types import Features, InputFrame


class Sam3Family(PyramidFamily):
    """`Sam3TrackerModel`: a plain ViT with rotary positions, and SAM 2's decoder."""

    name: ClassVar[str] = "sam3"
    processor: ClassVar[tuple[str, str]] = ("Sam3TrackerProcessor", "Sam3ImageProcessor")
    model_types: ClassVar[tuple[str, ...]] = ("sam3_tracker", "sam3_video", "sam3")
    network_class: ClassVar[Any] = Sam3TrackerModel
    blocks_path: ClassVar[str] = r"vision_encoder\.backbone\.layers"
    lora_layers: ClassVar[Mapping[str, str]] = {
        "qkv": r"attention\.(q_proj|k_proj|v_proj)",
        "attention": r"attention\.(q_proj|k_proj|v_proj|o_proj)",
        "all": r"(attention\.(q_proj|k_proj|v_proj|o_proj)|mlp\.(fc1|fc2))",
    }
    # the last block's answer is smaller than the neck's maps
    with_kept_embeddings: ClassVar[bool] = False

    @classmethod
    def build_config(cls, side: int, settings: Settings) -> Any:
        vision = {"image_size": side, **settings["vision"]}
        patch = vision.get("patch_size", 14)
        grid = side // patch
        width = settings["mask_decoder"].get("hidden_size", 256)
        return Sam3TrackerConfig(
            vision_config={
                "model_type": "sam3_vision_model",
                "backbone_config": {"model_type": "sam3_vit_model", **vision},
                "backbone_feature_sizes": [[grid * step] * 2 for step in (4, 2, 1)],
                "fpn_hidden_size": width,
            },
            prompt_encoder_config={
                "image_size": side, "patch_size": patch, **settings["prompt_encoder"]
            },
            mask_decoder_config=dict(settings["mask_decoder"]),
        )  # fmt: skip

    @property
    def frame(self) -> InputFrame:
        half = (127.5, 127.5, 127.5)
        side = int(self.core.prompt_encoder.input_image_size)
        return InputFrame(side, keeps_aspect=False, mean=half, std=half)

    @property
    def blocks(self) -> Sequence[Any]:
        return list(self.core.vision_encoder.backbone.layers)

    def begin(self, pixel_values: Tensor) -> Features:
        backbone = self.core.vision_encoder.backbone
        hidden = backbone.embeddings(pixel_values)
        side = pixel_values.shape[-1] // backbone.config.patch_size
        return Features(backbone.layer_norm(hidden.view(len(hidden), side, side, -1)))

    def finish(self, features: Features) -> Features:
        """transformers adds the sign for "no memory" to the last map, which may be one too many."""
        layers = self.core.vision_encoder.neck.fpn_layers
        hidden = features.main.permute(0, 3, 1, 2)
        finest, finer, coarse = (layer(hidden) for layer in layers[:3])
        if len(layers) == 3:
            coarse = coarse + self.core.no_memory_embedding.view(1, -1, 1, 1)
        return Features(coarse, (finest, finer))

    def set_image_size(self, side: int) -> None:
        config = self.core.config.vision_config.backbone_config
        self.require_multiple(side, config.patch_size)
        grid = side // config.patch_size
        config.image_size = side
        for layer in self.blocks:
            layer.position_ids = layer.precompute_positions(config, layer.window_size).to(
                layer.position_ids.device
            )
        sizes = [[grid * step] * 2 for step in (4, 2, 1)]
        self.core.config.vision_config.backbone_feature_sizes = sizes
        self.core.backbone_feature_sizes = sizes
        self.resize_prompts(side, grid)

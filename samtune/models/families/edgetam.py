"""EdgeTAM (arXiv 2501.07256) for images: SAM 2's decoder on a RepViT that timm builds."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import EdgeTamConfig, EdgeTamModel

from samtune.errors import UserError
from samtune.models.families.sam2 import PyramidFamily, pyramid
from samtune.models.official.strict import Settings
from samtune.models.tiny_vit import FrozenStatistics
from samtune.types import Features


class EdgeTamNetwork(EdgeTamModel):  # type: ignore[misc]
    """transformers' network; PEFT asks for what takes the pixels, and that is timm's."""

    def get_input_embeddings(self) -> nn.Module:
        backbone: nn.Module = self.vision_encoder.backbone
        return backbone


class EdgeTamFamily(PyramidFamily):
    """`EdgeTamModel`. timm's encoder is one step: it is frozen or trained as a whole, without LoRA."""

    name: ClassVar[str] = "edgetam"
    tool_type: ClassVar[str] = "segment_anything_2"
    model_types: ClassVar[tuple[str, ...]] = ("edgetam", "edgetam_video")
    network_class: ClassVar[Any] = EdgeTamNetwork
    blocks_path: ClassVar[str] = r"vision_encoder\.backbone\.blocks"
    lora_layers: ClassVar[Mapping[str, str]] = {}
    # what the backbone makes is smaller than the neck's maps
    with_kept_embeddings: ClassVar[bool] = False

    @classmethod
    def require(cls) -> None:
        if find_spec("timm") is None:
            raise UserError(
                "EdgeTAM's encoder is built by timm, which is not installed: pip install timm "
                "(it needs torchvision), or choose another model, such as mobile_sam"
            )

    @classmethod
    def build_config(cls, side: int, settings: Settings) -> Any:
        vision = {
            "backbone_feature_sizes": [[side // step] * 2 for step in (4, 8, 16)],
            **settings["vision"],
        }
        return EdgeTamConfig(
            vision_config=vision,
            prompt_encoder_config={"image_size": side, **settings["prompt_encoder"]},
            mask_decoder_config=dict(settings["mask_decoder"]),
        )

    def prepare(self) -> None:
        """Its normalisations keep the statistics of the pretraining, in training too."""
        for module in self.core.vision_encoder.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = FrozenStatistics

    @property
    def blocks(self) -> Sequence[Any]:
        return []

    def begin(self, pixel_values: Tensor) -> Features:
        maps = self.core.vision_encoder.backbone(pixel_values).last_hidden_state
        *finer, coarse = [values.permute(0, 2, 3, 1) for values in maps]
        return Features(coarse, tuple(finer))

    def finish(self, features: Features) -> Features:
        maps = pyramid(self.core.vision_encoder.neck, [*features.details, features.main])
        finest, finer, coarse = reversed(maps[-3:])
        sign = self.core.no_memory_embedding.view(1, -1, 1, 1)
        return Features(coarse + sign, (finest, finer))

    def set_image_size(self, side: int) -> None:
        self.require_multiple(side, 32)
        sizes = [[side // step] * 2 for step in (4, 8, 16)]
        self.core.config.vision_config.backbone_feature_sizes = sizes
        self.core.backbone_feature_sizes = sizes
        self.resize_prompts(side, side // 16)

"""Every family at a size that is built in no time: 64 pixels in, embeddings 4 x 4, masks 16 x 16."""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from samtune.models.backend import BaseIdentity, Sam
from samtune.models.pretraining.initialise import build_network
from samtune.models.registry import ModelSpec

_VIT = {
    "hidden_size": 48,
    "output_channels": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "window_size": 3,  # four places do not divide into windows: padding is needed
    "global_attn_indexes": [1, 3],
    "num_pos_feats": 16,
}
_PROMPTS = {"hidden_size": 32}
_DECODER = {"hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 24}
_STUB_WIDTHS = [8, 12, 16, 24]
VISION: dict[str, dict[str, Any]] = {
    "sam": _VIT,
    "sam_hq": _VIT,
    "sam2": {
        "hidden_size": 16,
        "embed_dim_per_stage": [16, 32, 48, 64],
        "blocks_per_stage": [1, 2, 3, 1],
        "num_attention_heads_per_stage": [1, 2, 3, 4],
        "window_size_per_stage": [8, 4, 6, 2],
        "global_attention_blocks": [4],
    },
    "sam3": {
        "hidden_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "intermediate_size": 64,
        "patch_size": 16,
        "window_size": 2,
        "global_attn_indexes": [1, 3],
        "pretrain_image_size": 32,
    },
    "edgetam": {"backbone_channel_list": _STUB_WIDTHS[::-1], "fpn_hidden_size": 32},
    "mobile_sam": {
        "widths": [16, 32, 32, 48],
        "depths": [2, 1, 2, 1],
        "heads": [1, 2, 2, 3],
        "windows": [1, 3, 3, 2],
        "output_channels": 32,
        "num_pos_feats": 16,
    },
}
FAMILY_NAMES = list(VISION)


class StubConfig(PreTrainedConfig):
    """Of the encoder that stands for timm's RepViT."""

    model_type = "samtune_test_stub"


class StubBackbone(PreTrainedModel):
    """Four maps, each half as wide as the one before, as RepViT makes them."""

    config_class = StubConfig

    def __init__(self, config):
        super().__init__(config)
        inner = [3, *_STUB_WIDTHS[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 4 if a == 3 else 2, 1), nn.BatchNorm2d(b))
            for a, b in zip(inner, _STUB_WIDTHS, strict=True)
        )
        self.post_init()

    def forward(self, pixel_values, **_):
        maps = []
        for stage in self.stages:
            pixel_values = torch.tanh(stage(pixel_values))
            maps.append(pixel_values)
        return BaseModelOutput(last_hidden_state=maps)


AutoConfig.register(StubConfig.model_type, StubConfig)
AutoModel.register(StubConfig, StubBackbone)


def tiny_spec_of(name):
    vision = VISION[name]
    if name == "edgetam":
        vision = {**vision, "backbone_config": StubConfig()}
    prompts = {**_PROMPTS, "patch_size": 16} if name != "mobile_sam" else _PROMPTS
    return ModelSpec(
        f"tiny_{name}", name, 64, 0, "", "", "", "Apache-2.0", "Apache-2.0",
        vision, prompts, _DECODER,
    )  # fmt: skip


@torch.no_grad()
def draw(network, seed):
    """Weights and statistics with which every part of a network has something to say."""
    generator = torch.Generator().manual_seed(seed)

    def noise(tensor):
        return torch.randn(tensor.shape, generator=generator)

    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var"):
            value.copy_(1 + 0.3 * noise(value).abs())
        elif "norm" in name and name.endswith("weight"):
            value.copy_(1 + 0.2 * noise(value))
        elif name.endswith("positional_embedding"):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(99)))
        elif value.ndim > 1:
            fan_in = value[0].numel()
            value.copy_(noise(value) / fan_in**0.5)
        else:
            value.copy_(0.2 * noise(value))
    return network


def build_member(name, seed=0):
    """A fresh tiny network of a family from a seed."""
    network = draw(build_network(tiny_spec_of(name)), seed)
    identity = BaseIdentity(f"tiny_{name}", "", 64, "", is_random=True)
    return Sam(network, identity).eval()

"""Start a SAM from nothing so that it can learn.

transformers' own random initialisation of a SAM does not train: the encoder's weights are drawn
with a scale of 1e-10 and the positional matrix with half the encoder's width instead of 1, so that
a prompt has no place. Here each part starts as in the official code, and the decoder's
cross-attentions start with equal, orthogonal query and key projections, so that a prompt attends to
its own place from the first step.
"""

from typing import Any

import torch
from torch import nn
from transformers import SamConfig, SamModel

from samtune.models.conversion import OFFICIAL_DECODER_EPS
from samtune.models.registry import ModelSpec

ENCODER_STD = 0.02
CROSS_ATTENTION_GAIN = 2.0
_GRID = 2.0**20


def build_config(spec: ModelSpec) -> SamConfig:
    """The transformers configuration of a registered model, with the official decoder eps."""
    return SamConfig(
        vision_config={
            "image_size": spec.image_size, "initializer_range": ENCODER_STD, **spec.vision
        },
        prompt_encoder_config={"image_size": spec.image_size, **spec.prompt_encoder},
        mask_decoder_config={"layer_norm_eps": OFFICIAL_DECODER_EPS, **spec.mask_decoder},
    )  # fmt: skip


def build_random(spec: ModelSpec, seed: int = 0) -> SamModel:
    """A randomly initialised network of this architecture, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SamModel(build_config(spec))
        _initialise(model)
    return model


@torch.no_grad()
def _initialise(model: SamModel) -> None:
    for module in model.vision_encoder.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=ENCODER_STD)
    # He's scale where a plain convolution has no normalisation before it to make up for a small one
    nn.init.kaiming_normal_(model.vision_encoder.patch_embed.projection.weight)
    nn.init.trunc_normal_(model.vision_encoder.pos_embed, std=ENCODER_STD)
    for part in (model.prompt_encoder, model.mask_decoder):
        _reset_to_torch_defaults(part)
    for block in model.mask_decoder.transformer.layers:
        _match_query_and_key(block.cross_attn_token_to_image)
        _match_query_and_key(block.cross_attn_image_to_token)
    _match_query_and_key(model.mask_decoder.transformer.final_attn_token_to_image)
    matrix = model.shared_image_embedding.positional_embedding
    matrix.normal_(0.0, 1.0)
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(matrix)


def _reset_to_torch_defaults(part: nn.Module) -> None:
    """As the official code, which leaves these parts to torch's own initialisation."""
    for module in part.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            module.reset_parameters()


def _match_query_and_key(attention: Any) -> None:
    weight = attention.q_proj.weight
    orthogonal = nn.init.orthogonal_(torch.empty(weight.shape, dtype=torch.float64))
    # rounded, for the last bits of a QR decomposition depend on the number of threads
    weight.copy_(torch.round(orthogonal * _GRID) / _GRID * CROSS_ATTENTION_GAIN)
    attention.k_proj.weight.copy_(attention.q_proj.weight)
    nn.init.zeros_(attention.q_proj.bias)
    nn.init.zeros_(attention.k_proj.bias)

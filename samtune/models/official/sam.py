"""Official checkpoints of SAM and SAM-HQ <-> transformers, strictly and both ways.

Key names: https://github.com/facebookresearch/segment-anything and https://github.com/SysCV/sam-hq
(segment_anything/modeling/*.py); transformers/models/sam/modeling_sam.py and sam_hq. The architecture
is read off the tensors' shapes, so that a file needs no name: ViT-B, -L and -H, MedSAM, and smaller
networks with the official layout.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from samtune.models.official.strict import Settings

PE_OFFICIAL = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_PE_SHARED = "shared_image_embedding.positional_embedding"
_PE_PROMPT = "prompt_encoder.shared_embedding.positional_embedding"
_DROPPED = ("pixel_mean", "pixel_std")

# (part of the official key, part of transformers' key); read left to right or right to left.
_RENAMES = (
    ("image_encoder.patch_embed.proj.", "vision_encoder.patch_embed.projection."),
    ("image_encoder.neck.0.", "vision_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."),
    ("image_encoder.neck.2.", "vision_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."),
    ("image_encoder.blocks.", "vision_encoder.layers."),
    ("image_encoder.pos_embed", "vision_encoder.pos_embed"),
    ("prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_embed.conv1."),
    ("prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_embed.layer_norm1."),
    ("prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_embed.conv2."),
    ("prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_embed.layer_norm2."),
    ("prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_embed.conv3."),
    ("prompt_encoder.point_embeddings.", "prompt_encoder.point_embed."),
    ("mask_decoder.output_upscaling.0.", "mask_decoder.upscale_conv1."),
    ("mask_decoder.output_upscaling.1.", "mask_decoder.upscale_layer_norm."),
    ("mask_decoder.output_upscaling.3.", "mask_decoder.upscale_conv2."),
    ("mask_decoder.transformer.norm_final_attn.", "mask_decoder.transformer.layer_norm_final_attn."),
    # SAM-HQ's own
    ("mask_decoder.hf_token.", "mask_decoder.hq_token."),
    ("mask_decoder.compress_vit_feat.0.", "mask_decoder.compress_vit_conv1."),
    ("mask_decoder.compress_vit_feat.1.", "mask_decoder.compress_vit_norm."),
    ("mask_decoder.compress_vit_feat.3.", "mask_decoder.compress_vit_conv2."),
    ("mask_decoder.embedding_encoder.0.", "mask_decoder.encoder_conv1."),
    ("mask_decoder.embedding_encoder.1.", "mask_decoder.encoder_norm."),
    ("mask_decoder.embedding_encoder.3.", "mask_decoder.encoder_conv2."),
    ("mask_decoder.embedding_maskfeature.0.", "mask_decoder.mask_conv1."),
    ("mask_decoder.embedding_maskfeature.1.", "mask_decoder.mask_norm."),
    ("mask_decoder.embedding_maskfeature.3.", "mask_decoder.mask_conv2."),
)  # fmt: skip
_NORM = re.compile(r"((?:image_encoder\.blocks|mask_decoder\.transformer\.layers)\.\d+\.)norm(\d)")
_LAYER_NORM = re.compile(
    r"((?:vision_encoder\.layers|mask_decoder\.transformer\.layers)\.\d+\.)layer_norm(\d)"
)
_HEADS = r"output_hypernetworks_mlps\.\d+|iou_prediction_head|hf_mlp|hq_mask_mlp"
_MLP_HEAD = re.compile(rf"({_HEADS})\.layers\.(\d+)\.")
_HF_HEAD = re.compile(rf"({_HEADS})\.(proj_in|proj_out|layers\.(\d+))\.")
_HQ_HEAD = ("hf_mlp", "hq_mask_mlp")


def _head_depths(keys: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of linear layers of each MLP head, from official keys."""
    depths: dict[str, int] = {}
    for key in keys:
        if match := _MLP_HEAD.search(key):
            depths[match[1]] = max(depths.get(match[1], 0), int(match[2]) + 1)
    return depths


def _to_transformers_key(key: str, depths: dict[str, int]) -> str:
    key = _NORM.sub(r"\1layer_norm\2", key)
    for official, ours in _RENAMES:
        if key.startswith(official):
            return ours + key[len(official) :]
    if match := _MLP_HEAD.search(key):
        number, last = int(match[2]), depths[match[1]] - 1
        layer = {0: "proj_in", last: "proj_out"}.get(number, f"layers.{number - 1}")
        return key.replace(match[0], f"{match[1]}.{layer}.").replace(*_HQ_HEAD)
    return key


def _to_official_key(key: str, depths: dict[str, int]) -> str:
    for official, ours in _RENAMES:
        if key.startswith(ours):
            return _LAYER_NORM.sub(r"\1norm\2", key).replace(ours, official, 1)
    key = _LAYER_NORM.sub(r"\1norm\2", key)
    if match := _HF_HEAD.search(key):
        layers = {"proj_in": 0, "proj_out": depths[match[1]] - 1}
        number = layers.get(match[2], int(match[3] or 0) + 1)
        return key.replace(match[0], f"{match[1]}.layers.{number}.").replace(*_HQ_HEAD[::-1])
    return key


def official_to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an official state dict's keys; the normalisation buffers are dropped."""
    depths = _head_depths(state)
    converted = {}
    for key, value in state.items():
        if key == PE_OFFICIAL:
            converted[_PE_SHARED] = converted[_PE_PROMPT] = value
        elif key not in _DROPPED:
            converted[_to_transformers_key(key, depths)] = value
    return converted


def transformers_to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename `SamModel.state_dict()` to the official keys, as segment_anything loads them."""
    heads = [m[1] for key in state if (m := _HF_HEAD.search(key)) and m[2] == "proj_in"]
    depths = {
        h: 2 + sum(f"{h}.layers." in k and k.endswith("weight") for k in state) for h in heads
    }
    converted = {PE_OFFICIAL: state[_PE_SHARED]}
    for key, value in state.items():
        if key not in (_PE_SHARED, _PE_PROMPT):
            converted[_to_official_key(key, depths)] = value
    return converted


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the official layout, of SAM or of a relative with its decoder."""
    return PE_OFFICIAL in state


def read_settings(state: Mapping[str, Tensor]) -> tuple[int, Settings]:
    """Read the architecture off the shapes of an official state dict: input side and settings.

    Raises:
        KeyError: a tensor that every SAM has is missing.
    """
    vision = _vision_settings(state)
    side = int(vision.pop("image_size"))
    return side, {
        "vision": vision,
        "prompt_encoder": prompt_encoder_settings(state) | {"patch_size": vision["patch_size"]},
        "mask_decoder": mask_decoder_settings(state),
    }


def _vision_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    pos_embed = state["image_encoder.pos_embed"]
    patch = state["image_encoder.patch_embed.proj.weight"]
    num_layers = sum(
        key.startswith("image_encoder.blocks.") and key.endswith(".attn.rel_pos_h") for key in state
    )
    tables = [state[f"image_encoder.blocks.{i}.attn.rel_pos_h"] for i in range(num_layers)]
    if not tables:
        raise KeyError("image_encoder.blocks.0.attn.rel_pos_h")
    grid, width = pos_embed.shape[1], pos_embed.shape[3]
    is_global = [len(table) == 2 * grid - 1 for table in tables]
    windows = [(len(t) + 1) // 2 for t, spans in zip(tables, is_global, strict=True) if not spans]
    mlp_dim = state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0]
    return {
        "hidden_size": width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": width // tables[0].shape[1],
        "image_size": grid * patch.shape[-1],
        "patch_size": patch.shape[-1],
        "num_channels": patch.shape[1],
        "mlp_ratio": mlp_dim / width,
        "mlp_dim": mlp_dim,
        "output_channels": state["image_encoder.neck.0.weight"].shape[0],
        "num_pos_feats": state[PE_OFFICIAL].shape[1],
        "window_size": windows[0] if windows else grid,
        "global_attn_indexes": [i for i, spans in enumerate(is_global) if spans],
    }


def prompt_encoder_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "hidden_size": state["prompt_encoder.no_mask_embed.weight"].shape[1],
        "mask_input_channels": state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    }


def mask_decoder_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    hidden = state["mask_decoder.iou_token.weight"].shape[1]
    attention = "mask_decoder.transformer.layers.{}.cross_attn_token_to_image.q_proj.weight"
    num_layers = sum(attention.format(i) in state for i in range(64))
    return {
        "hidden_size": hidden,
        "mlp_dim": state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        "num_hidden_layers": num_layers,
        "attention_downsample_rate": hidden // state[attention.format(0)].shape[0],
        "num_multimask_outputs": state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        "iou_head_depth": _head_depths(state)["iou_prediction_head"],
        "iou_head_hidden_dim": state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    }

"""Official segment_anything checkpoints <-> transformers' `SamModel`, strictly and both ways.

Key names: https://github.com/facebookresearch/segment-anything (modeling/*.py) and
transformers/models/sam/modeling_sam.py. The architecture is read off the tensors' shapes, so that
a file needs no name: ViT-B, -L and -H, MedSAM, and smaller networks with the official layout.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import SamConfig, SamModel

from samtune.errors import UserError

# The authors' nn.LayerNorm default in the mask decoder; transformers writes 1e-6 there. With 1e-5
# the masks are the official code's to 3e-7 instead of 3e-5.
OFFICIAL_DECODER_EPS = 1e-5

_PE_OFFICIAL = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
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
)  # fmt: skip
_NORM = re.compile(r"((?:image_encoder\.blocks|mask_decoder\.transformer\.layers)\.\d+\.)norm(\d)")
_LAYER_NORM = re.compile(
    r"((?:vision_encoder\.layers|mask_decoder\.transformer\.layers)\.\d+\.)layer_norm(\d)"
)
_MLP_HEAD = re.compile(r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.(\d+)\.")
_HF_HEAD = re.compile(
    r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.(proj_in|proj_out|layers\.(\d+))\."
)


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
        return key.replace(match[0], f"{match[1]}.{layer}.")
    return key


def _to_official_key(key: str, depths: dict[str, int]) -> str:
    for official, ours in _RENAMES:
        if key.startswith(ours):
            return _LAYER_NORM.sub(r"\1norm\2", key).replace(ours, official, 1)
    key = _LAYER_NORM.sub(r"\1norm\2", key)
    if match := _HF_HEAD.search(key):
        layers = {"proj_in": 0, "proj_out": depths[match[1]] - 1}
        number = layers.get(match[2], int(match[3] or 0) + 1)
        return key.replace(match[0], f"{match[1]}.layers.{number}.")
    return key


def official_to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an official state dict's keys; the normalisation buffers are dropped."""
    depths = _head_depths(state)
    converted = {}
    for key, value in state.items():
        if key == _PE_OFFICIAL:
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
    converted = {_PE_OFFICIAL: state[_PE_SHARED]}
    for key, value in state.items():
        if key not in (_PE_SHARED, _PE_PROMPT):
            converted[_to_official_key(key, depths)] = value
    return converted


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the official layout."""
    return _PE_OFFICIAL in state


def infer_config(state: Mapping[str, Tensor]) -> SamConfig:
    """Read the architecture off the shapes of an official state dict.

    Raises:
        UserError: a tensor that every SAM has is missing.
    """
    try:
        return SamConfig(
            vision_config=_infer_vision(state),
            prompt_encoder_config=_infer_prompt_encoder(state),
            mask_decoder_config=_infer_mask_decoder(state),
        )
    except KeyError as error:
        raise UserError(
            f"the checkpoint lacks the tensor {error}, which every SAM checkpoint has: it is "
            "truncated, or of another model family"
        ) from error


def _infer_vision(state: Mapping[str, Tensor]) -> dict[str, object]:
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
        "num_pos_feats": state[_PE_OFFICIAL].shape[1],
        "window_size": windows[0] if windows else grid,
        "global_attn_indexes": [i for i, spans in enumerate(is_global) if spans],
    }


def _infer_prompt_encoder(state: Mapping[str, Tensor]) -> dict[str, object]:
    vision = _infer_vision(state)
    return {
        "hidden_size": state["prompt_encoder.no_mask_embed.weight"].shape[1],
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "mask_input_channels": state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    }


def _infer_mask_decoder(state: Mapping[str, Tensor]) -> dict[str, object]:
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
        "layer_norm_eps": OFFICIAL_DECODER_EPS,
    }


def load_strictly(model: SamModel, state: Mapping[str, Tensor], source: str) -> None:
    """Load a transformers state dict; a missing, surplus or misshapen key is an error.

    Raises:
        UserError: naming the file and the first keys that do not fit.
    """
    expected = model.state_dict()
    missing = sorted(expected.keys() - state.keys())
    surplus = sorted(state.keys() - expected.keys())
    shapes = [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & state.keys()
        if state[key].shape != expected[key].shape
    ]
    if missing or surplus or shapes:
        parts = [
            f"{len(keys)} {what} (such as {', '.join(keys[:3])})"
            for what, keys in (
                ("missing keys", missing),
                ("surplus keys", surplus),
                ("wrong shapes", sorted(shapes)),
            )
            if keys
        ]
        raise UserError(f"{source} does not fit this SAM: {'; '.join(parts)}")
    with torch.no_grad():
        model.load_state_dict(state, strict=True)


def build_from_official(state: Mapping[str, Tensor], source: str) -> SamModel:
    """Make a `SamModel` from an official state dict (decoder eps as in the official code)."""
    model = SamModel(infer_config(state))
    load_strictly(model, official_to_transformers(state), source)
    return model

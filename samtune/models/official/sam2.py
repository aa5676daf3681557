"""Official SAM 2 and 2.1 checkpoints <-> `Sam2Model`, strictly and both ways.

Key names: https://github.com/facebookresearch/sam2 (sam2/modeling) and
transformers/models/sam2/modeling_sam2.py. What serves videos only (memory, object pointers) is known by
name and left out.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from samtune.models.official.strict import Settings

_TRUNK = "image_encoder.trunk."
_PE_OFFICIAL = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_PE_SHARED = "shared_image_embedding.positional_embedding"
_PE_PROMPT = "prompt_encoder.shared_embedding.positional_embedding"
_POINTS_OFFICIAL = "sam_prompt_encoder.point_embeddings."
_POINTS = "prompt_encoder.point_embed.weight"
_VIDEO = (
    "memory_attention.", "memory_encoder.", "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr",
    "no_obj_embed_spatial", "obj_ptr_proj.", "obj_ptr_tpos_proj.", "mask_downsample.",
)  # fmt: skip

# (official beginning, transformers' beginning); the first that fits counts.
_BEGINNINGS = (
    ("image_encoder.trunk.patch_embed.proj.", "vision_encoder.backbone.patch_embed.projection."),
    ("image_encoder.trunk.", "vision_encoder.backbone."),
    ("image_encoder.neck.convs.", "vision_encoder.neck.convs."),
    ("sam_prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_embed.conv1."),
    ("sam_prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_embed.layer_norm1."),
    ("sam_prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_embed.conv2."),
    ("sam_prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_embed.layer_norm2."),
    ("sam_prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_embed.conv3."),
    ("sam_prompt_encoder.", "prompt_encoder."),
    ("sam_mask_decoder.output_upscaling.0.", "mask_decoder.upscale_conv1."),
    ("sam_mask_decoder.output_upscaling.1.", "mask_decoder.upscale_layer_norm."),
    ("sam_mask_decoder.output_upscaling.3.", "mask_decoder.upscale_conv2."),
    ("sam_mask_decoder.transformer.norm_final_attn.",
     "mask_decoder.transformer.layer_norm_final_attn."),
    ("sam_mask_decoder.", "mask_decoder."),
    ("no_mem_embed", "no_memory_embedding"),
)  # fmt: skip
# (official part, transformers' part), on either side of the numbers
_PARTS = (
    (r"(neck\.convs\.\d+)\.conv\.", r"\1."),
    (r"((?:blocks|transformer\.layers)\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"((?:blocks|transformer\.layers)\.\d+\.mlp)\.layers\.0\.", r"\1.proj_in."),
    (r"((?:blocks|transformer\.layers)\.\d+\.mlp)\.layers\.1\.", r"\1.proj_out."),
    (r"(transformer\.(?:layers\.\d+\.\w+|\w+_to_image))\.out_proj\.", r"\1.o_proj."),
    (r"(output_hypernetworks_mlps\.\d+|\w+_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(output_hypernetworks_mlps\.\d+|\w+_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(output_hypernetworks_mlps\.\d+|\w+_head)\.layers\.2\.", r"\1.proj_out."),
)
_BACK = (
    (r"(neck\.convs\.\d+)\.", r"\1.conv."),
    (r"((?:blocks|transformer\.layers)\.\d+)\.layer_norm(\d)\.", r"\1.norm\2."),
    (r"((?:blocks|transformer\.layers)\.\d+\.mlp)\.proj_in\.", r"\1.layers.0."),
    (r"((?:blocks|transformer\.layers)\.\d+\.mlp)\.proj_out\.", r"\1.layers.1."),
    (r"\.o_proj\.", r".out_proj."),
    (r"(output_hypernetworks_mlps\.\d+|\w+_head)\.layers\.0\.", r"\1.layers.1."),
    (r"(output_hypernetworks_mlps\.\d+|\w+_head)\.proj_in\.", r"\1.layers.0."),
    (r"(output_hypernetworks_mlps\.\d+|\w+_head)\.proj_out\.", r"\1.layers.2."),
)


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is SAM 2's."""
    return f"{_TRUNK}patch_embed.proj.weight" in state


def _rename(key: str, parts: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in parts:
        key, count = re.subn(pattern, replacement, key)
        if count:
            return key
    return key


def official_to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an official state dict's keys; the parts for videos are dropped."""
    converted, points = {}, {}
    for key, value in state.items():
        if key == _PE_OFFICIAL:
            converted[_PE_SHARED] = converted[_PE_PROMPT] = value
        elif key.startswith(_POINTS_OFFICIAL):
            points[int(key[len(_POINTS_OFFICIAL) :].partition(".")[0])] = value
        elif not key.startswith(_VIDEO):
            begin = next(((a, b) for a, b in _BEGINNINGS if key.startswith(a)), ("", ""))
            converted[_rename(begin[1] + key[len(begin[0]) :], _PARTS)] = value
    if points:
        converted[_POINTS] = torch.cat([points[number] for number in sorted(points)])
    return converted


def transformers_to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename `Sam2Model.state_dict()` to the official keys, without the parts for videos."""
    converted = {_PE_OFFICIAL: state[_PE_SHARED]}
    for key, value in state.items():
        if key == _POINTS:
            for number, row in enumerate(value):
                converted[f"{_POINTS_OFFICIAL}{number}.weight"] = row[None].clone()
        elif key not in (_PE_SHARED, _PE_PROMPT):
            begin = next(((a, b) for a, b in _BEGINNINGS if key.startswith(b)), ("", ""))
            converted[begin[0] + _rename(key, _BACK)[len(begin[1]) :]] = value
    return converted


def read_settings(state: Mapping[str, Tensor]) -> tuple[int, Settings]:
    """Input side and settings; what shapes do not tell is the published networks'.

    Raises:
        KeyError: a tensor that every SAM 2 has is missing.
    """
    hidden = state["sam_mask_decoder.iou_token.weight"].shape[1]
    cross = "sam_mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight"
    return 1024, {
        "vision": _vision_settings(state),
        "prompt_encoder": {
            "hidden_size": hidden,
            "mask_input_channels": state["sam_prompt_encoder.mask_downscaling.3.weight"].shape[0],
        },
        "mask_decoder": {
            "hidden_size": hidden,
            "mlp_dim": state["sam_mask_decoder.transformer.layers.0.mlp.layers.0.weight"].shape[0],
            "attention_downsample_rate": hidden // state[cross].shape[0],
            "iou_head_hidden_dim": state[
                "sam_mask_decoder.iou_prediction_head.layers.0.weight"
            ].shape[0],
        },
    }


# What the shapes do not tell, by (blocks of each stage): heads of the first stage, windows, blocks
# with global attention. Source: sam2/configs/sam2.1/*.yaml.
_HIERA: dict[tuple[int, ...], dict[str, Any]] = {
    (1, 2, 7, 2): {"heads": 1, "windows": [8, 4, 14, 7], "global": [5, 7, 9]},
    (1, 2, 11, 2): {"heads": 1, "windows": [8, 4, 14, 7], "global": [7, 10, 13]},
    (2, 3, 16, 3): {"heads": 2, "windows": [8, 4, 14, 7], "global": [12, 16, 20]},
    (2, 6, 36, 4): {"heads": 2, "windows": [8, 4, 16, 8], "global": [23, 33, 43]},
}


def _vision_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Stages begin where a block projects its shortcut to more channels."""
    blocks = {int(m[1]) for key in state if (m := re.match(rf"{_TRUNK}blocks\.(\d+)\.", key))}
    starts = [0, *(n for n in sorted(blocks) if f"{_TRUNK}blocks.{n}.proj.weight" in state)]
    ends = [*starts[1:], len(blocks)]
    depths = tuple(end - start for start, end in zip(starts, ends, strict=True))
    if depths not in _HIERA:
        raise KeyError(f"a published number of blocks in each stage (found {depths})")
    known = _HIERA[depths]
    widths = [state[f"{_TRUNK}blocks.{n}.attn.proj.weight"].shape[0] for n in starts]
    return {
        "hidden_size": widths[0],
        "num_attention_heads": known["heads"],
        "blocks_per_stage": list(depths),
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [
            known["heads"] * 2**stage for stage in range(len(depths))
        ],
        "window_size_per_stage": known["windows"],
        "global_attention_blocks": known["global"],
        "window_positional_embedding_background_size": list(state[f"{_TRUNK}pos_embed"].shape[2:]),
    }

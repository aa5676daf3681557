"""Official MobileSAM checkpoints <-> `MobileSamModel`, strictly and both ways.

Key names: https://github.com/ChaoningZhang/MobileSAM (mobile_sam/modeling/tiny_vit_sam.py). The encoder
is nested there by stage, and carries the head of the classifier that it once was, which nothing uses:
it is dropped, and written as zeros where the official layout asks for it.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from samtune.models.official import sam
from samtune.models.official.strict import Settings

_STEM = "image_encoder.patch_embed.seq."
_STAGE = re.compile(r"image_encoder\.layers\.(\d+)\.(?:blocks\.(\d+)|(downsample))\.")
_OURS = re.compile(r"vision_encoder\.blocks\.(\d+)\.")
_NUM_CLASSES = 1000
_PATCH = 16


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is MobileSAM's."""
    return f"{_STEM}0.c.weight" in state


def official_to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an official state dict's keys; the classifier's head is dropped."""
    places, encoder, rest = _places(state), {}, {}
    for key, value in state.items():
        if match := _STAGE.match(key):
            number = places[_place(match)]
            encoder[f"vision_encoder.blocks.{number}.{key[match.end() :]}"] = value
        elif key.startswith(_STEM):
            encoder[key.replace("image_encoder.", "vision_encoder.", 1)] = value
        elif not key.startswith(("image_encoder.head.", "image_encoder.norm_head.")):
            rest[key] = value
    return encoder | sam.official_to_transformers(rest)


def transformers_to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename `MobileSamModel.state_dict()` to the official keys."""
    names, official, rest = _names(state), {}, {}
    for key, value in state.items():
        if match := _OURS.match(key):
            official[f"{names[int(match[1])]}.{key[match.end() :]}"] = value
        elif key.startswith("vision_encoder.patch_embed."):
            official[key.replace("vision_encoder.", "image_encoder.", 1)] = value
        else:
            rest[key] = value
    width = state["vision_encoder.neck.conv1.weight"].shape[1]
    head = {"norm_head.weight": (width,), "norm_head.bias": (width,),
            "head.weight": (_NUM_CLASSES, width), "head.bias": (_NUM_CLASSES,)}  # fmt: skip
    official |= {f"image_encoder.{name}": torch.zeros(shape) for name, shape in head.items()}
    return official | sam.transformers_to_official(rest)


def _place(match: re.Match[str]) -> tuple[int, int | None]:
    return int(match[1]), int(match[2]) if match[2] else None


def _places(state: Mapping[str, Tensor]) -> dict[tuple[int, int | None], int]:
    """(stage, block, or None for what merges) -> number in our row of blocks."""
    found = {_place(match) for key in state if (match := _STAGE.match(key))}
    order = sorted(found, key=lambda place: (place[0], place[1] is None, place[1] or 0))
    return {place: number for number, place in enumerate(order)}


def _names(state: Mapping[str, Tensor]) -> list[str]:
    """Official name of each of our blocks."""
    is_merging = {
        int(m[1]): f"vision_encoder.blocks.{m[1]}.conv1.c.weight" in state
        and not _has_shortcut(state, int(m[1]))
        for key in state
        if (m := _OURS.match(key))
    }
    names, stage, block = [], 0, 0
    for number in range(len(is_merging)):
        if is_merging[number]:
            names.append(f"image_encoder.layers.{stage}.downsample")
            stage, block = stage + 1, 0
        else:
            names.append(f"image_encoder.layers.{stage}.blocks.{block}")
            block += 1
    return names


def _has_shortcut(state: Mapping[str, Tensor], number: int) -> bool:
    """A convolutional block gives as many channels as it takes; what merges gives more."""
    name = f"vision_encoder.blocks.{number}.conv{{}}.c.weight"
    return state[name.format(1)].shape[1] == state[name.format(3)].shape[0]


def read_settings(state: Mapping[str, Tensor]) -> tuple[int, Settings]:
    """Input side and settings, read off the shapes; the side is the published one.

    Raises:
        KeyError: a tensor that every MobileSAM has is missing.
    """
    return 1024, {
        "vision": _vision_settings(state),
        "prompt_encoder": sam.prompt_encoder_settings(state),
        "mask_decoder": sam.mask_decoder_settings(state),
    }


def _vision_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    places = _places(state)
    num_stages = 1 + max(stage for stage, _ in places)
    depths = [sum(s == stage and b is not None for s, b in places) for stage in range(num_stages)]
    first = "image_encoder.layers.{}.blocks.0.attn.{}"
    biases = [state[first.format(s, "attention_biases")].shape for s in range(1, num_stages)]
    widths = [state[first.format(s, "proj.weight")].shape[0] for s in range(1, num_stages)]
    return {
        "num_channels": state[f"{_STEM}0.c.weight"].shape[1],
        "widths": [state[f"{_STEM}2.c.weight"].shape[0], *widths],
        "depths": depths,
        "heads": [1, *(shape[0] for shape in biases)],
        "windows": [1, *(round(shape[1] ** 0.5) for shape in biases)],
        "output_channels": state["image_encoder.neck.0.weight"].shape[0],
        "num_pos_feats": state[sam.PE_OFFICIAL].shape[1],
    }

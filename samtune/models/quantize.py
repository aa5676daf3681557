"""The frozen encoder in 4 or 8 bits (QLoRA, arXiv 2305.14314): adapters learn beside it as always.

Only the linear layers of the encoder's blocks are quantized, which hold nearly all weights; what is
trained whole, the decoder and the prompt encoder, stays as it is. The adapter that is saved fits the
base in full precision too.
"""

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.settings import Quantization


def quantize(sam: Sam, mode: Quantization) -> None:
    """Replace the linear layers of the encoder's blocks in place, before an adapter is added.

    On a GPU the weights are turned when the network is moved there, on a CPU at once.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    if mode == "none":
        return
    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"model.quantize {mode} needs bitsandbytes: pip install 'samtune[quantized]', or set "
            "model.quantize to none"
        )
    if not sam.family.blocks:
        raise UserError(f"the encoder of {sam.family.name} models cannot be quantized")
    sam.quantization = mode
    for block in sam.family.blocks:
        for name, layer in list(block.named_modules()):
            if type(layer) is nn.Linear:
                parent, _, last = name.rpartition(".")
                setattr(block.get_submodule(parent), last, _quantized(layer, mode))
    sam.to(sam.device)


def _quantized(layer: nn.Linear, mode: Quantization) -> Any:
    """bitsandbytes' layer with the same weights."""
    layers = import_module("bitsandbytes").nn
    sizes, with_bias = (layer.in_features, layer.out_features), layer.bias is not None
    if mode == "4bit":
        made = layers.Linear4bit(*sizes, bias=with_bias, quant_type="nf4")
        # packed for inference at the first validation, the weights could not be trained beside again
        made.support_avx512bf16_for_cpu = False
    else:
        made = _int8_class()(*sizes, bias=with_bias, has_fp16_weights=False)
    made.load_state_dict(layer.state_dict())
    return made.to(layer.weight.device).requires_grad_(False)


@lru_cache
def _int8_class() -> Any:
    """bitsandbytes' layer for inputs of any number of dimensions; on a CPU its own takes three."""
    base = import_module("bitsandbytes").nn.Linear8bitLt

    class Int8Linear(base):  # type: ignore[misc, valid-type]
        def forward(self, values: Tensor) -> Tensor:
            answer: Tensor = super().forward(values.flatten(0, -2))
            return torch.unflatten(answer, 0, values.shape[:-1])

    return Int8Linear

"""LoRA's product once a step instead of at each call: W + sBA, through which gradients reach A and B.

At high ranks and small widths (`nano`: 32 of 192) the thin products of every call, and adding them to
the layer's own, take longer than the gradient of a whole weight.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

from samtune.models.backend import Sam

# A layer is joined where the gradient of its whole weight takes at most so many times the arithmetic of
# the thin products
_WORTH = 2.0


@contextmanager
def joined(sam: Sam) -> Iterator[None]:
    """Answers are the same within, and their gradients; weights must not change meanwhile.

    Nothing is joined on a GPU, with checkpointing, which asks again after the block has ended, or where
    a layer does more than add BA.

    Args:
        sam: in training.
    """
    is_able = sam.device.type == "cpu" and not sam.with_checkpointing
    is_able = is_able and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
    with ExitStack() as stack:
        for layer in sam.network.modules() if is_able else ():
            if isinstance(layer, Linear) and is_worth_joining(layer):
                stack.enter_context(_called(layer, _answer_of(layer)))
        yield


def is_worth_joining(layer: Linear) -> bool:
    """Whether a layer is W + sBA and nothing else, and thin products are no saving."""
    names = layer.active_adapters
    if len(names) != 1 or names[0] not in layer.lora_A or layer.merged:
        return False
    name, base = names[0], layer.get_base_layer()
    is_plain = type(base) is nn.Linear and name not in layer.lora_variant
    is_plain = is_plain and not layer.lora_bias[name]
    is_plain = is_plain and isinstance(layer.lora_dropout[name], nn.Identity)
    if not is_plain or not layer.lora_A[name].weight.requires_grad:
        return False
    whole = base.in_features * base.out_features
    thin = 3 * layer.r[name] * (base.in_features + base.out_features)
    return bool(whole <= _WORTH * thin)


def _answer_of(layer: Linear) -> Callable[[Tensor], Tensor]:
    name, base = layer.active_adapters[0], layer.get_base_layer()
    weight = torch.addmm(
        base.weight, layer.lora_B[name].weight, layer.lora_A[name].weight, alpha=layer.scaling[name]
    )

    def answer(values: Tensor) -> Tensor:
        return F.linear(values, base.weight if layer.disable_adapters else weight, base.bias)

    return answer


@contextmanager
def _called(layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """A module that answers with a function within the block."""
    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward

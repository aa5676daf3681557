"""Loading that takes no tensor less and none more."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.initialization import no_init_weights

from samtune.errors import UserError

# Of `vision`, `prompt_encoder` and `mask_decoder`, as the families build their configurations from.
Settings = Mapping[str, Mapping[str, Any]]


def made_of(network_class: Any, config: Any, state: Mapping[str, Tensor], source: str) -> Any:
    """A transformers network that holds a state dict, made without drawing a start for it first.

    A start at random takes far longer than reading the weights that replace all of it.

    Raises:
        UserError: see `load_strictly`, which sees to it that nothing is left of what was not drawn.
    """
    with no_init_weights():
        network = network_class(config)
    network.tie_weights()  # else done with the start
    load_strictly(network, state, source)
    return network


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
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

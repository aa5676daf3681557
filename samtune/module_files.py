"""A small network in two files: NAME.json says what it is, NAME.safetensors holds its tensors."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from samtune.errors import UserError, first_line
from samtune.files import write_json
from samtune.parsing import read_json

Module = TypeVar("Module", bound=nn.Module)
_FORMAT = 1


def write_module(module: nn.Module, folder: Path, name: str, about: Mapping[str, Any]) -> None:
    """Write a network.

    Args:
        module: what is written.
        folder: that is there.
        name: of both files.
        about: what it takes to make the network anew, as JSON has it.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    save_file(state, str(folder / f"{name}.safetensors"))
    write_json(folder / f"{name}.json", {"format": _FORMAT, **about})


def read_module(
    folder: Path, name: str, make: Callable[[dict[str, Any]], Module], advice: str
) -> Module:
    """Read a network, in evaluation mode and not to be trained.

    Args:
        folder: with both files.
        name: of them.
        make: the network without its tensors, of what was written about it; a `UserError` of its own
            is passed on, any other error means that the file is damaged.
        advice: what to do about damaged files.

    Raises:
        UserError: they are damaged, or were written by a newer samtune.
    """
    about = read_json(folder / f"{name}.json")
    try:
        if about["format"] > _FORMAT:
            raise UserError(f"{folder} was written by a newer samtune: upgrade this one")
        module = make(about)
        state = load_file(str(folder / f"{name}.safetensors"))
        module.load_state_dict(state)
    except UserError:
        raise
    except Exception as error:  # whatever damaged bytes make of it
        raise UserError(f"{folder} is damaged ({first_line(error)}): {advice}") from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise UserError(f"{folder} holds weights that are no numbers: {advice}")
    return module.eval().requires_grad_(False)


def module_sha256(module: nn.Module, settings: str) -> str:
    """Of a network's tensors and settings: what its answers depend on."""
    digest = hashlib.sha256(settings.encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

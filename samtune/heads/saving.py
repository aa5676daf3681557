"""Heads beside a model's weights: `heads/NAME/head.json` and `head.safetensors`."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from samtune.errors import UserError, first_line
from samtune.files import write_json
from samtune.heads.head import DenseHead
from samtune.heads.network import Encoded
from samtune.heads.table import HEADS
from samtune.parsing import read_json

HEADS_FOLDER = "heads"
_FORMAT = 1


def write_heads(heads: Mapping[str, Any], folder: Path) -> None:
    """Write all heads of a model into the folder of its weights."""
    for name, head in heads.items():
        place = folder / HEADS_FOLDER / name
        place.mkdir(parents=True, exist_ok=True)
        state = {key: value.detach().cpu().contiguous() for key, value in head.state_dict().items()}
        save_file(state, str(place / "head.safetensors"))
        about = {"format": _FORMAT, "encoded": asdict(head.encoded), "settings": head.settings}
        write_json(place / "head.json", about)


def read_heads(folder: Path, encoded: Encoded) -> dict[str, DenseHead]:
    """The heads beside a model's weights, by name.

    Raises:
        UserError: one is damaged, unknown, or was made for another encoder.
    """
    places = sorted((folder / HEADS_FOLDER).glob("*/head.json"))
    return {place.parent.name: _read(place.parent, encoded) for place in places}


def _read(place: Path, encoded: Encoded) -> DenseHead:
    if place.name not in HEADS:
        raise UserError(
            f"{place} is a head '{place.name}', which this samtune does not know "
            f"({', '.join(HEADS)}): upgrade it"
        )
    about = read_json(place / "head.json")
    try:
        if about["format"] > _FORMAT:
            raise UserError(f"{place} was written by a newer samtune: upgrade this one")
        found = Encoded(**about["encoded"] | {"details": tuple(about["encoded"]["details"])})
        if found != encoded:
            raise UserError(f"{place} was made for {found}, and the model gives {encoded}")
        head = HEADS[place.name](found, about["settings"])
        state = load_file(str(place / "head.safetensors"))
        head.load_state_dict(state)
    except UserError:
        raise
    except Exception as error:  # whatever damaged bytes make of it
        raise UserError(
            f"{place} is damaged ({first_line(error)}): train the head again"
        ) from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise UserError(f"{place} holds weights that are no numbers: train the head again")
    return head.eval().requires_grad_(False)


def head_sha256(head: DenseHead) -> str:
    """Of the weights and settings of a head: what its answers depend on."""
    digest = hashlib.sha256(repr(sorted(head.settings.items())).encode())
    for name, value in sorted(head.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

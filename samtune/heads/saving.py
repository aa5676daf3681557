"""Heads beside a model's weights: `heads/NAME/head.json` and `head.safetensors`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.heads.head import DenseHead
from samtune.heads.network import Encoded
from samtune.heads.table import HEADS
from samtune.module_files import module_sha256, read_module, write_module

HEADS_FOLDER, _NAME = "heads", "head"


def write_heads(heads: Mapping[str, Any], folder: Path) -> None:
    """Write all heads of a model into the folder of its weights."""
    for name, head in heads.items():
        place = folder / HEADS_FOLDER / name
        place.mkdir(parents=True, exist_ok=True)
        about = {"encoded": asdict(head.encoded), "settings": head.settings}
        write_module(head, place, _NAME, about)


def read_heads(folder: Path, encoded: Encoded) -> dict[str, DenseHead]:
    """The heads beside a model's weights, by name.

    Raises:
        UserError: one is damaged, unknown, or was made for another encoder.
    """
    places = sorted((folder / HEADS_FOLDER).glob(f"*/{_NAME}.json"))
    return {place.parent.name: _read(place.parent, encoded) for place in places}


def _read(place: Path, encoded: Encoded) -> DenseHead:
    if place.name not in HEADS:
        raise UserError(
            f"{place} is a head '{place.name}', which this samtune does not know "
            f"({', '.join(HEADS)}): upgrade it"
        )

    def make(about: dict[str, Any]) -> DenseHead:
        found = Encoded(**about["encoded"] | {"details": tuple(about["encoded"]["details"])})
        if found != encoded:
            raise UserError(f"{place} was made for {found}, and the model gives {encoded}")
        return HEADS[place.name](found, about["settings"])

    return read_module(place, _NAME, make, "train the head again")


def head_sha256(head: DenseHead) -> str:
    """Of the weights and settings of a head: what its answers depend on."""
    return module_sha256(head, repr(sorted(head.settings.items())))

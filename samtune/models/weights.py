"""Plain networks from wherever their weights are: the hub, a folder, a file, or nothing at all."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedConfig

from samtune.errors import UserError, first_line
from samtune.models.families.base import Family
from samtune.models.families.sam import OFFICIAL_DECODER_EPS
from samtune.models.families.table import (
    FAMILIES,
    family_of_official,
    family_of_type,
    known_types,
)
from samtune.models.foreign import require_known_attention
from samtune.models.official.strict import made_of
from samtune.models.pretraining.initialise import build_config, build_random
from samtune.models.registry import ModelSpec, require_there
from samtune.parsing import read_json

ASSETS = Path(__file__).parent.parent / "assets"


def from_registry(spec: ModelSpec, checkpoint: str) -> tuple[Any, bool]:
    family = FAMILIES[spec.family]
    family.require()
    if checkpoint:
        _check_hash(Path(checkpoint), spec)
        return _from_file(Path(checkpoint), spec), False
    if spec.origin == "random":
        return build_random(spec), True
    if spec.origin == "bundled":
        return _from_file(ASSETS / f"{spec.name}.safetensors", spec), False
    if not spec.hub_id:
        raise UserError(f"{spec.name} is on no hub: download {spec.url} and pass it as checkpoint=")
    advice = f"download {spec.url} and pass it as checkpoint="
    network = _load_pretrained(family, spec.hub_id, advice if spec.url else "check the network")
    set_decoder_eps(network, OFFICIAL_DECODER_EPS)
    return network, False


def _check_hash(path: Path, spec: ModelSpec) -> None:
    """A file under the official name must be the official file."""
    if not path.is_file() or not spec.sha256 or path.name != spec.url.rpartition("/")[2]:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != spec.sha256:
        raise UserError(
            f"{path} has sha256 {found}, but the official file of that name has {spec.sha256}: it is "
            "damaged or changed; download it again, or rename it if it is your own"
        )


def from_elsewhere(source: str) -> Any:
    path = Path(source)
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path, None)
    require_there(source)
    return from_pretrained(source, "check the name, the network or your access token")


def _from_folder(path: Path) -> Any:
    config_file = path / "config.json"
    if not config_file.exists():
        raise UserError(
            f"{path} is no model: it holds neither adapter/ (a run), adapter_config.json (an "
            "adapter) nor config.json (a transformers model)"
        )
    config = read_json(config_file)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if family_of_type(kind) is None:
        raise UserError(
            f"{config_file} describes a '{kind}' model; expected a model_type of {known_types()}"
        )
    return from_pretrained(str(path), "its weights must be complete")


def from_pretrained(name: str, advice: str) -> Any:
    """transformers' loading, but an incomplete or surplus weight is an error, not a warning."""
    try:
        config = PreTrainedConfig.get_config_dict(name)[0]
        kind = config.get("model_type")
    except Exception as error:  # transformers raises whatever the bytes make it do
        raise UserError(f"'{name}' cannot be loaded ({first_line(error)}); {advice}") from error
    require_known_attention(config, name)
    family = family_of_type(kind)
    if family is None:
        raise UserError(f"'{name}' is a '{kind}' model; expected a model_type of {known_types()}")
    family.require()
    return _load_pretrained(family, name, advice)


def _load_pretrained(family: type[Family], name: str, advice: str) -> Any:
    try:
        network, info = family.network_class.from_pretrained(name, output_loading_info=True)
    except Exception as error:  # transformers raises whatever the bytes make it do
        raise UserError(f"'{name}' cannot be loaded ({first_line(error)}); {advice}") from error
    problems = {
        kind: sorted(str(key) for key in info[kind])
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info.get(kind)
    }
    if problems:
        listed = "; ".join(f"{kind}: {', '.join(keys[:3])}" for kind, keys in problems.items())
        raise UserError(
            f"the weights of '{name}' do not fit a {family.name} model ({listed}); {advice}"
        )
    return network


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors from a `.pth`/`.pt`/`.bin` (weights only, never code) or `.safetensors` file.

    Raises:
        UserError: the file is missing, truncated, or holds something else than tensors.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both loaders raise whatever the bytes make them do
        raise UserError(
            f"{path} cannot be read as weights ({first_line(error)}): it is truncated, or no checkpoint"
        ) from error
    for wrapper in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict; expected segment_anything's layout")
    return state


def _from_file(path: Path, spec: ModelSpec | None) -> Any:
    state = {key: value.float() for key, value in read_weights(path).items()}
    family = family_of_official(state)
    if family is not None:
        if spec is not None and spec.family != family.name:
            raise UserError(f"{path} is not a {spec.name}: it holds a {family.name} model")
        network = family.from_official(state, str(path))
        if spec is not None:
            _check_is(network, spec, path)
        return network
    if spec is None:
        raise UserError(
            f"{path} is no official checkpoint of a SAM; for transformers' weights give the folder "
            "that also holds config.json"
        )
    network_class = FAMILIES[spec.family].network_class
    return made_of(network_class, build_config(spec), state, str(path))


def _check_is(network: Any, spec: ModelSpec, path: Path) -> None:
    """A ViT-L file under the name `vit_b` is a mistake, even though its layout could be read."""
    found, expected = network.config.vision_config, build_config(spec).vision_config
    for part in (found, getattr(found, "backbone_config", None)):
        other = expected if part is found else getattr(expected, "backbone_config", None)
        for name in ("hidden_size", "num_hidden_layers", "blocks_per_stage"):
            if getattr(part, name, None) != getattr(other, name, None):
                raise UserError(
                    f"{path} is not a {spec.name}: its encoder has {name} {getattr(part, name)} "
                    f"instead of {getattr(other, name)}"
                )


def set_decoder_eps(network: Any, eps: float) -> None:
    """Set the eps of the decoder's transformer norms, where transformers makes it a setting."""
    config = network.config.mask_decoder_config
    if not hasattr(config, "layer_norm_eps"):
        return
    config.layer_norm_eps = eps
    for block in network.mask_decoder.transformer.layers:
        for number in range(1, 5):
            getattr(block, f"layer_norm{number}").eps = eps


def require_numbers(weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse weights among which something is NaN or infinite: no answer would be worth anything.

    Raises:
        UserError: there are such weights.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(
                f"the weights of {source} hold NaN or infinite values, in {name}: the training that "
                "made them has failed, or the file is damaged"
            )


def weights_sha256(network: nn.Module) -> str:
    """Hash over names and bytes of all weights, the same on every machine."""
    return tensors_sha256(network.state_dict())


def tensors_sha256(tensors: Mapping[str, Tensor], start: str = "") -> str:
    """Hash over `start`, and over names and bytes of tensors in the order of their names."""
    digest = hashlib.sha256(start.encode())
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

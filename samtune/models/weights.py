"""Plain networks from wherever their weights are: the hub, a folder, a file, or nothing at all."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import SamModel

from samtune.errors import UserError
from samtune.files import read_json
from samtune.models.conversion import (
    OFFICIAL_DECODER_EPS,
    build_from_official,
    is_official,
    load_strictly,
)
from samtune.models.initialise import build_config, build_random
from samtune.models.registry import REGISTRY, ModelSpec

ASSETS = Path(__file__).parent.parent / "assets"
_WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


def from_registry(spec: ModelSpec, checkpoint: str) -> tuple[SamModel, bool]:
    if checkpoint:
        _check_hash(Path(checkpoint), spec)
        return _from_file(Path(checkpoint), spec), False
    if spec.origin == "random":
        return build_random(spec), True
    if spec.origin == "bundled":
        return _from_file(ASSETS / f"{spec.name}.safetensors", spec), False
    network = from_pretrained(spec.hub_id, f"download {spec.url} and pass it as checkpoint=")
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


def from_elsewhere(source: str) -> SamModel:
    path = Path(source)
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path, None)
    if path.suffix in (*_WEIGHT_SUFFIXES, ".ckpt") or source.count("/") != 1 or source[0] in "./~":
        raise UserError(
            f"there is no model '{source}': it is neither a registry name "
            f"({', '.join(REGISTRY)}) nor an existing file or folder"
        )
    return from_pretrained(source, "check the name, the network or your access token")


def _from_folder(path: Path) -> SamModel:
    config_file = path / "config.json"
    if not config_file.exists():
        raise UserError(
            f"{path} is no model: it holds neither adapter/ (a run), adapter_config.json (an "
            "adapter) nor config.json (a transformers model)"
        )
    config = read_json(config_file)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "sam":
        raise UserError(f"{config_file} describes a '{kind}' model; expected model_type 'sam'")
    return from_pretrained(str(path), "its weights must be complete")


def from_pretrained(name: str, advice: str) -> SamModel:
    """transformers' loading, but an incomplete or surplus weight is an error, not a warning."""
    try:
        network, info = SamModel.from_pretrained(name, output_loading_info=True)
    except Exception as error:  # transformers raises whatever the bytes make it do
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"'{name}' cannot be loaded ({reason}); {advice}") from error
    problems = {
        kind: sorted(str(key) for key in info[kind])
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info.get(kind)
    }
    if problems:
        listed = "; ".join(f"{kind}: {', '.join(keys[:3])}" for kind, keys in problems.items())
        raise UserError(f"the weights of '{name}' do not fit a SAM ({listed}); {advice}")
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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path} cannot be read as weights ({reason}): it is truncated, or no checkpoint"
        ) from error
    for wrapper in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict; expected segment_anything's layout")
    return state


def _from_file(path: Path, spec: ModelSpec | None) -> SamModel:
    state = {key: value.float() for key, value in read_weights(path).items()}
    if is_official(state):
        network = build_from_official(state, str(path))
        if spec is not None:
            _check_is(network, spec, path)
        return network
    if spec is None:
        raise UserError(
            f"{path} is no official SAM checkpoint (no "
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix); for transformers' "
            "weights give the folder that also holds config.json"
        )
    network = SamModel(build_config(spec))
    load_strictly(network, state, str(path))
    return network


def _check_is(network: SamModel, spec: ModelSpec, path: Path) -> None:
    """A ViT-L file under the name `vit_b` is a mistake, even though its layout could be read."""
    found, expected = network.config.vision_config, build_config(spec).vision_config
    for name in ("hidden_size", "num_hidden_layers"):
        if getattr(found, name) != getattr(expected, name):
            raise UserError(
                f"{path} is not a {spec.name}: its encoder has {name} {getattr(found, name)} "
                f"instead of {getattr(expected, name)}"
            )


def set_decoder_eps(network: SamModel, eps: float) -> None:
    """Set the eps of the decoder's transformer norms, in its layers and in its config."""
    network.config.mask_decoder_config.layer_norm_eps = eps
    for block in network.mask_decoder.transformer.layers:
        for number in range(1, 5):
            getattr(block, f"layer_norm{number}").eps = eps


def weights_sha256(network: SamModel) -> str:
    """Hash over names and bytes of all weights, the same on every machine."""
    return tensors_sha256(network.state_dict())


def tensors_sha256(tensors: Mapping[str, Tensor], start: str = "") -> str:
    """Hash over `start`, and over names and bytes of tensors in the order of their names."""
    digest = hashlib.sha256(start.encode())
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

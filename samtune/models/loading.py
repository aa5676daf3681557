"""`load_model(x)`: whatever a person has of SAM, base or tuned, becomes a `Sam`.

registry name    "vit_b", "nano"; with `checkpoint=` the weights come from that file
run folder       what `samtune fit` wrote: its best adapter on its base
adapter folder   PEFT's, with samtune.json beside adapter_config.json or without
checkpoint       `*.ckpt` of a run: that very step
folder           transformers' `save_pretrained`
official file    segment_anything's `.pth`, strictly, any name
hub id           "facebook/sam-vit-base"
"""

import hashlib
import pickle
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import SamModel

from samtune.errors import UserError
from samtune.files import read_json
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.conversion import (
    OFFICIAL_DECODER_EPS,
    build_from_official,
    is_official,
    load_strictly,
)
from samtune.models.initialise import build_config, build_random
from samtune.models.lora import LoraSettings, merge, prepare_for_training
from samtune.models.registry import REGISTRY, ModelSpec
from samtune.models.resolution import set_image_size

METADATA_FILE = "samtune.json"
ASSETS = Path(__file__).parent.parent / "assets"
_WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


def load_model(
    source: str | Path,
    checkpoint: str | Path | None = None,
    image_size: int | None = None,
    device: str | torch.device = "cpu",
) -> Sam:
    """Load a SAM, base or tuned, in evaluation mode.

    Args:
        source: see the table at the top of this module.
        checkpoint: official weights for a registry name, instead of a download.
        image_size: side of the square input; without it the model's own.
        device: where to put it.

    Raises:
        UserError: nothing of that name or at that path, or its contents do not fit.
    """
    sam = _load(str(source), str(checkpoint or ""), image_size)
    return sam.to(device).eval()


def _load(source: str, checkpoint: str, image_size: int | None) -> Sam:
    path = Path(source)
    if source not in REGISTRY and path.exists():
        if checkpoint:
            raise UserError(f"checkpoint={checkpoint} goes with a registry name, not with {source}")
        if path.suffix == ".ckpt":
            return _load_step(path)
        if (tuned := find_tuned(path)) is not None:
            return _load_tuned(tuned, image_size)
    return _load_base(source, checkpoint, image_size)


def _load_base(source: str, checkpoint: str, image_size: int | None) -> Sam:
    is_random = False
    if source in REGISTRY:
        spec = REGISTRY[source]
        network, is_random = _from_registry(spec, checkpoint)
    else:
        network = _from_elsewhere(source)
    if image_size:
        set_image_size(network, image_size)
    side = int(network.config.vision_config.image_size)
    identity = BaseIdentity(source, checkpoint, side, weights_sha256(network), is_random)
    return Sam(network, identity)


def _from_registry(spec: ModelSpec, checkpoint: str) -> tuple[SamModel, bool]:
    if checkpoint:
        return _from_file(Path(checkpoint), spec), False
    if spec.is_bundled:
        weights = ASSETS / f"{spec.name}.safetensors"
        if weights.exists():
            return _from_file(weights, spec), False
        return build_random(spec), True
    network = _from_pretrained(spec.hub_id, f"download {spec.url} and pass it as checkpoint=")
    set_decoder_eps(network, OFFICIAL_DECODER_EPS)
    return network, False


def _from_elsewhere(source: str) -> SamModel:
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
    return _from_pretrained(source, "check the name, the network or your access token")


def _from_folder(path: Path) -> SamModel:
    config_file = path / "config.json"
    if not config_file.exists():
        raise UserError(
            f"{path} is no model: it holds neither adapter/ (a run), adapter_config.json (an "
            "adapter) nor config.json (a transformers model)"
        )
    kind = read_json(config_file).get("model_type")
    if kind != "sam":
        raise UserError(f"{config_file} describes a '{kind}' model; expected model_type 'sam'")
    return _from_pretrained(str(path), "its weights must be complete")


def _from_pretrained(name: str, advice: str) -> SamModel:
    """transformers' loading, but an incomplete or surplus weight is an error, not a warning."""
    try:
        network, info = SamModel.from_pretrained(name, output_loading_info=True)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0]
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
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
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
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def find_tuned(path: Path) -> Path | None:
    """The folder with tuned weights in a run or adapter folder; `None` if there are none."""
    for folder in (path / "adapter", path / "model", path):
        is_adapter = (folder / "adapter_config.json").exists()
        if is_adapter or (folder / METADATA_FILE).exists():
            return folder
    return None


def _read_metadata(folder: Path) -> dict[str, Any]:
    if (folder / METADATA_FILE).exists():
        metadata: dict[str, Any] = read_json(folder / METADATA_FILE)
        return metadata
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not base:
        raise UserError(
            f"{folder}/adapter_config.json names no base model: set base_model_name_or_path"
        )
    return {"base": {"name": base, "checkpoint": "", "image_size": None, "sha256": ""}}


def _load_tuned(folder: Path, image_size: int | None) -> Sam:
    metadata = _read_metadata(folder)
    trained_size = metadata["base"]["image_size"]
    if image_size and trained_size and image_size != trained_size:
        raise UserError(
            f"{folder} was trained at image size {trained_size}, not {image_size}: tune again, or "
            "leave image_size out"
        )
    if not (folder / "adapter_config.json").exists():
        identity = BaseIdentity(**metadata["base"])
        return _with_settings(Sam(_from_pretrained(str(folder), "tune again"), identity), metadata)
    sam = load_base(metadata["base"], str(folder))
    try:
        sam.network = PeftModel.from_pretrained(sam.core, folder)
    except (SafetensorError, RuntimeError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the adapter in {folder} cannot be loaded ({reason})") from error
    return _with_settings(sam, metadata)


def load_start(source: str, checkpoint: str = "", image_size: int | None = None) -> Sam:
    """Load a plain network to tune: a base, or a tuned model with its adapter merged.

    A tuned model is a base of its own then: what is trained next is compared with it.
    """
    sam = _load(source, checkpoint, image_size)
    if source in REGISTRY or not Path(source).exists():
        return sam
    merge(sam)
    identity = BaseIdentity(source, checkpoint, sam.image_size, weights_sha256(sam.core))
    return Sam(sam.core, identity)


def load_base(base: dict[str, Any], wanted_by: str) -> Sam:
    """Load the base that a tuned model was made from, and make sure that it is the same one.

    Raises:
        UserError: the weights differ from those that were tuned.
    """
    sam = load_start(base["name"], base["checkpoint"], base["image_size"])
    if base["sha256"] and sam.base.sha256 != base["sha256"]:
        raise UserError(
            f"{wanted_by} was trained on a base '{base['name']}' with other weights (sha256 "
            f"{base['sha256'][:12]}..., found {sam.base.sha256[:12]}...): give it the same base"
        )
    return sam


def _load_step(path: Path) -> Sam:
    """Rebuild the network of one training step from a run's checkpoint."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        recipe, state = content["samtune"], content["state_dict"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, KeyError) as error:
        raise UserError(f"{path} is no checkpoint of samtune, or is truncated") from error
    sam = load_base(recipe["base"], str(path))
    prepare_for_training(
        sam, recipe["mode"], LoraSettings(**recipe["lora"]), recipe["decoder"],
        recipe["with_prompt_encoder"],
    )  # fmt: skip
    load_trained(sam, state, str(path))
    return _with_settings(sam, recipe)


def load_trained(sam: Sam, state: dict[str, Tensor], source: str) -> None:
    """Load exactly the trainable parameters, named as in `sam` with a leading `sam.`.

    Raises:
        UserError: a trained parameter is missing, surplus or misshapen.
    """
    trained = {f"sam.{name}": p for name, p in sam.named_parameters() if p.requires_grad}
    wrong = [k for k in trained.keys() & state.keys() if trained[k].shape != state[k].shape]
    wrong += sorted(trained.keys() ^ state.keys())
    if wrong:
        raise UserError(
            f"{source} does not fit these settings: {len(wrong)} parameters differ, such as "
            f"{wrong[0]}; rank, placement and mode must be those of the run"
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state[name])


def _with_settings(sam: Sam, metadata: dict[str, Any]) -> Sam:
    sam.stretch = metadata.get("stretch", sam.stretch)
    sam.bands = metadata.get("bands", sam.bands)
    sam.with_multimask = metadata.get("with_multimask", sam.with_multimask)
    return sam


def describe(sam: Sam) -> dict[str, Any]:
    """What a tuned model's folder says of it in `samtune.json`."""
    return {
        "format": 1,
        "base": asdict(sam.base),
        "stretch": sam.stretch,
        "bands": sam.bands,
        "with_multimask": sam.with_multimask,
    }


def _build_sam(name: str, checkpoint: str | Path | None = None) -> Sam:
    return load_model(name, checkpoint=checkpoint)


# segment_anything's registry: `sam_model_registry["vit_b"](checkpoint="sam_vit_b_01ec64.pth")`.
sam_model_registry = {name: partial(_build_sam, name) for name in REGISTRY}
sam_model_registry["default"] = sam_model_registry["vit_h"]

"""`load_model(x)`: whatever a person has of SAM, base or tuned, becomes a `Sam`.

registry name    "vit_b", "nano"; with `checkpoint=` the weights come from that file
run folder       what `samtune fit` wrote: its best adapter on its base, and what sharpens its masks
adapter folder   PEFT's, nothing besides, with samtune.json beside adapter_config.json or without
checkpoint       `*.ckpt` of a run: that very step
folder           transformers' `save_pretrained`, or heads alone with the name of their base
official file    segment_anything's `.pth`, strictly, any name
hub id           "facebook/sam-vit-base"
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from torch import Tensor

from samtune.errors import UserError
from samtune.heads.instances import InstanceHead
from samtune.heads.saving import HEADS_FOLDER, read_heads
from samtune.models.adapters import add_adapter
from samtune.models.backend import Sam
from samtune.models.calibration import load_calibration
from samtune.models.families.table import find_family
from samtune.models.identity import BaseIdentity
from samtune.models.lora import merge, prepare_for_training
from samtune.models.mask_thresholds import load_thresholds
from samtune.models.metadata import BASE_FOLDER, find_tuned, read_metadata, with_settings
from samtune.models.registry import REGISTRY
from samtune.models.settings import LoraSettings
from samtune.models.sharpening.network import Sharpener
from samtune.models.sharpening.saving import (
    read_object_sharpener,
    read_sharpener,
    sharpener_sha256,
    shipped_sharpener,
)
from samtune.models.weights import (
    from_elsewhere,
    from_pretrained,
    from_registry,
    require_numbers,
    tensors_sha256,
    weights_sha256,
)


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
            return _load_step(path, image_size)
        if (tuned := find_tuned(path)) is not None:
            sam = _load_tuned(tuned, image_size)
            if tuned != path:  # a run, and not the weights alone
                sam.sharpener = read_sharpener(path, lambda: tuned_weights_sha256(sam))
            return sam
    return _load_base(source, checkpoint, image_size)


def _load_base(source: str, checkpoint: str, image_size: int | None) -> Sam:
    is_random = False
    if checkpoint and source not in REGISTRY:
        raise UserError(f"checkpoint={checkpoint} goes with a registry name, not with {source}")
    if source in REGISTRY:
        spec = REGISTRY[source]
        network, is_random = from_registry(spec, checkpoint)
    else:
        network = from_elsewhere(source)
    require_numbers(network.state_dict(), checkpoint or source)
    sha256 = weights_sha256(network)  # interpolation differs in the last bits between processors
    family = find_family(network)
    if image_size and image_size != family.frame.side:
        family.set_image_size(image_size)
    side = family.frame.side
    names = _absolute(source), _absolute(checkpoint)
    sam = Sam(network, BaseIdentity(*names, side, sha256, is_random))
    sam.is_base = True
    sam.base_sharpeners.extend(_sharpeners_of(sam.base))
    return sam


def _sharpeners_of(base: BaseIdentity) -> list[Sharpener]:
    """What sharpens the masks of a base, which stays so where all of its weights are tuned."""
    if base.checkpoint:
        return []
    if base.name in REGISTRY:
        return [shipped_sharpener()] if REGISTRY[base.name].origin == "bundled" else []
    path = Path(base.name)
    return load_start(base.name).sharpeners if path.exists() and _is_tuned(path) else []


def _absolute(source: str) -> str:
    """Paths as they can be found from anywhere; names stay."""
    if not source or source in REGISTRY or not Path(source).exists():
        return source
    return str(Path(source).resolve())


def _load_tuned(folder: Path, image_size: int | None) -> Sam:
    metadata = read_metadata(folder)
    trained_size = metadata["base"]["image_size"]
    _require_size(folder, trained_size, image_size)
    metadata["base"]["image_size"] = trained_size or image_size
    if metadata["base"]["name"] == BASE_FOLDER and (folder / BASE_FOLDER).is_dir():
        metadata["base"]["name"] = str(folder / BASE_FOLDER)
    if (folder / "adapter_config.json").exists():
        sam = load_base(metadata["base"], str(folder))
        add_adapter(sam, folder)
    elif (folder / "config.json").exists():
        identity = BaseIdentity(**metadata["base"])
        sam = Sam(from_pretrained(str(folder), "tune again"), identity)
        require_numbers(sam.core.state_dict(), folder)
        sam.base_sharpeners.extend(_sharpeners_of(identity))
    else:  # heads on a plain base
        sam = load_base(metadata["base"], str(folder))
    sam.calibration = load_calibration(folder)
    sam.thresholds = load_thresholds(folder)
    if (folder / HEADS_FOLDER).is_dir():
        sam.heads.update(read_heads(folder, sam.encoded))
        sam.object_sharpener = read_object_sharpener(folder / HEADS_FOLDER / InstanceHead.name)
    return with_settings(sam, metadata)


def _require_size(path: Path, trained_size: int | None, image_size: int | None) -> None:
    if image_size and trained_size and image_size != trained_size:
        raise UserError(
            f"{path} was trained at image size {trained_size}, not {image_size}: tune again, or "
            "leave image_size out"
        )


def load_start(source: str, checkpoint: str = "", image_size: int | None = None) -> Sam:
    """Load a plain network to tune: a base, or a tuned model with its adapter merged.

    A tuned model is a base of its own then, with all that sharpens its masks: what is trained next is
    compared with it.
    """
    sam = _load(source, checkpoint, image_size)
    if source in REGISTRY or not _is_tuned(Path(source)):
        return sam
    sha256 = tuned_weights_sha256(sam)
    merge(sam)
    start = Sam(sam.core, BaseIdentity(_absolute(source), "", sam.image_size, sha256))
    start.base_sharpeners.extend(sam.sharpeners)
    return start


def names_of_heads(source: str) -> list[str]:
    """The heads that lie beside what `load_model` would load; of a base none."""
    tuned = None if source in REGISTRY else find_tuned(Path(source))
    places = [] if tuned is None else (tuned / HEADS_FOLDER).glob("*/head.json")
    return sorted(place.parent.name for place in places)


def _is_tuned(path: Path) -> bool:
    return path.suffix == ".ckpt" or find_tuned(path) is not None


def tuned_sha256(sam: Sam) -> str:
    """Of all that answers to prompts depend on: the weights, and what sharpens masks."""
    weights = tuned_weights_sha256(sam)
    if not sam.sharpeners:
        return weights
    parts = " ".join([weights, *map(sharpener_sha256, sam.sharpeners)])
    return hashlib.sha256(parts.encode()).hexdigest()


def tuned_weights_sha256(sam: Sam) -> str:
    """Of all weights that a network computes with, tuned or not.

    Of base and adapter apart, for merging differs in the last bits between processors.
    """
    if not isinstance(sam.network, PeftModel):
        return weights_sha256(sam.core)
    adapter = get_peft_model_state_dict(sam.network, save_embedding_layers=False)
    # the same tensors are merged to other weights with another scale
    scales = [
        (config.r, config.lora_alpha, config.use_rslora, config.use_dora)
        for config in sam.network.peft_config.values()
        if isinstance(config, LoraConfig)
    ]
    return tensors_sha256(adapter, f"{sam.base.sha256} {scales}")


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


def _load_step(path: Path, image_size: int | None) -> Sam:
    """Rebuild the network of one training step from a run's checkpoint."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        recipe, state = content["samtune"], content["state_dict"]
        trained_size = recipe["base"]["image_size"]
    except Exception as error:  # torch.load raises whatever the bytes make it do
        raise UserError(f"{path} is no checkpoint of samtune, or is truncated") from error
    if "head" in content:
        raise UserError(
            f"{path} is a moment in the training of a head: give the folder of its run, which holds "
            "what was kept"
        )
    _require_size(path, trained_size, image_size)
    sam = load_base(recipe["base"], str(path))
    prepare_for_training(
        sam, recipe["mode"], LoraSettings(**recipe["lora"]), recipe["decoder"],
        recipe["with_prompt_encoder"],
    )  # fmt: skip
    load_trained(sam, state, str(path))
    return with_settings(sam, recipe)


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
    require_numbers(state, source)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state[name])


def _build_sam(name: str, checkpoint: str | Path | None = None) -> Sam:
    return load_model(name, checkpoint=checkpoint)


# segment_anything's registry: `sam_model_registry["vit_b"](checkpoint="sam_vit_b_01ec64.pth")`.
sam_model_registry = {name: partial(_build_sam, name) for name in REGISTRY}
sam_model_registry["default"] = sam_model_registry["vit_h"]

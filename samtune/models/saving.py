"""Writing tuned models: PEFT adapter folders, transformers folders, official `.pth` files."""

from pathlib import Path

import torch
from peft import PeftModel

from samtune.errors import UserError
from samtune.files import replacing_file, replacing_folder, write_json
from samtune.heads.instances import InstanceHead
from samtune.heads.saving import HEADS_FOLDER, write_heads
from samtune.models.backend import Sam
from samtune.models.loading import tuned_weights_sha256
from samtune.models.metadata import METADATA_FILE, describe
from samtune.models.registry import REGISTRY
from samtune.models.sharpening.saving import (
    remove_sharpener,
    write_object_sharpener,
    write_sharpener,
)


def save_tuned(sam: Sam, run: str | Path) -> Path:
    """Save what was trained: `run/adapter` (PEFT), or `run/model` after training everything.

    Heads lie beside the weights. Of a plain base with heads, `run/model` says which base it is.

    The adapter folder also loads without samtune:
    `PeftModel.from_pretrained(SamModel.from_pretrained(base), path)`.

    Returns:
        The folder written.
    """
    if not isinstance(sam.network, PeftModel) and not sam.is_base:
        return save_transformers(sam, Path(run) / "model", with_metadata=True)
    folder = Path(run) / ("model" if sam.is_base else "adapter")
    with replacing_folder(folder) as temporary:
        if not sam.is_base:
            write_adapter(sam, temporary)
        write_beside(sam, temporary)
        # what was fitted to weights goes with them where heads alone were trained
        for fitted in (sam.calibration, sam.thresholds):
            if fitted is not None and len(sam.heads):
                fitted.save(temporary)
    return folder


def save_run(sam: Sam, run: str | Path) -> Path:
    """Save what was trained, and beside it what sharpens its masks, if anything does.

    Returns:
        The folder of the weights.
    """
    remove_sharpener(Path(run))  # of weights that were there before
    folder = save_tuned(sam, run)
    if sam.sharpener is not None and sam.sharpener.settings.amount > 0:
        write_sharpener(sam.sharpener, Path(run), tuned_weights_sha256(sam))
    return folder


def write_beside(sam: Sam, folder: Path) -> None:
    """Write what only samtune reads beside the weights: what the model is, and its heads."""
    write_json(folder / METADATA_FILE, describe(sam))
    write_heads(dict(sam.heads.items()), folder)
    if InstanceHead.name in sam.heads and sam.object_sharpener is not None:
        write_object_sharpener(sam.object_sharpener, folder / HEADS_FOLDER / InstanceHead.name)


def write_adapter(sam: Sam, folder: Path) -> None:
    """Write PEFT's files of an adapted network into a folder."""
    spec = REGISTRY.get(sam.base.name)
    name = sam.base.checkpoint or (spec.hub_id if spec and spec.hub_id else sam.base.name)
    for config in sam.network.peft_config.values():
        config.base_model_name_or_path = name
    sam.network.save_pretrained(str(folder), save_embedding_layers=False)
    # a form that nobody has filled in; an export writes a card of its own
    (folder / "README.md").unlink(missing_ok=True)


def save_transformers(sam: Sam, folder: str | Path, with_metadata: bool = False) -> Path:
    """Save a plain network as a transformers folder; its config carries the decoder eps.

    Raises:
        UserError: the network still has an adapter: merge it first.
    """
    if sam.is_adapted:
        raise UserError("the network has an adapter: merge it before saving it as a plain model")
    place = Path(folder)
    with replacing_folder(place) as temporary:
        sam.core.save_pretrained(str(temporary))
        if with_metadata:
            write_beside(sam, temporary)
    return place


def save_official(sam: Sam, path: str | Path) -> None:
    """Save a plain network as its authors' file, tensors under their names.

    Raises:
        UserError: the network still has an adapter: merge it first; or its authors have no layout of
            their own.
    """
    if sam.is_adapted:
        raise UserError("the network has an adapter: merge it before saving it as a plain model")
    state = sam.family.to_official()
    with replacing_file(Path(path)) as temporary:
        torch.save(sam.family.official_file(state), temporary)

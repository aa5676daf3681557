"""What is trained, and where: LoRA in the encoder and decoder, or whole parts.

Adapters are plain PEFT. Parts that are trained whole (`decoder: full`) are PEFT's
`modules_to_save`: they travel in the adapter folder, and turning the adapter off brings the base's
own part back.
"""

import re
from copy import deepcopy

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.families.base import Family
from samtune.models.settings import DecoderMode, LoraSettings, Mode

PARTS = ("vision_encoder", "prompt_encoder", "mask_decoder")
_DECODER_LINEARS = (
    r"mask_decoder\.(.*\.(q_proj|k_proj|v_proj|out_proj|o_proj|lin1|lin2|proj_in|proj_out)"
    r"|(output_hypernetworks_mlps\.\d+|\w+_(head|mlp))\.layers\.\d+)"
)


def encoder_target(settings: LoraSettings, family: type[Family], num_layers: int) -> str:
    """Regular expression for the encoder layers that get LoRA; empty for none.

    Args:
        settings: which blocks, which layers of them.
        family: says where they are.
        num_layers: blocks of the encoder.

    Raises:
        UserError: `last_blocks` is outside 1 to the number of blocks.
    """
    if settings.encoder == "none":
        return ""
    if settings.targets not in family.lora_layers:
        raise UserError(
            f"the encoder of {family.name} models has no layers for LoRA ({settings.targets}): set "
            "lora.encoder to none, or mode to decoder or full"
        )
    blocks = range(num_layers)
    if settings.encoder == "last":
        if not 1 <= settings.last_blocks <= num_layers:
            raise UserError(
                f"lora.last_blocks is {settings.last_blocks}, but the encoder has {num_layers} "
                f"blocks: give a number from 1 to {num_layers}"
            )
        blocks = blocks[-settings.last_blocks :]
    numbers = "|".join(str(number) for number in blocks)
    return rf"{family.blocks_path}\.({numbers})\.{family.lora_layers[settings.targets]}"


def _lora_config(settings: LoraSettings, targets: list[str], whole_parts: list[str]) -> LoraConfig:
    if settings.rank < 1:
        raise UserError(f"lora.rank is {settings.rank}: give a whole number from 1 up")
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_dora=settings.with_dora,
        use_rslora=settings.with_rslora,
        target_modules="|".join(f"({t})" for t in targets) if targets else DUMMY_TARGET_MODULES,
        modules_to_save=whole_parts or None,
    )


def prepare_for_training(
    sam: Sam,
    mode: Mode,
    lora: LoraSettings,
    decoder: DecoderMode = "full",
    with_prompt_encoder: bool = False,
) -> None:
    """Freeze `sam` except what is to be trained, adding adapter layers in place.

    Args:
        sam: a base model without an adapter.
        mode: `lora` as the settings say; `decoder` trains the whole mask decoder and nothing else;
            `full` trains everything except the positional matrix.
        lora: kind and place of the LoRA layers.
        decoder: what happens to the mask decoder in mode `lora`.
        with_prompt_encoder: train the prompt encoder's own weights too.

    Raises:
        UserError: the settings leave nothing to train.
    """
    network = sam.network
    assert not isinstance(network, PeftModel), "an adapter is already there"
    sam.is_base = False
    if mode == "full":
        network.requires_grad_(True)
    else:
        decoder = "full" if mode == "decoder" else decoder
        family = sam.family
        target = encoder_target(lora, type(family), len(family.blocks)) if mode == "lora" else ""
        targets = [target] if target else []
        targets += [_DECODER_LINEARS] if decoder == "lora" else []
        whole = ["mask_decoder"] if decoder == "full" else []
        whole += ["prompt_encoder"] if with_prompt_encoder else []
        if not targets and not whole:
            raise UserError(
                "nothing would be trained: lora.encoder is 'none' and decoder is 'frozen'; "
                "set one of them otherwise"
            )
        sam.network = get_peft_model(network, _lora_config(lora, targets, whole))
    _freeze_positional_matrix(sam.network)


def _freeze_positional_matrix(network: nn.Module) -> None:
    """A buffer in the official code: if it moved, every prompt would lose its place."""
    for name, parameter in network.named_parameters():
        if name.endswith("positional_embedding"):
            parameter.requires_grad_(False)


@torch.no_grad()
def go_on_from(sam: Sam, tuned: Sam) -> None:
    """Take over what was trained of another network, at the strength that it has there.

    Args:
        sam: prepared for training.
        tuned: on the same base, with the same parts trained.

    Raises:
        UserError: it is on another base, or other parts of it were trained.
    """
    if tuned.base.sha256 != sam.base.sha256:
        raise UserError(
            f"the run to go on from is on the base '{tuned.base.name}', not on '{sam.base.name}'"
        )
    found = dict(tuned.named_parameters())
    for name, parameter in sam.named_parameters():
        if not parameter.requires_grad:
            continue
        if name not in found or found[name].shape != parameter.shape:
            raise UserError(
                f"the run to go on from has no {name} of this shape: mode, rank and place of what is "
                "trained must be those of that run"
            )
        parameter.copy_(found[name])
        layer, _, adapter = name.partition(".lora_B.")
        if adapter:  # a strength that was chosen lies in the scale of its layers
            key = adapter.partition(".")[0]
            parameter.mul_(_scaling(tuned, layer, key) / _scaling(sam, layer, key))


def _scaling(sam: Sam, layer: str, adapter: str) -> float:
    found = sam.get_submodule(layer)
    assert isinstance(found, LoraLayer)
    return float(found.scaling[adapter])


def base_beside(sam: Sam) -> Sam:
    """The base of an adapted network, to be asked while that one learns.

    All weights are those of the network itself, so that it takes no memory; only the switches that
    turn the adapter off are its own. It answers as in use, never as in training.
    """
    shared = {id(tensor): tensor for tensor in (*sam.parameters(), *sam.buffers())}
    # PEFT makes trainable or not what it turns on and off, and the weights are shared
    trainable = [(parameter, parameter.requires_grad) for parameter in sam.parameters()]
    base = deepcopy(sam, shared).eval()
    assert isinstance(base.network, PeftModel), "there is an adapter to turn off"
    base.network.base_model.disable_adapter_layers()
    for parameter, requires_grad in trainable:
        parameter.requires_grad_(requires_grad)
    return base


def merge(sam: Sam) -> None:
    """Fold the adapter into the weights, in place; the network is plain transformers afterwards."""
    if isinstance(sam.network, PeftModel):
        sam.network = sam.network.merge_and_unload()


def parameters_table(sam: Sam) -> str:
    """Trainable and total parameters by part, as lines for the terminal."""
    rows: dict[str, list[int]] = {part: [0, 0] for part in (*PARTS, "total")}
    seen: set[int] = set()
    for name, parameter in sam.core.named_parameters():
        if id(parameter) in seen or re.search(r"original_module\.", name):
            continue
        seen.add(id(parameter))
        part = next((p for p in PARTS if name.startswith(p)), "prompt_encoder")
        for row in (rows[part], rows["total"]):
            row[0] += parameter.numel() * parameter.requires_grad
            row[1] += parameter.numel()
    lines = [f"{'part':<16}{'trainable':>14}{'total':>14}{'share':>9}"]
    for part, (trainable, total) in rows.items():
        share = trainable / max(total, 1)
        lines.append(f"{part:<16}{trainable:>14,}{total:>14,}{share:>9.2%}")
    return "\n".join(lines)

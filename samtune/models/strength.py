"""How strongly a tuned model differs from its base: 0 is the base, 1 the model as it was tuned.

LoRA updates are multiplied, and so is the sharpener's part in a mask; what was trained whole lies on
the line between the base's weights and the tuned ones (Wortsman et al., arXiv 2109.01903). A smaller
scale gives some of the gain on the new domain back for what was lost elsewhere.
"""

from dataclasses import replace

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from samtune.errors import UserError
from samtune.models.backend import Sam


class TunedScale:
    """Sets the scale of a network, again and again, in place.

    Args:
        sam: a tuned network at scale 1.
        base: what it was made from; asked for only after everything was trained (mode `full`).

    Raises:
        UserError: the adapter is of a kind that cannot be scaled.
    """

    def __init__(self, sam: Sam, base: Sam | None = None) -> None:
        self.sam = sam
        self._layers = [layer for layer in sam.core.modules() if isinstance(layer, LoraLayer)]
        _require_scalable(sam)
        self._amount = 0.0 if sam.sharpener is None else sam.sharpener.settings.amount
        self._lines = _lines(sam, base)

    @torch.no_grad()
    def set(self, scale: float) -> None:
        """Set the scale; 0 or more."""
        for layer in self._layers:
            for adapter in layer.active_adapters:
                layer.set_scale(adapter, scale)
        for parameter, from_base, tuned in self._lines:
            # exact at both ends, which base + scale * (tuned - base) is not
            parameter.copy_(tuned if scale == 1 else torch.lerp(from_base, tuned, scale))
        if self.sam.sharpener is not None:  # beyond all of it there is nothing
            amount = min(1.0, scale * self._amount)
            its = self.sam.sharpener.settings
            self.sam.sharpener.settings = replace(its, amount=amount)

    def settle(self, scale: float) -> None:
        """Set the scale for good: what is saved next loads with it, by PEFT alone too."""
        self.set(scale)
        if isinstance(self.sam.network, PeftModel):
            for config in self.sam.network.peft_config.values():
                if isinstance(config, LoraConfig):
                    config.lora_alpha = config.lora_alpha * scale
                    pattern = config.alpha_pattern or {}
                    config.alpha_pattern = {k: alpha * scale for k, alpha in pattern.items()}


@torch.no_grad()
def undo(sam: Sam) -> None:
    """Let an adapter change nothing, as before its training; also one that has no strengths."""
    for layer in sam.core.modules():
        if isinstance(layer, ModulesToSaveWrapper):
            for name in layer.active_adapters:
                layer.modules_to_save[name].load_state_dict(layer.original_module.state_dict())
        if not isinstance(layer, LoraLayer):
            continue
        for name in layer.active_adapters:
            layer.lora_B[name].weight.zero_()
            if name in layer.lora_magnitude_vector:  # DoRA: lengths of the rows, arXiv 2402.09353
                lengths = layer.lora_magnitude_vector[name].weight
                rows = layer.get_base_layer().weight.flatten(1).norm(dim=1)
                lengths.copy_(rows.reshape(lengths.shape))


def can_be_scaled(sam: Sam) -> bool:
    """Whether a tuned network has strengths between its base and itself."""
    try:
        _require_scalable(sam)
    except UserError:
        return False
    return True


def _require_scalable(sam: Sam) -> None:
    """Only what is a sum with the base's weights has a scale."""
    configs = sam.network.peft_config.values() if isinstance(sam.network, PeftModel) else ()
    for config in configs:
        if not isinstance(config, LoraConfig) or config.use_dora:
            kind = "DoRA" if isinstance(config, LoraConfig) else str(config.peft_type.value)
            raise UserError(f"an adapter with {kind} has no scale: it is no sum with the base")
        if config.bias != "none":
            raise UserError("an adapter with trained biases has no scale: set bias to none")


def _lines(sam: Sam, base: Sam | None) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Parameters that were trained whole: themselves, the base's value, the tuned one."""
    pairs: list[tuple[nn.Module, nn.Module]] = []
    for module in sam.core.modules():
        if isinstance(module, ModulesToSaveWrapper):
            pairs += [
                (module.modules_to_save[a], module.original_module) for a in module.active_adapters
            ]
    if not sam.is_adapted:
        assert base is not None, "after training everything the base is needed"
        pairs.append((sam.core, base.core))
    return [
        (parameter, from_base.detach().clone().to(parameter), parameter.detach().clone())
        for tuned, original in pairs
        for parameter, from_base in zip(tuned.parameters(), original.parameters(), strict=True)
    ]

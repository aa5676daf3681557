"""An adapter on its base, as PEFT keeps both."""

from pathlib import Path

from peft import PeftModel, get_peft_model_state_dict, load_peft_weights
from torch import Tensor

from samtune.errors import UserError, first_line
from samtune.models.backend import Sam
from samtune.models.foreign import require_bounded_patterns
from samtune.models.weights import require_numbers


def add_adapter(sam: Sam, folder: Path) -> None:
    """PEFT's loading, but a missing or surplus tensor is an error, not a warning.

    So is an adapter that writes into the base's own weights (trained biases, some ways to start LoRA):
    with it off, what answers would not be the base.

    Args:
        sam: the plain base; it leaves with the adapter.
        folder: with `adapter_config.json`.

    Raises:
        UserError: it is damaged, does not fit, or changes the base.
    """
    require_bounded_patterns(folder)
    before = [(name, weight, _digest(weight)) for name, weight in sam.core.named_parameters()]
    try:
        found = load_peft_weights(str(folder), device="cpu").keys()
        sam.network = PeftModel.from_pretrained(sam.core, folder)
        sam.is_base = False
    except Exception as error:  # PEFT raises whatever the bytes make it do
        raise UserError(
            f"the adapter in {folder} cannot be loaded ({first_line(error)})"
        ) from error
    expected = get_peft_model_state_dict(sam.network, save_embedding_layers=False).keys()
    if differing := sorted(found ^ expected):
        raise UserError(
            f"the adapter in {folder} does not fit its settings: {len(differing)} tensors are "
            f"missing or surplus, such as {differing[0]}"
        )
    require_numbers(get_peft_model_state_dict(sam.network, save_embedding_layers=False), folder)
    if changed := [name for name, weight, digest in before if _digest(weight) != digest]:
        raise UserError(
            f"the adapter in {folder} changes {len(changed)} weights of the base itself, such as "
            f"{changed[0]}: with it off, the base would not come back. Tune with bias 'none' and the "
            "usual start of LoRA, or merge it by PEFT (merge_and_unload, save_pretrained) and give "
            "that folder"
        )


def _digest(weight: Tensor) -> tuple[float, float]:
    """What a weight that is written into does not keep."""
    values = weight.detach().double()
    return float(values.sum()), float(values.square().sum())

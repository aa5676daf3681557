"""Where in the encoder a weight is, and how far nothing is tuned.

Steps are those of `Sam.encode_until`: the blocks, and what makes image embeddings of the last one.
"""

import re

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper

from samtune.models.backend import Sam


def frozen_depth(sam: Sam) -> int:
    """Leading steps of the encoder that neither an adapter nor training changes.

    -1: not even what stands before the first block.
    """
    changed = [step_of(sam, name) for name, p in sam.core.named_parameters() if p.requires_grad]
    if isinstance(sam.network, PeftModel):
        configs = sam.network.peft_config.values()
        if any(getattr(config, "bias", "none") != "none" for config in configs):
            return -1
        changed += [
            step_of(sam, f"{name}.")
            for name, module in sam.core.named_modules()
            if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)
        ]
    return min(changed, default=sam.depth)


def step_of(sam: Sam, name: str) -> int:
    """The step of the encoder that a parameter belongs to, by any name that ends in its own.

    -1 stands before the first block, `sam.depth` is outside the encoder.
    """
    if match := re.search(rf"\b{sam.family.blocks_path}\.(\d+)\.", name):
        return int(match[1])
    if "vision_encoder." not in name:
        return sam.depth
    return sam.depth - 1 if ".neck." in name else -1


def blocks_after(sam: Sam, name: str) -> int:
    """How many blocks a gradient passes from the decoder to a parameter; 0 outside the encoder."""
    return max(0, sam.depth - 1 - step_of(sam, name))

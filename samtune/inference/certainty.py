"""How certain a model is of the masks that it draws, by what their pixels say.

Where masks are sharpened, this tells right ones from wrong ones better than the predicted IoU on some
sets, and about as well on others (docs/experiments.md, "Which of three masks"). SAM's own logits tell
less of that.
"""

import torch
from torch import Tensor

from samtune.models.backend import Sam


def certainty(sam: Sam, logits: Tensor) -> list[float | None]:
    """Mean of 2p - 1 over the pixels of each mask, where p is the probability that a logit stands for.

    Args:
        sam: who has answered.
        logits: (K, h, w) as a user gets them, see `Viewed.full_logits`.

    Returns:
        K numbers, 0 to 1; 0 of an empty mask. `None` where the model does not sharpen its masks.
    """
    if not sam.sharpeners:
        return [None] * len(logits)
    above = (logits.float() - sam.mask_threshold).clamp(min=0)
    num_pixels = (above > 0).sum((1, 2)).clamp(min=1)
    # tanh of half a logit is 2p - 1
    return [float(each) for each in torch.tanh(above / 2).sum((1, 2)) / num_pixels]

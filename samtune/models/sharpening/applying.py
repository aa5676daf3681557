"""Masks as a sharpener leaves them: the logits as they were, with its own within each object's crop."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samtune.models.sharpening.crops import Crop, crop_around, extent, inputs_of
from samtune.models.sharpening.network import Sharpener
from samtune.types import FloatArray, ImageArray, Prompt, Window


@torch.no_grad()
def sharpened(
    sharpener: Sharpener, image: ImageArray, window: Window, logits: Tensor,
    prompts: Sequence[Prompt],
) -> Tensor:  # fmt: skip
    """Logits of masks, sharper around their objects; where nothing was found they stay.

    Args:
        sharpener: in evaluation mode.
        image: (H, W, 3), as SAM saw it.
        window: of the image, that the logits are of.
        logits: (K, h, w) as they were, at the window's resolution.
        prompts: K, original frame.

    Returns:
        (K, h, w), where `logits` are.
    """
    found = logits.detach().float().cpu().numpy()
    corner = (window.x, window.y)
    crops: dict[int, Crop] = {}
    for number, (prompt, own) in enumerate(zip(prompts, found, strict=True)):
        edges = extent(prompt, own > 0, corner)
        if edges is not None:
            settings = sharpener.settings
            crops[number] = crop_around(edges, settings.ratio, settings.cells)
    if not crops:
        return logits
    inputs = np.stack([
        inputs_of(crop, crop.cut(image), crop.cut(found[n], corner, float(found[n].min())), prompts[n])
        for n, crop in crops.items()
    ])  # fmt: skip
    weight = sharpener.last.weight
    seen = torch.from_numpy(inputs).to(weight)
    answers, features = sharpener(seen)
    shares = sharpener.share(seen, features, answers).tolist()
    result = found.copy()
    for (number, crop), answer, share in zip(crops.items(), answers, shares, strict=True):
        if share > 0:
            _write(result[number], crop, answer.float().cpu().numpy(), window, share)
    return torch.from_numpy(result).to(logits)


def _write(
    logits: FloatArray, crop: Crop, answer: FloatArray, window: Window, share: float
) -> None:
    """Let the logits (h, w) of a window be the sharpener's within a crop, as far as that reaches."""
    part = crop.window(window)
    if part is None:
        return
    rows = slice(part.y - window.y, part.y - window.y + part.height)
    columns = slice(part.x - window.x, part.x - window.x + part.width)
    own = logits[rows, columns]
    logits[rows, columns] = own + share * (crop.spread(answer, part) - own)

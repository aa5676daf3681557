"""Asking a head of a model about a whole image."""

from typing import Any

import numpy as np

from samtune.errors import UserError
from samtune.heads.views import image_maps
from samtune.models.backend import Sam
from samtune.types import FloatArray, ImageArray


def find_head(sam: Sam, name: str) -> Any:
    """A head by its name.

    Raises:
        UserError: the model has none of that name.
    """
    if name not in sam.heads:
        raise UserError(
            f"the model has no head '{name}': train one by samtune fit --model.head {name} with the "
            "model as --base"
        )
    return sam.heads[name]


def maps_of(sam: Sam, head: Any, image: ImageArray, tile: int = -1) -> FloatArray:
    """Activated maps (maps, H, W) of an image, stretched already.

    Args:
        sam: the network.
        head: of it.
        image: (H, W, 3).
        tile: side of the views, pixels; -1 is the head's own.

    Raises:
        UserError: the model answers with NaN.
    """
    found = image_maps(sam.encode_for_heads, head, image, sam.frame, sam.device, tile)
    if not np.isfinite(found).all():
        raise UserError("the head answers with NaN: its weights or the encoder's are damaged")
    return found

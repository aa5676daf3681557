"""Labels that were saved as JPEG or lossy WebP, which change values: only black and white survives."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError

_JPEG, _RIFF, _WEBP_LOSSY = b"\xff\xd8\xff", b"RIFF", b"VP8 "
# Values below are black, above the other are white; what lies between are seams, this share at most
_BLACK, _WHITE, _MOST_BETWEEN = 64, 191, 0.05
# How far channels of what was grey are apart
_MOST_TINT = 32


def is_lossy(beginning: bytes) -> bool:
    """Whether an image file that begins so (16 bytes at least) keeps values only roughly."""
    is_webp = beginning[:4] == _RIFF and beginning[8:12] == b"WEBP"
    return beginning.startswith(_JPEG) or (is_webp and beginning[12:16] == _WEBP_LOSSY)


def black_and_white(pixels: NDArray[Any], name: object) -> NDArray[Any]:
    """(H, W, 1) labels 0 and 255 of a mask that was black and white before it was saved so.

    Args:
        pixels: (H, W, C) as they were decoded.
        name: of the file.

    Raises:
        UserError: it had other values, which cannot be told any more.
    """
    values = pixels.astype(np.int16)
    tint = int((values.max(axis=2) - values.min(axis=2)).max(initial=0))
    grey = values.mean(axis=2)
    between = float(((grey >= _BLACK) & (grey <= _WHITE)).mean()) if grey.size else 0.0
    is_empty = not values.any()
    if not is_empty and (tint > _MOST_TINT or between > _MOST_BETWEEN or grey.max() <= _WHITE):
        raise UserError(
            f"{name} holds labels as JPEG or lossy WebP, which changes their values: save them as PNG "
            "or TIFF (only masks of black and white can be told after that)"
        )
    return np.where(grey > (_BLACK + _WHITE) / 2, 255, 0).astype(np.uint8)[..., None]

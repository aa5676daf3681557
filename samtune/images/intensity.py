"""From values of any kind to 0..255: intensity windows, percentile stretches, ranges."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.types import ImageArray, Stretch

# Centre and width in Hounsfield units, as radiologists commonly set them (Radiopaedia, "Windowing
# (CT)").
WINDOWS = {
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "soft_tissue": (50.0, 400.0),
    "brain": (40.0, 80.0),
    "liver": (30.0, 150.0),
}
# A percentile stretch maps these to 0 and 255 (over all channels together, so that hue is kept).
STRETCH_PERCENTILES = (0.5, 99.5)
# `auto` stretches 16-bit and float images always, 8-bit ones only if they are this dark (99.5th
# percentile): the fluorescence images of DSB2018 have a mean of 13 of 255.
DARK_BELOW = 128
# Voxels looked at for percentiles of a volume; more change the third digit only.
_MOST_VOXELS = 2_000_000


def find_range(volume: NDArray[Any]) -> tuple[float, float]:
    """Percentiles of a whole volume, which become 0 and 255, so that its slices stay comparable."""
    step = max(1, round((volume.size / _MOST_VOXELS) ** (1 / 3)))
    values = volume[::step, ::step, ::step]
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, STRETCH_PERCENTILES) if values.size else (0.0, 1.0)
    return float(low), float(high)


def window_range(window: str) -> tuple[float, float]:
    """Lower and upper end of a window: a name of `WINDOWS`, or `CENTRE,WIDTH`.

    Raises:
        UserError: it is neither.
    """
    if window in WINDOWS:
        centre, width = WINDOWS[window]
    else:
        try:
            centre, width = (float(part) for part in window.split(","))
        except ValueError:
            raise UserError(
                f"data.window is '{window}': give {', '.join(WINDOWS)} or CENTRE,WIDTH"
            ) from None
        if not width > 0:
            raise UserError(f"data.window is '{window}': its width must be above 0")
    return centre - width / 2, centre + width / 2


def to_grey(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map `low` to 0 and `high` to 255, what lies beyond to the nearer of them; NaN becomes 0."""
    scaled = (np.nan_to_num(values, nan=low) - low) * (255 / max(high - low, 1e-9))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def to_uint8(
    pixels: NDArray[Any], stretch: Stretch, value_range: tuple[float, float] | None = None
) -> ImageArray:
    """Bring (H, W, 3) values of any dtype to 0..255; values that are not finite become 0.

    A `value_range` goes before the stretch: its ends become 0 and 255.
    """
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    is_8bit = pixels.dtype == np.uint8
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    low: float
    high: float
    if value_range is not None:
        low, high = value_range
    elif _is_to_be_stretched(pixels, stretch):
        low, high = np.percentile(pixels, STRETCH_PERCENTILES)
    elif is_8bit:
        return np.ascontiguousarray(pixels)
    elif np.issubdtype(pixels.dtype, np.integer):
        low, high = 0, _integer_range(pixels)
    else:
        low, high = 0.0, 1.0 if pixels.max() <= 1.0 else 255.0
    scaled = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def _integer_range(pixels: NDArray[Any]) -> int:
    """255 for 8-bit values in a wider type (as Pillow's mode I holds them), else the type's own."""
    return 255 if pixels.max() <= 255 else 65535 if pixels.max() <= 65535 else int(pixels.max())


def _is_to_be_stretched(pixels: NDArray[Any], stretch: Stretch) -> bool:
    if stretch != "auto":
        return stretch == "percentile"
    if pixels.dtype != np.uint8:
        return True
    return bool(np.percentile(pixels, STRETCH_PERCENTILES[1]) < DARK_BELOW)


def as_range(values: Sequence[float] | None) -> tuple[float, float] | None:
    """Two numbers of a setting, in order.

    Raises:
        UserError: they are not.
    """
    if values is None:
        return None
    if len(values) != 2 or not values[0] < values[1]:
        raise UserError(f"value_range is {list(values)}: give two numbers, the lower one first")
    return float(values[0]), float(values[1])

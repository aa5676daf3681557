"""From intensities of a scanner to 0..255: windows for CT, percentiles of the volume for the rest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError

# Centre and width in Hounsfield units, as radiologists commonly set them (Radiopaedia, "Windowing
# (CT)").
WINDOWS = {
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "soft_tissue": (50.0, 400.0),
    "brain": (40.0, 80.0),
    "liver": (30.0, 150.0),
}
# Without a window, these percentiles of the whole volume become 0 and 255.
_PERCENTILES = (0.5, 99.5)
# Voxels looked at for them; more change the third digit only.
_MOST_VOXELS = 2_000_000


def find_range(window: str, volume: NDArray[Any]) -> tuple[float, float]:
    """Intensities that become 0 and 255.

    Args:
        window: see `window_range`; empty for percentiles of the volume.
        volume: all of it, so that its slices stay comparable.

    Raises:
        UserError: there is no such window.
    """
    if window:
        return window_range(window)
    step = max(1, round((volume.size / _MOST_VOXELS) ** (1 / 3)))
    values = volume[::step, ::step, ::step]
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 1.0)
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

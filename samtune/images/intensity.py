"""From values of any kind to 0..255: intensity windows, percentile stretches, ranges."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.types import ImageArray, Stretch

log = logging.getLogger(__name__)
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
# Shown without a stretch, an image of which less than this share of the brightness is used is told
_LEAST_CONTRAST = 0.125
# Of parts without values so many are named
_SHOWN = 5
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
        if not (0 < width < np.inf and np.isfinite(centre)):
            raise UserError(f"data.window is '{window}': its width must be above 0, both finite")
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
    else:
        low, high = 0.0, _plain_top(pixels)
    scaled = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def require_values(values: NDArray[Any], name: object) -> None:
    """Refuse what holds no value at all: a network answers black with masks and scores all the same.

    Args:
        values: of the file, of any shape.
        name: of the file.

    Raises:
        UserError: there is none, or all are NaN or infinite.
    """
    if not values.size or (values.dtype.kind == "f" and not np.isfinite(values).any()):
        raise UserError(
            f"{name} holds no values, only NaN or infinity: save it again from its source"
        )


def told_holes(values: NDArray[Any], axis: int, parts: Sequence[str], name: object) -> None:
    """Warn where slices or bands hold no value at all beside others that do; each file once.

    Args:
        values: of the file; at least one is a number.
        axis: along which the parts follow each other.
        parts: what each of them is called.
        name: of the file.
    """
    if values.dtype.kind != "f":
        return
    others = tuple(place for place in range(values.ndim) if place != axis)
    empty = [parts[n] for n in np.flatnonzero(~np.isfinite(values).any(axis=others)).tolist()]
    if empty and _is_first_of(f"holes of {name}"):
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        log.warning(
            "%s holds no values, only NaN or infinity, in %s%s of %d: seen as black, and answers there "
            "mean nothing", name, ", ".join(empty[:_SHOWN]), more, len(parts),
        )  # fmt: skip


@contextmanager
def looking_on() -> Iterator[None]:
    """Within this context `told_flat` is silent: how the images are to be seen is not chosen yet."""
    token = _is_looking_on.set(True)
    try:
        yield
    finally:
        _is_looking_on.reset(token)


def told_flat(pixels: NDArray[Any], name: str, shown: tuple[float, float] | None = None) -> None:
    """Warn where hardly anything of an image of more than 8 bits is to be seen.

    Values of 12 bits in a range of 16 are nearly black, floats beyond 255 white, decibels below 0
    black: a network answers all the same, and what it says is worth nothing. Of the files of a folder
    one is named.

    Args:
        pixels: some of the file's own values, of any shape.
        name: of the file.
        shown: what becomes 0 and 255; `None` where `to_uint8` would decide, without a stretch.
    """
    values = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels.ravel()
    if pixels.dtype in (np.uint8, np.bool_) or not values.size or _is_looking_on.get():
        return
    ends = np.percentile(values[:: max(1, values.size // _MOST_VOXELS)], STRETCH_PERCENTILES)
    low, high = shown or (0.0, _plain_top(pixels))
    seen = np.ptp(np.clip(ends, low, high)) / max(high - low, 1e-9)
    is_flat = seen < _LEAST_CONTRAST and ends[0] < ends[1]
    if is_flat and _is_first_of(f"brightness in {Path(name).parent}"):
        log.warning(
            "%s holds %s values from %.6g to %.6g, which use %.0f %% of the brightness between black "
            "and white: stretch auto (data.stretch in training, --reading.stretch elsewhere) or a "
            "value_range shows them", name, pixels.dtype, ends[0], ends[1], 100 * seen,
        )  # fmt: skip


_seen: set[str] = set()
_is_looking_on: ContextVar[bool] = ContextVar("is_looking_on", default=False)


def _is_first_of(what: str) -> bool:
    is_first = what not in _seen
    _seen.add(what)
    return is_first


def _plain_top(pixels: NDArray[Any]) -> float:
    """What becomes 255 without a stretch."""
    if np.issubdtype(pixels.dtype, np.integer):
        return float(_integer_range(pixels))
    return 1.0 if np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0).max() <= 1.0 else 255.0


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
    if len(values) != 2 or not -np.inf < values[0] < values[1] < np.inf:
        raise UserError(
            f"value_range is {list(values)}: give two numbers, the lower one first, both finite"
        )
    return float(values[0]), float(values[1])

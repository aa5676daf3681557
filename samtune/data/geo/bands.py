"""Which bands of a raster are shown, and in which colours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.types import ImageArray
from samtune.wording import counted

_COLOURS = ("red", "green", "blue")
# Red, green and blue of Sentinel-2, and of the harmonised Landsat (HLS): "User Guide", band tables
_SENTINEL_2 = ("b04", "b03", "b02")
# (red, green, blue) of every value from 0
ColourTable = tuple[tuple[int, int, int], ...]


def choose_bands(file: Any, bands: Sequence[int | str] | None, path: Path) -> tuple[int, ...]:
    """Numbers from 1 of red, green and blue, or of one grey band.

    Args:
        file: an open rasterio dataset.
        bands: see `Reading`; without them, those that the file names, or else the first three.
        path: what errors name.

    Raises:
        UserError: the file lacks a band, or the number of bands is none of these.
    """
    if bands is None:
        return named_rgb(file) or ((1, 2, 3) if file.count >= 3 else (1,))
    names = [str(name or "").lower() for name in file.descriptions]
    colours = [colour.name for colour in file.colorinterp]
    chosen = []
    for band in bands:
        known: Sequence[str | int] = range(file.count)
        if isinstance(band, str) and not band.isdigit():
            band = band.lower()
            known = names if band in names else colours
        if (found := int(band) if str(band).isdigit() else band) not in known:
            listed = ", ".join(f"{n}: {names[n] or colours[n]}" for n in range(file.count))
            raise UserError(f"{path} has no band {band}: choose from {listed}")
        chosen.append(list(known).index(found) + 1)
    if len(chosen) not in (1, 3):
        raise UserError(
            f"data.bands names {counted(len(chosen), 'band')}: give one (grey) or three"
        )
    return tuple(chosen)


def named_rgb(file: Any) -> tuple[int, ...] | None:
    """The bands that the file itself calls red, green and blue."""
    # names that someone gave go before the colours, which GDAL guesses
    given = [str(n or "").strip().lower() for n in file.descriptions]
    for wanted, names in (
        (_COLOURS, given), (_SENTINEL_2, given), (_COLOURS, [c.name for c in file.colorinterp]),
    ):  # fmt: skip
        if all(name in names for name in wanted):
            return tuple(names.index(name) + 1 for name in wanted)
    return None


def colour_table(file: Any, bands: tuple[int, ...]) -> ColourTable:
    """Colours of a single band's values; empty where the file has none."""
    if len(bands) > 1 or file.colorinterp[bands[0] - 1].name != "palette":
        return ()
    table = file.colormap(bands[0])
    return tuple(table.get(value, (0, 0, 0))[:3] for value in range(max(table) + 1))


def as_colours(values: NDArray[Any], table: ColourTable) -> ImageArray:
    """(H, W) values -> (H, W, 3) RGB; black where the table has no colour."""
    colours = np.array([*table, (0, 0, 0)], np.uint8)
    return np.asarray(colours[np.minimum(values.astype(np.intp), len(table))])

"""Scenes in GeoTIFF, COG and whatever else GDAL opens: windows straight from the file."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.bands import (
    ColourTable,
    as_colours,
    choose_bands,
    colour_table,
    named_rgb,
)
from samtune.errors import UserError, first_line, require
from samtune.images.intensity import DARK_BELOW, STRETCH_PERCENTILES, to_uint8, told_flat
from samtune.reading import Reading
from samtune.types import ImageArray, MaskArray, Stretch, Window

log = logging.getLogger(__name__)
# Where a stretch is measured on a scene without overviews: so many windows of this side, evenly spread.
_PROBES, _PROBE_SIDE = 8, 128
_OVERVIEW_SIDE = 1024
# The transform of a raster that says nothing of where it lies
_NOWHERE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# What GDAL keeps of read files, MB; it would take a twentieth of the machine's memory otherwise.
_CACHE_MB = 128


@dataclass(frozen=True)
class Scene:
    """What is known of a scene before its pixels are read.

    Attributes:
        path: the file.
        height, width: pixels.
        crs: coordinate reference system as WKT; empty without one.
        transform: (a, b, c, d, e, f): pixel (x, y) lies at (a x + b y + c, d x + e y + f), in the
            units of the CRS.
        bands: numbers from 1 of red, green, blue; one band is shown grey, or in its colours.
        value_range: what becomes 0 and 255; `None` leaves 8-bit values as they are.
        has_gaps: some pixels may hold no data (nodata value, mask or alpha).
        is_marked: the bands are named or given, and not merely the first three.
        colours: of the values of the one band that has a colour table; empty without one.
    """

    path: Path
    height: int
    width: int
    crs: str
    transform: tuple[float, float, float, float, float, float]
    bands: tuple[int, ...]
    value_range: tuple[float, float] | None
    has_gaps: bool
    is_marked: bool
    colours: ColourTable = ()

    @property
    def is_placed(self) -> bool:
        """Whether the file says where its pixels lie, with a CRS or without."""
        return self.transform != _NOWHERE


def open_scene(path: Path, reading: Reading) -> Scene:
    """Read the header of a scene, and as many pixels as its stretch needs.

    Args:
        path: the file.
        reading: numbers of bands count from 0, names are those of the file; percentiles are those of
            the whole scene, so that its windows stay comparable.

    Raises:
        UserError: the file cannot be read, or lacks a band.
    """
    with opened(path) as file:
        require_readable(file, path)
        _require_place(file, path)
        bands, value_range = reading.bands, reading.intensity_range
        chosen = choose_bands(file, bands, path)
        colours = colour_table(file, chosen)
        is_shown_as_it_is = value_range is not None or bool(colours)
        if not is_shown_as_it_is and _is_to_be_stretched(file, chosen, reading.stretch):
            value_range = _percentiles(file, chosen)
        elif not is_shown_as_it_is and set(file.dtypes) != {"uint8"}:
            value_range = _plain_range(file, chosen)
            told_flat(
                np.concatenate([p.ravel() for p in _probe(file, chosen)]), str(path), value_range
            )
        flags = {flag.name for number in chosen for flag in file.mask_flag_enums[number - 1]}
        if "all_valid" not in flags or any(np.dtype(dtype).kind == "f" for dtype in file.dtypes):
            _told_empty(file, chosen, path)
        return Scene(
            path, file.height, file.width, file.crs.to_wkt() if file.crs else "",
            tuple(file.transform)[:6], chosen, value_range, "all_valid" not in flags,
            bands is not None or file.count < 3 or named_rgb(file) is not None,
            colours,
        )  # fmt: skip


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A rasterio dataset; whatever GDAL finds wrong while it is used becomes one line.

    Raises:
        UserError: the file cannot be opened or read.
    """
    # some of GDAL's own errors reach us as they are
    known, unknown = require("rasterio.errors", "geo"), require("rasterio._err", "geo")
    errors = (known.RasterioError, unknown.CPLE_BaseError)
    try:
        with require("rasterio", "geo").Env(GDAL_CACHEMAX=_CACHE_MB):
            about = path.stat() if path.exists() else None
            yield _dataset(path, os.getpid(), about and (about.st_mtime_ns, about.st_size))
    except errors as error:
        reason = first_line(error.__cause__ or error)
        raise UserError(f"{path} cannot be read as a raster: {reason}") from error
    except MemoryError as error:
        raise UserError(f"{path} claims a size that fits no memory") from error


@lru_cache(maxsize=16)
def _dataset(path: Path, process: int, version: Any) -> Any:
    """An open file; each process opens its own, for a forked one would share the read position.

    A file that was written anew is another one.
    """
    return require("rasterio", "geo").open(path)


def require_readable(file: Any, path: Path) -> None:
    """What GDAL opens but must not, or cannot, be read as a picture of the ground."""
    if any(name.startswith("complex") for name in file.dtypes):
        raise UserError(f"{path} holds complex numbers: save their magnitude first")
    if not file.crs and file.gcps[0]:
        raise UserError(f"{path} has control points only: warp it to a grid first (gdalwarp)")
    _require_one_picture(file, path)
    folder = path.resolve().parent
    for part in file.files:
        if not Path(part).resolve().is_relative_to(folder):
            raise UserError(f"{path} refers to {part}, which lies outside its own folder")


def _require_one_picture(file: Any, path: Path) -> None:
    """GDAL opens the first of several pages; only smaller copies of it may follow."""
    for name in file.subdatasets[1:] if file.driver == "GTiff" else ():
        with require("rasterio", "geo").open(name) as page:
            if (page.height, page.width) >= (file.height, file.width):
                raise UserError(
                    f"{path} is a TIFF of {len(file.subdatasets)} pictures, of which more than one is "
                    f"{page.width}x{page.height} pixels: save the one that is meant as its own file"
                )


def _require_place(file: Any, path: Path) -> None:
    """A transform that cannot be turned round puts everything on a line, or nowhere."""
    about = np.array(file.transform[:6], np.float64)
    a, b, _, d, e, _ = about
    with np.errstate(all="ignore"):
        turned = np.array([a, b, d, e]) / (a * e - b * d)
    if not (np.isfinite(about).all() and np.isfinite(turned).all()):
        raise UserError(
            f"{path} has the transform {about.tolist()}: expected finite numbers that give each pixel "
            "a place of its own; georeference it again"
        )


def _told_empty(file: Any, bands: tuple[int, ...], path: Path) -> None:
    """Warn of a scene, or a band of it, that is a hole: what is found in it is no answer."""
    empty = [
        number
        for number in dict.fromkeys(bands)
        if not any(np.isfinite(part).any() for part in _probe(file, (number,)))
    ]
    if empty:
        numbers = ", ".join(str(number - 1) for number in empty)  # as `bands` counts them
        which = "" if set(empty) == set(bands) else f"in band {numbers} "
        log.warning(
            "%s holds no values %swhere it was looked at, only gaps, NaN or infinity", path, which
        )


def _is_to_be_stretched(file: Any, bands: tuple[int, ...], stretch: Stretch) -> bool:
    """As `to_uint8` decides it for one image: of 8 bits only what is dark."""
    if stretch != "auto" or set(file.dtypes) != {"uint8"}:
        return stretch != "none"
    found = _percentiles(file, bands)
    return found is not None and found[1] < DARK_BELOW


def _percentiles(file: Any, bands: tuple[int, ...]) -> tuple[float, float] | None:
    """Over all bands together, so that hue is kept; `None` without a valid pixel."""
    values = np.concatenate([part.ravel() for part in _probe(file, bands)])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, STRETCH_PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def _plain_range(file: Any, bands: tuple[int, ...]) -> tuple[float, float]:
    """What `to_uint8` takes for one image, decided once for all windows of a scene."""
    values = np.concatenate([part.ravel() for part in _probe(file, bands)])
    values = values[np.isfinite(values)]
    largest = float(values.max()) if values.size else 0.0
    if np.issubdtype(values.dtype, np.floating):
        return 0.0, 1.0 if largest <= 1 else 255.0
    return 0.0, next((top for top in (255.0, 65535.0) if largest <= top), largest)


def _probe(file: Any, bands: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """Valid values of a scene: all of a small one or of an overview, else windows spread over it."""
    scale = max(file.height, file.width) / _OVERVIEW_SIDE
    if scale <= 2 or file.overviews(bands[0]):
        shape = (max(1, int(file.height / max(1, scale))), max(1, int(file.width / max(1, scale))))
        yield file.read(bands, out_shape=(len(bands), *shape), masked=True).compressed()
        return
    for y in np.linspace(0, file.height - _PROBE_SIDE, _PROBES).astype(int).tolist():
        for x in np.linspace(0, file.width - _PROBE_SIDE, _PROBES).astype(int).tolist():
            place = ((max(0, y), y + _PROBE_SIDE), (max(0, x), x + _PROBE_SIDE))
            yield file.read(bands, window=place, masked=True).compressed()


def read_stored(scene: Scene, window: Window) -> NDArray[Any]:
    """(H, W, C) values of all bands as they are stored."""
    with opened(scene.path) as file:
        return np.moveaxis(file.read(window=window.ranges), 0, 2)


def read_window(
    scene: Scene, window: Window, hw: tuple[int, int] | None = None
) -> tuple[ImageArray, MaskArray]:
    """(H, W, 3) uint8 RGB, 0 where there is no data, and (H, W) where there is: in one band at least.

    Args:
        scene: the raster.
        window: the part of it.
        hw: read coarser, as means of pixels (of a colour table: one of them), from overviews where the
            file has them.

    Raises:
        UserError: the file cannot be read there.
    """
    methods = require("rasterio.enums", "geo").Resampling
    method = methods.nearest if scene.colours else methods.average
    how: dict[str, Any] = {"window": window.ranges}
    how |= {"out_shape": (len(scene.bands), *hw), "resampling": method} if hw else {}
    with opened(scene.path) as file:
        values = file.read(scene.bands, **how)
        is_kept = is_finite = np.asarray(np.isfinite(values))
        if scene.has_gaps:
            is_kept = is_finite & (file.read_masks(scene.bands, **how) > 0)
    is_valid = is_kept.any(axis=0)
    # beside a band with data, its value is a shade like any other, unless none is shown so bright
    brightest = scene.value_range[1] if scene.value_range else np.inf
    is_black = ~is_valid | ~is_finite | (~is_kept & (values > brightest))
    pixels = as_colours(values[0], scene.colours) if scene.colours else np.moveaxis(values, 0, 2)
    image = np.broadcast_to(to_uint8(pixels, "none", scene.value_range), (*is_valid.shape, 3))
    return np.where(np.moveaxis(is_black, 0, 2), np.uint8(0), image), np.asarray(is_valid)


def has_data(scene: Scene, window: Window) -> bool:
    """Whether a window holds any data: a coarse grid of the first band tells mostly, else all of it."""
    if not scene.has_gaps:
        return True
    with opened(scene.path) as file:
        shape = (min(16, window.height), min(16, window.width))
        found = file.read_masks(scene.bands[0], window=window.ranges, out_shape=shape)
        return bool(found.any() or file.read_masks(scene.bands, window=window.ranges).any())

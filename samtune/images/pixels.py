"""Reading images of every common kind into uint8 RGB, or as the numbers that they hold.

Pillow reads most (8 and 16 bit, grey, RGB, RGBA, palette, CMYK, EXIF rotation), OpenCV 16-bit PNGs with
several channels, `tiff` the TIFFs, and `dicom` single pictures in DICOM. Labels are numbers: what is a
rule for showing (palettes, "0 is white", one bit as black and white) leaves them alone.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from samtune.errors import UserError, first_line
from samtune.files import is_file
from samtune.images.dicom import (
    is_dicom,
    is_dicom_content,
    read_dicom_picture,
    read_dicom_window,
)
from samtune.images.intensity import require_values, to_uint8, told_flat, told_holes
from samtune.images.kinds import ImageFile, is_tiff
from samtune.images.orientation import is_on_its_side, orientation_of
from samtune.images.tiff import read_tiff, tiff_hw, upright, without_transparent
from samtune.types import ImageArray, Stretch
from samtune.wording import counted

# What Pillow, tifffile and their decompressors raise on a damaged file.
_DAMAGED = (OSError, ValueError, SyntaxError, KeyError, IndexError, struct.error, zlib.error)
# A malicious header could otherwise claim a picture larger than memory; Pillow refuses twice as many.
Image.MAX_IMAGE_PIXELS = 2**27
# By how Pillow unpacks them, steps between the shades of grey that PNGs of few bits have
_GREY_STEPS = {"L;2": 85, "L;4": 17}


def _stream(file: ImageFile) -> Path | io.BytesIO:
    return file if isinstance(file, Path) else io.BytesIO(file.content)


def read_image(
    path: str | ImageFile,
    bands: Sequence[int | str] | None = None,
    stretch: Stretch = "none",
    value_range: tuple[float, float] | None = None,
) -> ImageArray:
    """Read an image as (H, W, 3) uint8 RGB.

    Args:
        path: the file.
        bands: 1, 2 or 3 channel numbers from 0, in the order red, green, blue; without it grey is
            repeated and the first three channels of more are taken (a fourth as alpha is dropped).
        stretch: `percentile` stretches the 0.5th to the 99.5th percentile to 0..255; `auto` does so
            for 16-bit, float and dark 8-bit images; `none` scales 16 bit by its range, and DICOM by
            the window that the file names, if any.
        value_range: what becomes 0 and 255, instead of a stretch.

    Raises:
        UserError: the file is missing, damaged, of no known kind, lacks a band, or holds no values.
    """
    path = Path(path) if isinstance(path, str) else path
    pixels = read_pixels(path, with_pages=bands is not None)
    if _is_dicom(path) and stretch == "none" and value_range is None:
        value_range, stretch = file_window(path), "auto"
    return show_pixels(pixels, path, bands, stretch, value_range)


def show_pixels(
    pixels: NDArray[Any],
    path: ImageFile,
    bands: Sequence[int | str] | None = None,
    stretch: Stretch = "none",
    value_range: tuple[float, float] | None = None,
) -> ImageArray:
    """(H, W, C) values of a file as (H, W, 3) uint8 RGB, as `read_image` shows them.

    Raises:
        UserError: the file lacks a band, or holds no values.
    """
    pixels = _choose_bands(pixels, bands, path)
    require_values(pixels, path)
    told_holes(pixels, 2, ("red", "green", "blue"), path)
    if stretch == "none" and value_range is None:
        told_flat(pixels, str(path))
    return to_uint8(pixels, stretch, value_range)


def file_window(file: ImageFile) -> tuple[float, float] | None:
    """The window that a DICOM file names, as the values that become 0 and 255; `None` without one."""
    return read_dicom_window(*_named(file)) if _is_dicom(file) else None


def _is_dicom(file: ImageFile) -> bool:
    return is_dicom(file) if isinstance(file, Path) else is_dicom_content(file.content)


def _named(file: ImageFile) -> tuple[Path | str, bytes | None]:
    """The path of a file; or a name and the bytes of one inside another."""
    return (file, None) if isinstance(file, Path) else (str(file), file.content)


def read_pixels(path: ImageFile, as_stored: bool = False, with_pages: bool = False) -> NDArray[Any]:
    """Read an image as (H, W, C) in its own dtype (palette and CMYK become RGB).

    Args:
        path: the file.
        as_stored: numbers as labels need them: the indices of a palette, 0 and 1 of one bit.
        with_pages: pages of a TIFF may be the channels; otherwise there must be one page.

    Raises:
        UserError: the file is missing, damaged, of no known kind, or holds several pictures.
    """
    if isinstance(path, Path) and not is_file(path):
        raise UserError(f"there is no image {path}")
    try:
        return _read_raster(path, as_stored, with_pages)
    except UserError:
        raise
    except _DAMAGED as error:
        if isinstance(error, UnidentifiedImageError):
            raise UserError(f"{path} is no image that can be read (unknown format)") from error
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large: {error}") from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory: cut it into smaller images") from error


def _read_raster(path: ImageFile, as_stored: bool, with_pages: bool) -> NDArray[Any]:
    if _is_dicom(path):
        return read_dicom_picture(*_named(path), as_stored)
    if is_tiff(path):
        return read_tiff(_bytes_or_path(path), str(path), as_stored, with_pages)
    with Image.open(_stream(path)) as image:
        number = int(getattr(image, "n_frames", 1))
        if number > 1 and image.format != "MPO":  # of a camera's MPO the first is the picture
            raise UserError(
                f"{path} holds {number} pictures; expected one: save them as files of their own"
            )
        if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA") and _is_16_bit(image):
            return _read_16bit_png(path, image.size, as_stored)
        return _from_pillow(image, as_stored)


def _bytes_or_path(path: ImageFile) -> Path | bytes:
    return path if isinstance(path, Path) else path.content


def _is_16_bit(image: Image.Image) -> bool:
    """Whether Pillow would cut a picture of several channels to 8 bits."""
    tiles: Any = getattr(image, "tile", None)
    return bool(tiles) and "16B" in str(tiles[0][3])


def _read_16bit_png(path: ImageFile, size: tuple[int, int], as_stored: bool) -> NDArray[Any]:
    """16-bit RGB, or grey with alpha, which Pillow would cut to 8 bits; alpha is dropped."""
    content = path.read_bytes() if isinstance(path, Path) else path.content
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None or pixels.shape[1::-1] != size or pixels.dtype != np.uint16:
        raise OSError("the file is damaged")
    with Image.open(_stream(path)) as image:
        turned = orientation_of(image)
    colours = np.asarray(pixels[..., 2::-1])
    if as_stored and pixels.shape[2] == 4:
        colours = without_transparent(colours, pixels[..., 3])
    return upright(colours, turned)


def _grey_step(image: Image.Image) -> int:
    """What Pillow multiplies the values of grey PNGs of 2 and 4 bits by, so that they look right."""
    tiles: Any = getattr(image, "tile", None)
    return _GREY_STEPS.get(str(tiles[0][3]), 1) if tiles and image.format == "PNG" else 1


def _from_pillow(image: Image.Image, as_stored: bool) -> NDArray[Any]:
    step = _grey_step(image)
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("CMYK", "YCbCr", "LAB", "HSV") or (
        upright.mode in ("P", "PA") and not as_stored
    ):
        upright = upright.convert("RGB")
    elif upright.mode == "1":
        upright = upright.convert("L").point(lambda value: min(value, 1) if as_stored else value)
    pixels = np.asarray(upright)
    if upright.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        pixels = without_transparent(pixels, alpha) if as_stored else pixels
    pixels = pixels // np.uint8(step) if as_stored and step > 1 else pixels
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _choose_bands(
    pixels: NDArray[Any], bands: Sequence[int | str] | None, path: ImageFile
) -> NDArray[Any]:
    num_channels = pixels.shape[2]
    if bands is None:
        bands = [0, 0, 0] if num_channels < 3 else [0, 1, 2]
    elif len(bands) not in (1, 2, 3) or not all(band in range(num_channels) for band in bands):
        raise UserError(
            f"bands {list(bands)} do not fit {path}, which has "
            f"{counted(num_channels, 'channel')}: give one to "
            f"three numbers from 0 to {num_channels - 1}"
        )
    chosen = pixels[..., [int(band) for band in bands]]
    if len(bands) == 1:
        return np.repeat(chosen, 3, axis=2)
    if len(bands) == 2:  # two stains: red and green, as microscopes show them
        return np.concatenate([chosen, np.zeros_like(chosen[..., :1])], axis=2)
    return chosen


def image_hw(path: ImageFile) -> tuple[int, int]:
    """Height and width of an upright image, from the file's header where that is enough.

    Raises:
        UserError: the file is missing, damaged, or of no known kind.
    """
    try:
        if is_tiff(path):
            return tiff_hw(_bytes_or_path(path), str(path))
        with Image.open(_stream(path)) as image:
            width, height = image.size
            return (width, height) if is_on_its_side(image) else (height, width)
    except (*_DAMAGED, Image.DecompressionBombError):
        height, width = read_pixels(path).shape[:2]
        return height, width

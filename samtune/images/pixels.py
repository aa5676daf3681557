"""Reading images and label images of every common kind into uint8 RGB and integer labels.

Pillow reads most (8 and 16 bit, grey, RGB, RGBA, palette, CMYK, EXIF rotation), OpenCV 16-bit RGB PNGs,
`tiff_io` the TIFFs, and `dicom_io` single pictures in DICOM.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from samtune.errors import UserError, first_line
from samtune.files import is_file
from samtune.images.dicom import SUFFIXES as DICOM_SUFFIXES
from samtune.images.dicom import is_dicom, read_dicom_picture, read_dicom_window
from samtune.images.intensity import to_uint8
from samtune.images.tiff import read_tiff
from samtune.types import ImageArray, Stretch

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", *DICOM_SUFFIXES)

# What Pillow, tifffile and their decompressors raise on a damaged file.
_DAMAGED = (OSError, ValueError, SyntaxError, KeyError, IndexError, struct.error, zlib.error)
# A malicious header could otherwise claim a picture larger than memory.
Image.MAX_IMAGE_PIXELS = 2**30
_LARGEST_LABEL = 2**31 - 1
_TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class EncodedImage:
    """An image file that lies inside another one: in a tar, a table, a JSON.

    Attributes:
        name: what errors call it.
        content: its bytes.
    """

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


ImageFile = Path | EncodedImage


def _stream(file: ImageFile) -> Path | io.BytesIO:
    return file if isinstance(file, Path) else io.BytesIO(file.content)


def is_picture(file: Path) -> bool:
    """Whether a file is an image by its suffix, or DICOM by its content, whatever it is called."""
    return file.suffix.lower() in IMAGE_SUFFIXES or is_dicom(file)


def picture_id(file: Path) -> str:
    """The name of an image without its suffix; numbers of DICOM after a full stop are no suffix."""
    return file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name


def is_tiff(file: ImageFile) -> bool:
    """Whether an image is a TIFF, which Pillow often cannot open."""
    if isinstance(file, EncodedImage):
        return file.content.startswith(_TIFF_BEGINS)
    return file.suffix.lower() in (".tif", ".tiff")


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
        UserError: the file is missing, damaged, of no known kind, or lacks a band.
    """
    path = Path(path) if isinstance(path, str) else path
    pixels = _choose_bands(read_pixels(path), bands, path)
    if isinstance(path, Path) and is_dicom(path) and stretch == "none" and value_range is None:
        value_range, stretch = read_dicom_window(path), "auto"
    return to_uint8(pixels, stretch, value_range)


def read_pixels(path: ImageFile) -> NDArray[Any]:
    """Read an image as (H, W, C) in its own dtype (palette and CMYK become RGB).

    Raises:
        UserError: the file is missing, damaged, or of no known kind.
    """
    if isinstance(path, Path) and not is_file(path):
        raise UserError(f"there is no image {path}")
    try:
        return _read_raster(path)
    except UserError:
        raise
    except _DAMAGED as error:
        if isinstance(error, UnidentifiedImageError):
            raise UserError(f"{path} is no image that can be read (unknown format)") from error
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large: {error}") from error


def _read_raster(path: ImageFile) -> NDArray[Any]:
    if isinstance(path, Path) and is_dicom(path):
        return read_dicom_picture(path)
    if is_tiff(path):
        found = read_tiff(path if isinstance(path, Path) else path.content, str(path))
        return found if isinstance(found, np.ndarray) else _from_pillow(found)
    with Image.open(_stream(path)) as image:
        tiles: Any = getattr(image, "tile", None)
        if (
            image.format == "PNG"
            and image.mode.startswith("RGB")
            and tiles
            and "16B" in tiles[0][3]
        ):
            return _read_16bit_png(path)
        return _from_pillow(image)


def _read_16bit_png(path: ImageFile) -> NDArray[Any]:
    """16-bit RGB, which Pillow would cut to 8 bits; alpha is dropped."""
    content = path.read_bytes() if isinstance(path, Path) else path.content
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise OSError("the file is damaged")
    return np.asarray(pixels[..., 2::-1])


def _from_pillow(image: Image.Image) -> NDArray[Any]:
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV", "PA"):
        upright = upright.convert("RGB")
    elif upright.mode == "1":
        upright = upright.convert("L")
    pixels = np.asarray(upright)
    if upright.mode in ("LA", "RGBA", "La", "RGBa"):
        pixels = pixels[..., :-1]
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _choose_bands(
    pixels: NDArray[Any], bands: Sequence[int | str] | None, path: ImageFile
) -> NDArray[Any]:
    num_channels = pixels.shape[2]
    if bands is None:
        bands = [0, 0, 0] if num_channels < 3 else [0, 1, 2]
    elif len(bands) not in (1, 2, 3) or not all(band in range(num_channels) for band in bands):
        raise UserError(
            f"bands {list(bands)} do not fit {path}, which has {num_channels} channels: give one to "
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
        with Image.open(_stream(path)) as image:
            # Pillow gives the size of a TIFF after turning, of other formats before
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            is_turned = turned and image.format != "TIFF"
            width, height = image.size
            return (width, height) if is_turned else (height, width)
    except (*_DAMAGED, Image.DecompressionBombError):
        height, width = read_pixels(path).shape[:2]
        return height, width


def read_labels(path: ImageFile) -> NDArray[Any]:
    """Read a mask or label image as (H, W) integers, or (H, W, 3) if it is coloured.

    A palette image gives its indices, an image with alpha loses it; grey stored as RGB becomes
    grey.

    Raises:
        UserError: the file is missing, damaged, of no known kind, or holds labels beyond 32 bits.
    """
    if (indices := _read_palette_indices(path)) is not None:
        return indices
    pixels = read_pixels(path)
    pixels = pixels[..., :3] if are_colours(pixels) else pixels[..., 0]
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = np.rint(np.nan_to_num(pixels))
    for value in (float(pixels.max(initial=0)), float(pixels.min(initial=0))):
        if not -_LARGEST_LABEL - 1 <= value <= _LARGEST_LABEL:
            raise UserError(
                f"{path} holds the label {value:.12g}, but labels go up to {_LARGEST_LABEL}: number "
                "its objects 1, 2, 3, ..."
            )
    return pixels.astype(np.int32)


def are_colours(values: NDArray[Any]) -> bool:
    """Whether (H, W, C) values of labels are colours, and not one value stored three times."""
    return values.shape[2] >= 3 and not bool((values[..., :3] == values[..., :1]).all())


def _read_palette_indices(path: ImageFile) -> NDArray[np.int32] | None:
    try:
        with Image.open(_stream(path)) as image:
            return np.asarray(image).astype(np.int32) if image.mode == "P" else None
    except (*_DAMAGED, Image.DecompressionBombError):  # whatever is wrong, `read_pixels` says it
        return None

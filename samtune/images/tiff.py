"""TIFFs: tifffile for what Pillow cannot read faithfully, Pillow for palettes and colour models.

Pillow cuts 16-bit RGB to 8 bits, knows few channel counts, and refuses several samples under the
photometric "min is black". OpenCV stands in where tifffile lacks a decompressor.
"""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samtune.errors import UserError

_COLOUR_MODELS = ("PALETTE", "SEPARATED", "YCBCR")
_UNSPECIFIED_SAMPLE = 0  # an extra sample that is a band (infrared, say) and not alpha


def read_tiff(file: Path | bytes, name: str) -> NDArray[Any] | Image.Image:
    """Read a TIFF of one picture, upright, as (H, W, C) in its own dtype.

    Args:
        file: its path or its bytes.
        name: what errors call it.

    Returns:
        The array, or a Pillow image where palette or colour model are its business.

    Raises:
        UserError: several pages or volumes, or a compression that cannot be decoded.
        OSError: the file is damaged.
    """
    try:
        return _read_tiff(file, name)
    except UserError:
        raise
    except Exception as error:  # tifffile raises whatever the bytes make it do
        raise OSError(str(error)) from error


def _read_tiff(file: Path | bytes, name: str) -> NDArray[Any] | Image.Image:
    import tifffile

    with tifffile.TiffFile(file if isinstance(file, Path) else io.BytesIO(file)) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        if len(tiff.series[0].pages) > 1:
            raise UserError(
                f"{name} is a TIFF of {len(tiff.series[0].pages)} pages; expected one picture: save "
                "the pages as files, or as channels of one"
            )
        if page.imagewidth * page.imagelength > 2 * (Image.MAX_IMAGE_PIXELS or 0):  # as Pillow does
            raise UserError(
                f"{name} is too large: it claims {page.imagewidth}x{page.imagelength} pixels"
            )
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        if photometric in _COLOUR_MODELS:
            # from memory: Pillow maps uncompressed files with the size after turning
            return Image.open(io.BytesIO(_content(file)))
        tag = page.tags.get("Orientation")
        pixels = _decode(page, file, name)
        if photometric == "MINISWHITE":
            pixels = np.asarray(~pixels if pixels.dtype == np.bool_ else _inverted(pixels))
        is_alpha = len(page.extrasamples) == 1 and page.extrasamples[0] != _UNSPECIFIED_SAMPLE
        if photometric == "RGB" and is_alpha:
            pixels = pixels[..., :3]
    if pixels.ndim != 3 or not pixels.size:
        raise OSError(f"its pixels have the shape {pixels.shape}")
    return _upright(pixels, 1 if tag is None else int(tag.value))


def _content(file: Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else file.read_bytes()


def _decode(page: Any, file: Path | bytes, name: str) -> NDArray[Any]:
    try:
        pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):  # which decodes the rarer compressions
            raise
        return _decode_with_opencv(file, name, error)
    if page.axes == "YX":
        return np.asarray(pixels[..., None])
    if page.axes == "SYX":
        return np.moveaxis(pixels, 0, -1)
    if page.axes != "YXS":
        raise UserError(f"{name} is a TIFF with axes {page.axes}; expected one flat picture")
    return np.asarray(pixels)


def _decode_with_opencv(file: Path | bytes, name: str, reason: ValueError) -> NDArray[Any]:
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(_content(file), np.uint8), flags)
    if pixels is None:
        raise UserError(f"{name} cannot be decoded ({reason}): pip install imagecodecs") from reason
    if pixels.ndim == 2:
        return np.asarray(pixels[..., None])
    return np.asarray(pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]])


def _inverted(pixels: NDArray[Any]) -> NDArray[Any]:
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        return -pixels
    return np.asarray(np.iinfo(pixels.dtype).max - pixels)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror as TIFF's orientation tag (274) says; 1 is upright."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)

"""TIFFs: which of the pictures in a file is meant, and its pixels as they are stored or as shown.

tifffile decodes all of them (with imagecodecs: LZW, ZSTD, JPEG, predictors, 16 bit, planes); Pillow
turns inks into colours. What another library made is compared with what the file says of itself.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samtune.errors import UserError
from samtune.images.lossy import black_and_white

# Colour models that Pillow turns into RGB; what else there is (CIELAB, filter arrays) is refused
_BY_PILLOW = ("SEPARATED", "YCBCR")
_PLAIN = ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "MASK")
# Values of all channels over the most pixels that a picture may have
_MOST_CHANNELS = 8
_UNSPECIFIED_SAMPLE = 0  # an extra sample that is a band (infrared, say) and not alpha
# How TIFFs begin, large ones too
TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GDAL_METADATA = 42112
# Compressions that change values
_LOSSY = ("JPEG", "OJPEG", "ALT_JPEG", "JPEG_LOSSY", "JPEG_2000_LOSSY")
# Axes of one picture, and of pages that may be its channels: named so, or not named at all
_FLAT, _PAGED = ("YX", "YXS", "SYX"), ("CYX", "IYX", "QYX")


def read_tiff(
    file: Path | bytes, name: str, as_stored: bool = False, with_pages: bool = False
) -> NDArray[Any]:
    """Read the picture of a TIFF, upright, as (H, W, C) in its own dtype.

    Args:
        file: its path or its bytes.
        name: what errors call it.
        as_stored: numbers stay as they are, as labels need it: palettes and "0 is white" are rules for
            showing; what is wholly transparent is 0.
        with_pages: pages of one size may be the channels; otherwise there must be one page.

    Raises:
        UserError: several pages or pictures, or a compression or colours that cannot be decoded.
        OSError: the file is damaged.
    """
    with _opened(file) as tiff:
        series = _picture(tiff, name)
        _check(series, name, with_pages, as_stored)
        page = series.keyframe
        kind = _kind(page, name)
        if kind in _BY_PILLOW:
            return _colours(file, page, name)
        pixels = _decode(series, name)
        if as_stored and _is_lossy(page):
            return upright(black_and_white(pixels, name), _orientation(page))
        pixels = _as_labels(pixels, page) if as_stored else _as_shown(pixels, page, kind)
        return upright(pixels, _orientation(page))


def tiff_hw(file: Path | bytes, name: str) -> tuple[int, int]:
    """Height and width of the picture of a TIFF, upright, from its header.

    Raises:
        UserError: it holds several pictures.
        OSError: the file is damaged.
    """
    with _opened(file) as tiff:
        return _upright_hw(_picture(tiff, name).keyframe)


@contextmanager
def _opened(file: Path | bytes) -> Iterator[Any]:
    import tifffile

    try:
        with tifffile.TiffFile(file if isinstance(file, Path) else io.BytesIO(file)) as tiff:
            yield tiff
    except (UserError, Image.DecompressionBombError):
        raise
    except MemoryError:
        raise
    except Exception as error:  # tifffile raises whatever the bytes make it do
        raise OSError(str(error)) from error


def _picture(tiff: Any, name: str) -> Any:
    """The series that is meant: the only one, or the one that all others are small copies of.

    Pages that say they are masks or reduced copies are none.
    """
    series = [each for each in tiff.series if not _is_helper(each)] or list(tiff.series)
    sizes = [each.keyframe.imagewidth * each.keyframe.imagelength for each in series]
    largest = [each for each, size in zip(series, sizes, strict=True) if size == max(sizes)]
    if len(largest) == 1:
        return largest[0]
    found = ", ".join(
        f"{each.keyframe.imagewidth}x{each.keyframe.imagelength} {each.dtype}"
        for each in series[:5]
    )
    raise UserError(
        f"{name} is a TIFF of {len(series)} pictures ({found}); expected one: save the one that is "
        "meant as a file of its own, or all as channels of one type"
    )


def _is_helper(series: Any) -> bool:
    return bool(series.keyframe.is_reduced or series.keyframe.is_mask)


def _check(series: Any, name: str, with_pages: bool, are_labels: bool) -> None:
    """Refuse what is no single picture, or larger than memory, before anything is decoded."""
    axes, shape, limit = series.axes, series.shape, 2 * (Image.MAX_IMAGE_PIXELS or 0)
    page = series.keyframe
    is_larger = np.prod([int(n) for n in shape], dtype=float) > _MOST_CHANNELS * limit
    if page.imagewidth * page.imagelength > limit or is_larger:  # as Pillow does
        raise UserError(
            f"{name} is too large: it claims {page.imagewidth}x{page.imagelength} pixels; cut it, or "
            "give it as a scene"
        )
    if axes in _FLAT or (axes in _PAGED and with_pages):
        return
    if axes in _PAGED:
        pages = f"{name} is a TIFF of {shape[0]} pages of {shape[2]}x{shape[1]} pixels"
        if are_labels:
            raise UserError(
                f"{pages}; expected one picture of labels: save objects that have a page each as files "
                "in a folder of the image's name, slices as a volume (docs/reference/formats.md)"
            )
        raise UserError(
            f"{pages}; expected one picture: choose channels by data.bands, such as [0] or "
            f"[0, {min(1, shape[0] - 1)}], or save the pages as files"
        )
    number = int(np.prod(shape) // max(1, page.imagewidth * page.imagelength))
    raise UserError(
        f"{name} is a TIFF of {number} pages (axes {axes}: {' x '.join(map(str, shape))}); expected "
        "one picture: a stack in z is a volume (a folder `images` and `labels` of stacks), and what is "
        "a time or a channel is to be saved as a file, or as a channel of one picture"
    )


def _kind(page: Any, name: str) -> str:
    """The colour model, if it is one that can be read."""
    import tifffile

    kind = str(tifffile.PHOTOMETRIC(page.photometric).name)
    # JPEG in a TIFF comes out of its decoder as RGB
    if kind == "YCBCR" and tifffile.COMPRESSION(page.compression).name in ("JPEG", "OJPEG"):
        return "RGB"
    if kind not in (*_BY_PILLOW, *_PLAIN):
        raise UserError(f"{name} holds colours as {kind}: save it as RGB or grey")
    return kind


def _decode(series: Any, name: str) -> NDArray[Any]:
    """(H, W, C) as stored."""
    try:
        pixels = (
            series.asarray(squeeze=True) if series.axes in _PAGED else series.keyframe.asarray()
        )
    except (ValueError, ImportError) as error:
        if "imagecodecs" not in str(error):
            raise
        raise UserError(f"{name} cannot be decoded ({error}): pip install imagecodecs") from error
    page = series.keyframe
    if pixels.size % max(1, page.imagewidth * page.imagelength) or not pixels.size:
        raise OSError(f"its pixels have the shape {pixels.shape}")
    if pixels.ndim == 2:
        return np.asarray(pixels[..., None])
    is_first = pixels.shape[1:] == (page.imagelength, page.imagewidth)
    return np.moveaxis(pixels, 0, -1) if is_first and series.axes != "YXS" else np.asarray(pixels)


def _colours(file: Path | bytes, page: Any, name: str) -> NDArray[Any]:
    """RGB that Pillow makes of inks, upright as it does it for TIFFs."""
    # from memory: Pillow maps uncompressed files with the size after turning
    content = file if isinstance(file, bytes) else file.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        pixels = np.asarray(image.convert("RGB"))
    expected = _upright_hw(page)
    if pixels.shape[:2] != expected or page.bitspersample != 8:
        raise UserError(
            f"{name} holds {expected[1]}x{expected[0]} pixels of {page.bitspersample} bits in colours "
            "that cannot be read so: save it as RGB"
        )
    return pixels


def _as_shown(pixels: NDArray[Any], page: Any, kind: str) -> NDArray[Any]:
    """Colours of a palette; white and black where they belong; no alpha."""
    if kind == "PALETTE" and page.colormap is not None:
        table = np.asarray(page.colormap).T  # of 16 bit, as the format has it; some write 8
        table = (table >> 8 if table.max(initial=0) > 255 else table).astype(np.uint8)
        return np.asarray(table[pixels[..., 0]])
    top = 2**page.bitspersample - 1
    if kind == "MINISWHITE":
        pixels = ~pixels if pixels.dtype == np.bool_ else _inverted(pixels, top)
    if pixels.dtype == np.uint8 and 1 < top < 255:  # 2 or 4 bits, of which the largest is white
        pixels = np.rint(pixels * (255 / top)).astype(np.uint8)
    return pixels[..., :-1] if _has_alpha(pixels, page) else pixels


def _inverted(pixels: NDArray[Any], top: int) -> NDArray[Any]:
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        return -pixels
    return np.asarray(pixels.dtype.type(top) - pixels)


def _is_lossy(page: Any) -> bool:
    import tifffile

    return tifffile.COMPRESSION(page.compression).name in _LOSSY


def _has_alpha(pixels: NDArray[Any], page: Any) -> bool:
    samples = page.extrasamples
    is_alpha = len(samples) == 1 and samples[0] != _UNSPECIFIED_SAMPLE
    return is_alpha and pixels.shape[2] in (2, 4)


def _as_labels(pixels: NDArray[Any], page: Any) -> NDArray[Any]:
    if not _has_alpha(pixels, page):
        return pixels
    return without_transparent(pixels[..., :-1], pixels[..., -1])


def without_transparent(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C) labels of a picture with alpha: 0 where it is wholly transparent, whatever lies there.

    Where all is of one colour, alpha is the mask: (H, W, 1) zeros and ones.

    Args:
        colours: (H, W, C).
        alpha: (H, W); the same everywhere it says nothing.
    """
    if not alpha.size or alpha.min() == alpha.max():
        return colours
    if (colours == colours[:1, :1]).all():
        half = np.iinfo(alpha.dtype).max / 2 if alpha.dtype.kind in "iu" else 0.5
        return np.asarray(alpha > half, np.uint8)[..., None]
    return np.where(alpha[..., None] > 0, colours, np.zeros_like(colours))


def _orientation(page: Any) -> int:
    tag = page.tags.get("Orientation")
    return 1 if tag is None else int(tag.value)


def _upright_hw(page: Any) -> tuple[int, int]:
    height, width = int(page.imagelength), int(page.imagewidth)
    return (width, height) if _orientation(page) in (5, 6, 7, 8) else (height, width)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror as TIFF's orientation tag (274) says; 1 is upright."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def gdal_metadata(file: Path) -> str:
    """The XML that GDAL keeps in a TIFF of its own; empty without it, and for what is no TIFF."""
    try:
        with file.open("rb") as stream:
            if stream.read(4) not in TIFF_BEGINS:
                return ""
        with _opened(file) as tiff:
            return str(tiff.pages[0].tags.valueof(_GDAL_METADATA, ""))
    except OSError:  # whoever reads it says what is wrong
        return ""

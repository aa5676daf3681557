"""Writing an image into a folder of images, without losing anything of it."""

import io
import shutil
from pathlib import Path

import tifffile
from PIL import Image

from samtune.files import make_folder, write_bytes
from samtune.images.kinds import (
    IMAGE_SUFFIXES,
    LONGEST_BEGINNING,
    EncodedImage,
    ImageFile,
    content_suffix,
)
from samtune.images.pixels import read_pixels
from samtune.types import ImageArray


def write_image(file: ImageFile | None, seen: ImageArray, place: Path) -> Path:
    """Write an image as it is stored, or, without a file of its own, as it is seen.

    A file is copied, and so are the bytes of one inside a tar, a table or a JSON. Of kinds that no
    folder of images holds (GIF, JPEG 2000) the stored values become a TIFF.

    Args:
        file: of this image alone; `None` for a part of a larger one.
        seen: (H, W, 3) RGB, which becomes a PNG where there is no file.
        place: the path without a suffix.

    Returns:
        The path with its suffix.
    """
    if file is None or (isinstance(file, Path) and not file.is_file()):
        content, suffix = _encoded(Image.fromarray(seen)), ".png"
    elif (suffix := _suffix_of(file)) and isinstance(file, Path):
        make_folder(place.parent)
        return Path(shutil.copyfile(file, _with_suffix(place, suffix)))
    elif suffix and isinstance(file, EncodedImage):
        content = file.content
    else:
        content, suffix = _as_tiff(file), ".tif"
    path = _with_suffix(place, suffix)
    write_bytes(path, content, is_durable=False)
    return path


def _with_suffix(place: Path, suffix: str) -> Path:
    return place.with_name(f"{place.name}{suffix}")


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _suffix_of(file: ImageFile) -> str:
    """Of an image that was read before; empty for kinds that folders of images do not hold."""
    if isinstance(file, EncodedImage):
        return content_suffix(file.content)
    suffix = file.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return suffix
    with file.open("rb") as stream:
        return content_suffix(stream.read(LONGEST_BEGINNING))


def _as_tiff(file: ImageFile) -> bytes:
    pixels, buffer = read_pixels(file), io.BytesIO()
    tifffile.imwrite(
        buffer, pixels if pixels.shape[2] > 1 else pixels[..., 0],
        photometric="rgb" if pixels.shape[2] == 3 else "minisblack",
        planarconfig="contig", compression="zlib",
    )  # fmt: skip
    return buffer.getvalue()

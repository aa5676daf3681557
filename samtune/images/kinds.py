"""Which files are pictures, and of what kind: by their names, and by how they begin."""

from dataclasses import dataclass
from pathlib import Path

from samtune.files import is_hidden
from samtune.images.dicom import SUFFIXES as DICOM_SUFFIXES
from samtune.images.dicom import is_dicom_content
from samtune.images.tiff import TIFF_BEGINS

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", *DICOM_SUFFIXES)
# Those that hold numbers as they were
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
# How files begin, and what they are then called
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", **dict.fromkeys(TIFF_BEGINS, ".tif"),
}  # fmt: skip
# Sizes of the second header of a BMP: two letters alone may begin any text
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
LONGEST_BEGINNING = 132
# What labels are called: a million of them are not opened
_TEXTS = (".txt", ".json", ".xml", ".csv", ".yaml", ".yml", ".geojson")


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


def is_picture(file: Path) -> bool:
    """Whether a file is an image by its suffix, or by its content, and is not hidden."""
    suffix = file.suffix.lower()
    if is_hidden(file):
        return False
    if suffix in IMAGE_SUFFIXES or suffix in _TEXTS:
        return suffix in IMAGE_SUFFIXES
    return bool(content_suffix(beginning_of(file)))


def is_mask(file: Path) -> bool:
    """Whether a file is a picture that holds numbers as they were, by its suffix."""
    return file.suffix.lower() in MASK_SUFFIXES and not is_hidden(file)


def content_suffix(beginning: bytes) -> str:
    """What an image file that begins so is called; empty for what is none that is read.

    Args:
        beginning: the first 132 bytes at least.
    """
    known = (suffix for begin, suffix in _BEGINNINGS.items() if beginning.startswith(begin))
    if found := next(known, ""):
        return found
    if is_dicom_content(beginning):
        return DICOM_SUFFIXES[0]
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return ".webp"
    is_bmp = beginning[:2] == b"BM" and int.from_bytes(beginning[14:18], "little") in _BMP_HEADERS
    return ".bmp" if is_bmp else ""


def picture_id(file: Path) -> str:
    """The name of an image without its suffix; numbers of DICOM after a full stop are no suffix."""
    return file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name


def beginning_of(file: ImageFile) -> bytes:
    """The first bytes of an image file; none of one that cannot be opened."""
    if isinstance(file, EncodedImage):
        return file.content[:LONGEST_BEGINNING]
    try:
        with file.open("rb") as stream:
            return stream.read(LONGEST_BEGINNING)
    except OSError:  # a folder, or a link to nowhere; whoever reads it says what is wrong
        return b""


def is_tiff(file: ImageFile) -> bool:
    """Whether an image is a TIFF, whatever its name says."""
    return beginning_of(file).startswith(TIFF_BEGINS)

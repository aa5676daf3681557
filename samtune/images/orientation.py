"""How a picture has to be turned: what its EXIF says, without decoding its pixels for that.

Of a PNG what is told may stand behind the pixels, so that Pillow decodes all of them to find it. Only
files that have something there are worth that.
"""

from typing import IO, Any

# EXIF's tag, and its values that exchange height and width
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
_SIGNATURE = 8
# Chunks of a PNG that may hold EXIF: its own, and text that older programs keep it in
_TELLING = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def orientation_of(image: Any) -> int:
    """EXIF's orientation of an opened picture (PIL), 1 where nothing is said."""
    if image.format == "PNG" and not _may_tell(image):
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def is_on_its_side(image: Any) -> bool:
    """Whether width and height of an opened picture (PIL) are exchanged when it is upright."""
    return orientation_of(image) in _ON_ITS_SIDE


def _may_tell(image: Any) -> bool:
    before_pixels = {"exif", "Raw profile type exif"} & image.info.keys()
    return bool(before_pixels) or _tells_behind_pixels(image.fp)


def _tells_behind_pixels(file: IO[bytes]) -> bool:
    """Go from chunk to chunk (PNG specification, 5.3) without reading what they hold."""
    file.seek(_SIGNATURE)
    is_behind = False
    while len(head := file.read(8)) == 8:
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name == b"IEND":
            return False
        if is_behind and name in _TELLING:
            return True
        is_behind |= name == b"IDAT"
        file.seek(length + 4, 1)
    return True  # cut off: whoever reads its pixels says so

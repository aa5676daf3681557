"""How a user reads images for a model, in code that a model card shows."""

from samtune.images.intensity import DARK_BELOW, STRETCH_PERCENTILES
from samtune.models.backend import Sam

_OPEN = """picture = ImageOps.exif_transpose(Image.open("image.png"))
if picture.mode in ("1", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
    picture = picture.convert("RGB")
values = np.nan_to_num(np.atleast_3d(np.asarray(picture)), posinf=0, neginf=0)
values = values[..., [0, 1, 2] if values.shape[2] > 2 else [0, 0, 0]]"""
_SCALE = """image = np.rint((values.astype(np.float32) - low) * (255 / max(high - low, 1e-6)))
image = image.clip(0, 255).astype(np.uint8)  # (height, width, 3)"""


def reading_imports(sam: Sam) -> tuple[str, ...]:
    """The imports that `reading_code` needs; numpy and Pillow's `Image` are among them."""
    if sam.reading.bands:
        return (
            "import numpy as np", "from PIL import Image", "from samtune.reading import Reading",
        )  # fmt: skip
    return "import numpy as np", "from PIL import Image, ImageOps"


def reading_code(sam: Sam) -> str:
    """Code that makes `image`, (H, W, 3) uint8 RGB, of a file: what `sam.reading.read` gives.

    Pillow and numpy are enough, unless channels are chosen: Pillow reads few files that have such.
    """
    reading = sam.reading
    if reading.bands:
        names = [band for band in reading.bands if isinstance(band, str)]
        numbers = "  # give their numbers from 0 instead of names" if names else ""
        lines = (
            f"bands = {list(reading.bands)}{numbers}",
            f"reading = Reading(bands, {reading.stretch!r}, {reading.intensity_range})",
            'image = reading.read("image.tif")',
        )
        return "\n".join(lines)
    return "\n".join([_OPEN, _range_code(sam), _SCALE])


def _range_code(sam: Sam) -> str:
    """Code for the values that become 0 and 255."""
    percentiles = f"low, high = np.percentile(values, {STRETCH_PERCENTILES})"
    if sam.reading.intensity_range:
        return f"low, high = {sam.reading.intensity_range}"
    if sam.reading.stretch == "percentile":
        return percentiles
    if sam.reading.stretch == "auto":
        return (
            f"{percentiles}\nif values.dtype == np.uint8 and high >= {DARK_BELOW}:"
            "  # bright enough as it is\n    low, high = 0, 255"
        )
    return (
        'low, high = 0, 255\nif values.dtype.kind == "f" and values.max() <= 1:\n    high = 1\n'
        'elif values.dtype.kind != "f" and values.max() > 255:\n    high = max(65535, values.max())'
    )


def reading_note(sam: Sam) -> tuple[str, ...]:
    """What goes wrong in programs that read images in their own way."""
    if sam.reading.is_plain:
        return ()
    return (
        'It was tuned on images read as told above: the code under "Use" does so (Pillow cuts 16-bit '
        "colour to 8 bits; samtune's Reading reads that, many channels and DICOM too). Programs that "
        "take pictures as they are, 16 bit cut off at 255, get other masks.",
    )

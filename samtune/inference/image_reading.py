"""Images as a model saw them in training."""

from collections.abc import Sequence
from pathlib import Path

from samtune.data.source import ReadSettings
from samtune.models.backend import Sam
from samtune.types import ImageArray


def read_as_trained(sam: Sam, path: Path, bands: Sequence[int | str] | None = None) -> ImageArray:
    """Read an image as (H, W, 3) uint8 RGB, in the window or stretch of the model's training.

    Args:
        sam: the model.
        path: the file.
        bands: instead of those of the training.

    Raises:
        UserError: the file is missing, damaged, of no known kind, or lacks a band.
    """
    chosen = bands or sam.bands
    settings = ReadSettings(
        stretch=sam.stretch, bands=tuple(chosen) if chosen else None,
        value_range=sam.value_range, window=sam.view.window,
    )  # fmt: skip
    return settings.read_image(path)

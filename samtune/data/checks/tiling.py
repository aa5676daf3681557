"""`data.tile: auto`: the side of tiles that suits the objects and the input of a model."""

import logging
from dataclasses import replace

from samtune.data.checks.sizes import choose_tile, typical_side
from samtune.data.checks.survey import survey
from samtune.data.datamodule import SamDataModule
from samtune.data.settings import DataSettings
from samtune.errors import UserError

log = logging.getLogger(__name__)


def with_tile(settings: DataSettings, side: int) -> DataSettings:
    """Settings in which a tile that is to be chosen is a number, and why is told.

    Some images of the largest split are looked at, whatever part of them is trained on.

    Args:
        settings: of the data.
        side: of the model's square input, pixels.

    Raises:
        UserError: the data cannot be opened, or they are scenes, whose windows are no matter of sizes
            alone.
    """
    if settings.tile != "auto":
        return settings
    module = SamDataModule(replace(settings, tile=0, train_images=0))
    found = survey(module)
    if found.format == "geo":
        raise UserError(
            "data.tile is auto, which is for images: give the windows of scenes a side in pixels "
            "(samtune init proposes one)"
        )
    tile = choose_tile(found.seen, side)
    typical = typical_side([area for image in found.seen for area in image.areas] or [0])
    seen = typical * side / (tile or max(max(image.hw) for image in found.seen))
    log.info(
        "data.tile auto: %s; objects are about %.0f pixels across, %.0f at the model's input",
        f"{tile} pixels" if tile else "whole images", typical, seen,
    )  # fmt: skip
    return replace(settings, tile=tile)

"""Images of a data set that show the same ground, as tiles cut with an overlap do.

Who tunes on one of two such images and tests on the other one has seen the answer. A folder of images
with masks says nothing of it, but the images do where they are GeoTIFFs.
"""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from samtune.data.geo.raster import Scene, opened
from samtune.data.geo.shared_ground import lay_on_ground, number_places
from samtune.errors import UserError
from samtune.types import Window

_SUFFIXES = {".tif", ".tiff"}
# Images by which it is seen whether any of them say where they lie
_PROBED = 3


def tied_by_ground(paths: Sequence[Path]) -> list[int]:
    """A number for each image, the same for those that show the same ground.

    Adjoining tiles do not; nor do images that do not say where they lie, or cannot be read. Without
    rasterio and shapely (the extra `geo`) all images are apart.

    Args:
        paths: of images, one for each.
    """
    apart = list(range(len(paths)))
    placed = [n for n, path in enumerate(paths) if path.suffix.lower() in _SUFFIXES]
    is_installed = find_spec("rasterio") is not None and find_spec("shapely") is not None
    # several parts of one file are told apart by whoever reads it
    if len(placed) < 2 or len(set(paths)) < len(paths) or not is_installed:
        return apart
    if not any(_place_of(paths[n]) for n in placed[:_PROBED]):
        return apart
    found = [(n, scene) for n in placed if (scene := _place_of(paths[n])) is not None]
    parts = [(scene, [Window(0, 0, scene.height, scene.width)]) for _, scene in found]
    sides = sorted(min(scene.height, scene.width) for _, scene in found)
    grounds = lay_on_ground(parts, sides[len(sides) // 2])
    laid = [n for n, ground in enumerate(grounds) if ground is not None]
    first: dict[int, int] = {}
    for n, place in zip(laid, number_places(grounds[laid]).tolist(), strict=True):
        apart[found[n][0]] = first.setdefault(place, found[n][0])
    return apart


def _place_of(path: Path) -> Scene | None:
    """What an image's header says of where it lies; `None` for nothing."""
    try:
        with warnings.catch_warnings(), opened(path) as file:
            warnings.simplefilter("ignore")  # that it says nothing is what is asked here
            crs = file.crs.to_wkt() if file.crs else ""
            transform = tuple(file.transform)[:6]
            scene = Scene(path, file.height, file.width, crs, transform, (), None, False, False)
    except UserError:  # whoever reads it says so
        return None
    return scene if scene.is_placed else None

"""What a scene needs beside the network: a drawn one with a disc every 32 pixels, time and memory.

    python scripts/scene_memory.py 8192 --out objects.gpkg

The network is left out, for it sees one window at a time whatever the scene: discs are found by their
brightness. Prints one JSON object.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from samtune.data.geo.raster import open_scene
from samtune.errors import require
from samtune.inference.geo.scenes import FoundObjects, SceneSettings, segment_scene
from samtune.reading import Reading
from samtune.types import ImageArray

_STEP = 32
_ROWS = 256


def write_discs(path: Path, side: int) -> None:
    """A square GeoTIFF with pixels of half a metre."""
    rasterio, affine = require("rasterio", "geo"), require("affine", "geo").Affine
    y, x = np.mgrid[:_STEP, :_STEP] - _STEP // 2
    rows = np.tile(np.where(np.hypot(x, y) < 11, 200, 0), (_ROWS // _STEP, side // _STEP))
    with rasterio.open(
        path, "w", driver="GTiff", height=side, width=side, count=1, dtype="uint8", tiled=True,
        crs="EPSG:32632", transform=affine(0.5, 0, 500_000, 0, -0.5, 5_500_000), compress="deflate",
    ) as file:  # fmt: skip
        for top in range(0, side, _ROWS):
            file.write(rows[None].astype(np.uint8), window=((top, top + _ROWS), (0, side)))


def find_discs(image: ImageArray) -> FoundObjects:
    labels, count = ndimage.label(image[..., 0] > 100)
    return FoundObjects(labels.astype(np.int32), np.full(count, 0.9, np.float32))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", type=int, help="of the scene, pixels; a multiple of 256")
    parser.add_argument("--out", default="objects.gpkg", help="its suffix is the format")
    parser.add_argument("--tile", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_discs(Path(folder) / "scene.tif", options.side)
        scene, settings = (
            open_scene(Path(folder) / "scene.tif", Reading()),
            SceneSettings(options.tile, options.tile // 4),
        )
        before, start = _peak(), time.perf_counter()
        count = segment_scene(scene, find_discs, Path(folder) / options.out, settings, {})
        seconds = round(time.perf_counter() - start, 1)
    found = {"objects": count, "seconds": seconds, "mb_before": before, "mb_peak": _peak()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""A scene with discs, and a finder that sees whatever is bright."""

import numpy as np
import pytest
from scipy import ndimage

from samtune.data.geo.raster import open_scene
from samtune.inference.geo.scenes import FoundObjects
from samtune.reading import Reading

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("shapely")


def find_bright(image):
    labels, count = ndimage.label(image[..., 0] > 128)
    return FoundObjects(labels.astype(np.int32), np.linspace(0.6, 0.9, count).astype(np.float32))


DISCS = [
    (60, 60, 40), (60, 160, 30), (150, 250, 40), (40, 300, 12), (200, 100, 35),
    (270, 220, 20), (250, 330, 30), (120, 380, 15), (280, 30, 8), (200, 20, 4),
]  # fmt: skip


@pytest.fixture
def discs_image():
    """300 x 400 with discs of radius 4 to 40 that do not touch."""
    image = np.zeros((300, 400), np.uint8)
    y, x = np.mgrid[:300, :400]
    for cy, cx, radius in DISCS:
        image[np.hypot(y - cy, x - cx) < radius] = 255
    return image


@pytest.fixture
def make_scene(tmp_path):
    """Writes an image of one band as a scene with pixels of 2 m."""

    def make(image, crs="EPSG:32632", **more):
        place = rasterio.Affine(2, 0, 500_000, 0, -2, 6_000_000)
        grid = ({"crs": crs, "transform": place} if crs else {}) | more
        with rasterio.open(
            tmp_path / "scene.tif", "w", driver="GTiff", count=1, height=image.shape[0],
            width=image.shape[1], dtype=image.dtype, **grid,
        ) as file:  # fmt: skip
            file.write(image[None])
        return open_scene(tmp_path / "scene.tif", Reading())

    return make

"""Labels that were saved as JPEG: black and white is told, other values are refused."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from samtune.data.geo.label_raster import open_labels
from samtune.data.geo.raster import open_scene
from samtune.errors import UserError
from samtune.images.kinds import EncodedImage
from samtune.images.labels import read_labels
from samtune.reading import Reading

MASK = np.zeros((40, 56), np.uint8)
MASK[5:21, 9:31], MASK[25:33, 40:50] = 1, 1
CLASSES = MASK + np.where(np.arange(40)[:, None] > 22, MASK, 0)


def encoded(values, kind="JPEG", **more):
    content = io.BytesIO()
    Image.fromarray(values).save(content, kind, **more)
    return EncodedImage(f"a.{kind}", content.getvalue())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("as_colours", [False, True])
def test_a_mask_of_black_and_white_is_as_it_was(kind, as_colours):
    values = MASK * 255
    values = np.repeat(values[..., None], 3, axis=2) if as_colours else values
    found = read_labels(encoded(values, kind, quality=80))
    np.testing.assert_array_equal(found, MASK.astype(np.int32) * 255)
    assert not read_labels(encoded(values * 0, kind)).any()


@pytest.mark.parametrize("values", [MASK, CLASSES, CLASSES * 60, CLASSES * 100])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_values_are_refused(kind, values):
    with pytest.raises(UserError, match="holds labels as JPEG or lossy WebP, which changes"):
        read_labels(encoded(values, kind))


def test_colours_are_refused():
    with pytest.raises(UserError, match="holds labels as JPEG"):
        read_labels(encoded(np.dstack([MASK * 255, MASK, MASK])))


def test_webp_without_loss_is_read():
    found = read_labels(encoded(np.repeat(CLASSES[..., None], 3, axis=2), "WEBP", lossless=True))
    np.testing.assert_array_equal(found, CLASSES)


def test_tiffs_may_be_jpeg_inside(tmp_path):
    for values, name in ((MASK * 255, "a.tif"), (CLASSES * 60, "b.tif")):
        tifffile.imwrite(tmp_path / name, values, compression="jpeg", photometric="minisblack")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), MASK.astype(np.int32) * 255)
    with pytest.raises(UserError, match=r"b\.tif holds labels as JPEG"):
        read_labels(tmp_path / "b.tif")


def test_a_label_raster_of_jpeg_is_refused(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    about = {"driver": "GTiff", "height": 40, "width": 56, "count": 1, "dtype": "uint8",
             "crs": "EPSG:32632", "transform": rasterio.Affine(1, 0, 5e5, 0, -1, 5e6)}  # fmt: skip
    for name, more in (("a.tif", {}), ("a_labels.tif", {"compress": "JPEG"})):
        with rasterio.open(tmp_path / name, "w", **about, **more) as file:
            file.write(CLASSES[None] * 60)
    with pytest.raises(UserError, match="is compressed as JPEG, which changes the values"):
        open_labels(tmp_path / "a_labels.tif", open_scene(tmp_path / "a.tif", Reading()))

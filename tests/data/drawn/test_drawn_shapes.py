import numpy as np
import pytest
from scipy import ndimage

from samtune.data.drawn.shapes import ANY, band, blob, crescent, fill, rectangle, ring, roof

HW = (96, 128)


@pytest.mark.parametrize("shape", sorted(set(ANY), key=lambda f: f.__name__))
def test_every_shape_is_a_mask_of_zeros_and_ones(shape):
    for seed in range(20):
        mask = shape(np.random.default_rng(seed), (60.0, 50.0), 15.0, HW)
        assert mask.shape == HW
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 1}


@pytest.mark.parametrize("shape", sorted(set(ANY), key=lambda f: f.__name__))
def test_shapes_may_lie_partly_or_wholly_outside(shape):
    for centre in ((0.0, 0.0), (-300.0, 40.0), (5000.0, 5000.0)):
        mask = shape(np.random.default_rng(1), centre, 15.0, HW)
        assert mask.shape == HW


def test_a_blob_covers_about_the_area_of_its_circle():
    areas = [blob(np.random.default_rng(n), (64, 48), 20, HW).sum() for n in range(30)]
    assert np.median(areas) == pytest.approx(np.pi * 20**2, rel=0.1)


def test_a_polygon_is_filled_to_its_corners():
    corners = np.array([[10, 10], [19, 10], [19, 29], [10, 29]], np.float32)
    mask = fill(corners, HW)
    assert mask.sum() == mask[10:30, 10:20].sum() == 200


def test_a_turned_rectangle_keeps_its_area():
    mask = rectangle((64, 48), (40, 20), 0.7, HW)
    assert 800 <= int(mask.sum()) <= 800 + 120  # OpenCV counts the outline in


def test_rings_have_holes_and_crescents_do_not():
    for seed in range(10):
        band_ = ring(np.random.default_rng(seed), (64, 48), 25, HW)
        assert not band_[48, 64]
        assert ndimage.binary_fill_holes(band_).sum() > 1.15 * band_.sum()
        bitten = crescent(np.random.default_rng(seed), (64, 48), 25, HW)
        assert ndimage.binary_fill_holes(bitten).sum() < 1.15 * bitten.sum()


def test_a_roof_is_one_piece():
    for seed in range(20):
        mask = roof(np.random.default_rng(seed), (64, 48), 20, 0.3, HW)
        assert ndimage.label(mask)[1] == 1


def test_a_band_has_its_thickness():
    line = np.array([[-10, 40], [140, 40]], np.float32)
    assert 7 <= int(band(line, 7, HW)[:, 60].sum()) <= 9  # and so it does with a line's
    assert int(band(line, 0.2, HW)[:, 60].sum()) == 1

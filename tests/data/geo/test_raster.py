"""Scenes: bands, stretches, nodata, ground distances, label rasters, and damaged files."""

import numpy as np
import pytest

from samtune.data.geo.frames import crs_to_pixel, metres_per_pixel, pixel_to_crs
from samtune.data.geo.label_raster import open_labels, read_label_window
from samtune.data.geo.raster import has_data, open_scene, read_window
from samtune.errors import UserError
from samtune.images.pixels import read_image
from samtune.reading import Reading
from samtune.types import Window

rasterio = pytest.importorskip("rasterio")
Affine = pytest.importorskip("affine").Affine
WHOLE = Window(0, 0, 6, 8)


@pytest.fixture
def bands():
    """Four bands of 6 x 8: constant 100, 200, 300, 400."""
    return np.ones((4, 6, 8), np.uint16) * np.array([100, 200, 300, 400], np.uint16)[:, None, None]


def colours(scene):
    return read_window(scene, WHOLE)[0][0, 0].tolist()


@pytest.mark.parametrize(
    "reading", [Reading(), Reading(stretch="auto"), Reading(value_range=(0, 9))]
)
def test_a_scene_without_values_is_told(write_scene, caplog, reading):
    values = np.full((3, 6, 8), np.nan, np.float32)
    image, is_valid = read_window(open_scene(write_scene("a.tif", values), reading), WHOLE)
    assert not image.any()
    assert not is_valid.any()
    assert "a.tif holds no values where it was looked at" in caplog.text
    caplog.clear()
    values[:, 2, 3] = 5
    open_scene(write_scene("b.tif", values), reading)
    assert "holds no values" not in caplog.text


@pytest.mark.parametrize(("dtype", "nodata"), [(np.float32, None), (np.int16, -9999)])
def test_a_band_without_values_is_told(write_scene, caplog, dtype, nodata):
    values = np.ones((3, 6, 8), dtype)
    values[1] = np.nan if nodata is None else nodata
    path = write_scene("a.tif", values, nodata=nodata)
    open_scene(path, Reading(bands=(0, 2, 2)))
    assert "holds no values" not in caplog.text
    open_scene(path, Reading())
    assert "a.tif holds no values in band 1 where it was looked at" in caplog.text


@pytest.mark.parametrize(
    "place", [(1, 1, 5, 1, 1, 5), (2, 0, 5, 0, np.nan, 5), (1e-300, 0, 5, 0, -1e-310, 5),
              (2, 0, np.inf, 0, -2, 5)],
)  # fmt: skip
def test_a_transform_that_gives_pixels_no_places_is_refused(write_scene, bands, place):
    path = write_scene("a.tif", bands)
    with rasterio.open(path, "r+") as file:
        file.transform = Affine(*place)
    with pytest.raises(UserError, match=r"a\.tif has the transform .* georeference it again"):
        open_scene(path, Reading())


class TestBands:
    RANGE = (0.0, 510.0)

    def test_the_first_three_without_names_and_that_is_known(self, write_scene, bands):
        scene = open_scene(write_scene("a.tif", bands), Reading(value_range=self.RANGE))
        assert colours(scene) == [50, 100, 150]
        assert not scene.is_marked

    def test_by_the_names_that_the_file_gives(self, write_scene, bands):
        path = write_scene("a.tif", bands, names=("Blue", "Green", "Red", "NIR"))
        scene = open_scene(path, Reading(value_range=self.RANGE))
        assert colours(scene) == [150, 100, 50]
        assert scene.is_marked

    @pytest.mark.parametrize("chosen", [["nir", "Red", "green"], [3, 2, 1], ["3", "red", 1]])
    def test_by_name_or_number_as_asked(self, write_scene, bands, chosen):
        path = write_scene("a.tif", bands, names=("blue", "green", "red", "nir"))
        assert colours(open_scene(path, Reading(bands=chosen, value_range=self.RANGE))) == [
            200,
            150,
            100,
        ]

    def test_one_is_grey(self, write_scene, bands):
        path = write_scene("a.tif", bands)
        assert colours(open_scene(path, Reading(bands=[3], value_range=self.RANGE))) == [
            200,
            200,
            200,
        ]

    @pytest.mark.parametrize(
        ("chosen", "said"), [(["swir"], "no band swir"), ([7], "no band 7"), ([0, 1], "names 2")]
    )
    def test_others_are_refused(self, write_scene, bands, chosen, said):
        with pytest.raises(UserError, match=said):
            open_scene(write_scene("a.tif", bands), Reading(bands=chosen))


class TestColourTables:
    @pytest.fixture
    def path(self, write_scene):
        rasterio = pytest.importorskip("rasterio")
        values = np.tile(np.array([0, 1, 2, 9], np.uint8), 12).reshape(1, 6, 8)
        path = write_scene("a.tif", values, photometric="palette", nodata=2)
        with rasterio.open(path, "r+") as file:
            table = {0: (255, 255, 255, 255), 1: (200, 30, 40, 255), 2: (0, 120, 0, 255)}
            file.write_colormap(1, table)
        return path

    @pytest.mark.parametrize("stretch", ["none", "percentile"])
    def test_images_are_shown_in_their_colours(self, path, stretch):
        image, is_valid = read_window(open_scene(path, Reading(stretch=stretch)), WHOLE)
        assert image[0, :4].tolist() == [[255, 255, 255], [200, 30, 40], [0, 0, 0], [0, 0, 0]]
        assert is_valid[0, :4].tolist() == [True, True, False, True]

    def test_coarser_ones_have_no_colour_between(self, path):
        image, _ = read_window(open_scene(path, Reading()), WHOLE, (3, 4))
        found = np.unique(image.reshape(-1, 3), axis=0).tolist()
        assert all(colour in [[0, 0, 0], [200, 30, 40], [255, 255, 255]] for colour in found)

    def test_labels_keep_their_values(self, path):
        labels = read_label_window(
            open_labels(path, scene := open_scene(path, Reading())), scene, WHOLE
        )
        assert labels[0, :4].tolist() == [0, 1, 0, 9]


class TestValues:
    def test_a_scene_that_comes_out_black_is_told(self, write_scene, caplog):
        ramp = np.linspace(500, 2600, 48).reshape(1, 6, 8).astype(np.uint16)
        open_scene(write_scene("a.tif", ramp), Reading())
        assert "use 3 % of the brightness" in caplog.text
        caplog.clear()
        open_scene(write_scene("new/a.tif", ramp), Reading(stretch="auto"))
        assert not caplog.messages

    def test_a_stretch_is_of_the_whole_scene(self, write_scene):
        ramp = np.linspace(0, 4000, 48).reshape(1, 6, 8).astype(np.uint16)
        scene = open_scene(write_scene("a.tif", ramp), Reading(stretch="auto"))
        left, right = (read_window(scene, Window(y, 0, 1, 8))[0] for y in (0, 5))
        assert left.max() < 50
        assert right.min() > 200

    def test_8_bits_stay_as_they_are(self, write_scene):
        values = np.random.default_rng(0).integers(0, 256, (3, 6, 8), np.uint8)
        scene = open_scene(write_scene("a.tif", values), Reading(stretch="auto"))
        np.testing.assert_array_equal(read_window(scene, WHOLE)[0], np.moveaxis(values, 0, 2))

    @pytest.mark.parametrize("top", [100, 200])
    def test_dark_8_bits_are_stretched_as_those_of_one_image_are(self, write_scene, top):
        values = np.linspace(0, top, 144).reshape(3, 6, 8).astype(np.uint8)
        path = write_scene("a.tif", values)
        found = read_window(open_scene(path, Reading(stretch="auto")), WHOLE)[0]
        np.testing.assert_array_equal(found, read_image(path, stretch="auto"))
        assert found.max() == (255 if top == 100 else 200)

    def test_nodata_is_black_and_not_stretched_over(self, write_scene):
        values = np.full((1, 6, 8), 1000, np.uint16)
        values[0, :, :4] = 0
        values[0, 0, 4:] = 1200
        scene = open_scene(write_scene("a.tif", values, nodata=0), Reading(stretch="percentile"))
        image, is_valid = read_window(scene, WHOLE)
        assert is_valid.tolist() == [[False] * 4 + [True] * 4] * 6
        assert image[:, :4].max() == 0
        assert (image[0, 5, 0], image[5, 5, 0]) == (255, 0)
        assert not has_data(scene, Window(0, 0, 6, 4))
        assert has_data(scene, WHOLE)

    def test_a_pixel_is_nodata_only_where_all_its_bands_are(self, write_scene):
        values = np.full((3, 6, 8), 100, np.uint8)
        values[:, 0, 0], values[:, 0, 1] = (255, 255, 200), (255, 255, 255)
        image, is_valid = read_window(
            open_scene(write_scene("a.tif", values, nodata=255), Reading()), WHOLE
        )
        assert image[0, :3].tolist() == [[255, 255, 200], [0, 0, 0], [100, 100, 100]]
        assert is_valid[0, :3].tolist() == [True, False, True]

    def test_alpha_alone_says_where_there_is_no_data(self, write_scene):
        values = np.full((4, 6, 8), 255, np.uint8)
        values[3, :, 4:], values[0, 0, 0] = 0, 0
        path = write_scene("a.tif", values, photometric="RGB", alpha="YES")
        image, is_valid = read_window(open_scene(path, Reading()), WHOLE)
        assert is_valid.tolist() == [[True] * 4 + [False] * 4] * 6
        assert image[0, 0].tolist() == [0, 255, 255]
        assert image[:, 4:].max() == 0

    def test_values_that_are_not_finite_are_no_data(self, write_scene):
        values = np.ones((1, 6, 8), np.float32)
        values[0, 2, 3], values[0, 4, 4] = np.nan, np.inf
        image, is_valid = read_window(open_scene(write_scene("a.tif", values), Reading()), WHOLE)
        assert (~is_valid).sum() == 2
        assert image[2, 3].tolist() == [0, 0, 0]
        assert image[0, 0].tolist() == [255, 255, 255]

    def test_a_scene_without_any_data_opens(self, write_scene):
        path = write_scene("a.tif", np.zeros((1, 6, 8), np.uint16), nodata=0)
        assert not has_data(open_scene(path, Reading(stretch="percentile")), WHOLE)

    def test_the_stretch_of_a_large_scene_is_found_by_samples(self, write_scene):
        ramp = np.tile(np.linspace(0, 1000, 2400).astype(np.uint16), (2400, 1))[None]
        low, high = open_scene(
            write_scene("a.tif", ramp), Reading(stretch="percentile")
        ).value_range
        assert low < 30
        assert high > 970


class TestGround:
    @pytest.mark.parametrize(
        ("crs", "size", "corner", "expected", "within"),
        [
            ("EPSG:32632", 10.0, (500_000.0, 6_240_000.0), (10.004, 10.004), 0.001),  # scale 0.9996
            ("EPSG:3857", 10.0, (0.0, 8_399_738.0), (5.0, 5.0), 0.04),  # 60 degrees north
            ("EPSG:4326", 1e-4, (0.0, 0.01), (11.057, 11.132), 0.001),  # at the equator
        ],
    )
    def test_distances_are_those_on_the_ellipsoid(
        self, write_scene, crs, size, corner, expected, within
    ):
        path = write_scene("a.tif", np.zeros((1, 6, 8), np.uint8), crs, size, corner)
        assert metres_per_pixel(open_scene(path, Reading())) == pytest.approx(expected, abs=within)

    @pytest.mark.parametrize(("unit", "metres"), [('"metre",1', 0.5), ('"foot",0.3048', 0.1524)])
    def test_a_site_has_a_unit_of_its_own(self, write_scene, unit, metres):
        crs = f'LOCAL_CS["site",UNIT[{unit}],AXIS["E",EAST],AXIS["N",NORTH]]'
        path = write_scene("a.tif", np.zeros((1, 6, 8), np.uint8), crs, 0.5, (0.0, 0.0))
        assert metres_per_pixel(open_scene(path, Reading())) == pytest.approx((metres, metres))

    def test_unknown_without_georeference(self, write_scene):
        path = write_scene("a.tif", np.zeros((1, 6, 8), np.uint8), crs=None)
        assert metres_per_pixel(open_scene(path, Reading())) is None

    def test_pixels_and_coordinates_are_inverse(self, write_scene):
        scene = open_scene(write_scene("a.tif", np.zeros((1, 6, 8), np.uint8)), Reading())
        points = np.array([[0.0, 0.0], [3.5, 2.25]])
        there = pixel_to_crs(scene, points)
        assert there.tolist() == [[500_000, 6_000_000], [500_007, 5_999_995.5]]
        np.testing.assert_allclose(crs_to_pixel(scene, there), points)


class TestNamesOfBands:
    @pytest.mark.parametrize("names", [("B02", "B03", "B04", "B08"), ("b02 ", "B03", "B04", "")])
    def test_of_sentinel_are_known(self, write_scene, bands, names):
        scene = open_scene(write_scene("a.tif", bands, names=names), Reading())
        assert scene.bands == (3, 2, 1)
        assert scene.is_marked


class TestLabelRasters:
    @pytest.fixture
    def scene(self, write_scene):
        return open_scene(write_scene("a.tif", np.zeros((1, 6, 8), np.uint8)), Reading())

    def test_on_the_same_grid_ids_are_read_as_they_are(self, write_scene, scene):
        values = np.arange(48, dtype=np.uint32).reshape(1, 6, 8) + 70_000
        path = write_scene("l.tif", values)
        found = read_label_window(open_labels(path, scene), scene, Window(2, 3, 3, 4))
        np.testing.assert_array_equal(found, values[0, 2:5, 3:7])

    def test_on_another_grid_the_nearest_is_taken(self, write_scene, scene):
        path = write_scene("l.tif", np.array([[[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 0, 5]]], "uint8"),
                           size=4.0)  # fmt: skip
        expected = np.repeat(np.repeat([[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 0, 5]], 2, 0), 2, 1)
        np.testing.assert_array_equal(
            read_label_window(open_labels(path, scene), scene, WHOLE), expected
        )

    def test_nodata_is_background(self, write_scene, scene):
        path = write_scene("l.tif", np.full((1, 6, 8), 255, np.uint8), nodata=255)
        assert not read_label_window(open_labels(path, scene), scene, WHOLE).any()

    def test_three_bands_are_colours(self, write_scene, scene):
        values = np.zeros((3, 6, 8), np.uint8)
        values[:, :, 2], values[:, :, 3] = [[255], [255], [0]], [[255]] * 3
        path = write_scene("l.tif", values, nodata=255)
        found = read_label_window(open_labels(path, scene), scene, Window(1, 1, 2, 3))
        assert found[0].tolist() == [[0, 0, 0], [255, 255, 0], [0, 0, 0]]

    def test_colours_on_another_grid_are_the_nearest_ones(self, write_scene, scene):
        values = np.zeros((3, 3, 4), np.uint8)
        values[:, 1, 1], values[:, 1, 2] = (255, 0, 7), (255, 255, 255)
        path = write_scene("l.tif", values, size=4.0, nodata=255)
        found = read_label_window(open_labels(path, scene), scene, WHOLE)
        assert found[3].tolist() == [[0, 0, 0]] * 2 + [[255, 0, 7]] * 2 + [[0, 0, 0]] * 4

    def test_the_whole_file_tells_values_stored_three_times_from_colours(self, write_scene, scene):
        values = np.full((3, 6, 8), 7, np.uint8)
        grey = open_labels(write_scene("l.tif", values), scene)
        assert (read_label_window(grey, scene, Window(0, 0, 2, 2)) == 7).all()
        values[0, 5, 7] = 8
        coloured = open_labels(write_scene("m.tif", values), scene)
        assert read_label_window(coloured, scene, Window(0, 0, 2, 2)).shape == (2, 2, 3)

    def test_fractions_are_no_labels(self, write_scene, scene):
        path = write_scene("l.tif", np.full((1, 6, 8), 0.5, np.float32))
        with pytest.raises(UserError, match="no labels"):
            read_label_window(open_labels(path, scene), scene, WHOLE)

    def test_another_size_without_georeference_is_refused(self, write_scene, scene):
        path = write_scene("l.tif", np.zeros((1, 5, 8), np.uint8), crs=None)
        with pytest.raises(UserError, match=r"8x5 pixels, but .* 8x6"):
            read_label_window(open_labels(path, scene), scene, WHOLE)

    @pytest.mark.parametrize("crs", [None, "EPSG:32632"])
    @pytest.mark.parametrize("shift", [(0, 0), (2, 1)])
    @pytest.mark.parametrize("is_south_up", [False, True])
    def test_a_transform_places_labels_with_a_crs_or_without(
        self, write_scene, scene, crs, shift, is_south_up
    ):
        values = np.arange(1, 49, dtype=np.uint8).reshape(6, 8)
        x, y = 500_000 + 2 * shift[0], 6_000_000 - 2 * shift[1]
        place = Affine(2, 0, x, 0, 2, y - 12) if is_south_up else Affine(2, 0, x, 0, -2, y)
        stored = values[::-1] if is_south_up else values
        path = write_scene("l.tif", stored[None], crs=None, transform=place)
        if crs:
            with rasterio.open(path, "r+") as file:
                file.crs = crs
        raster = open_labels(path, scene)
        expected = np.zeros((6, 8), np.int32)
        expected[shift[1] :, shift[0] :] = values[: 6 - shift[1], : 8 - shift[0]]
        np.testing.assert_array_equal(read_label_window(raster, scene, WHOLE), expected)
        told = f"{path} names no CRS: its transform was taken to be in that of {scene.path}"
        assert raster.notes == (() if crs else (told,))

    def test_of_a_scene_without_a_crs_the_transform_places_labels_too(self, write_scene):
        place = Affine(2, 0, 500_000, 0, -2, 6_000_000)
        path = write_scene("b.tif", np.zeros((1, 6, 8), np.uint8), crs=None, transform=place)
        scene = open_scene(path, Reading())
        values = np.arange(1, 49, dtype=np.uint8).reshape(1, 6, 8)
        for crs in (None, "EPSG:32632"):
            where = {"transform": place * Affine.translation(0, 2)} if crs is None else {}
            corner = (500_000.0, 5_999_996.0)
            path = write_scene("l.tif", values, crs=crs, corner=corner, **where)
            found = read_label_window(open_labels(path, scene), scene, WHOLE)
            np.testing.assert_array_equal(found[2:], values[0, :4])
            assert not found[:2].any()

    def test_labels_that_lie_elsewhere_are_refused(self, write_scene, scene):
        path = write_scene("l.tif", np.ones((1, 6, 8), np.uint8), corner=(600_000.0, 6_000_000.0))
        with pytest.raises(UserError, match=r"l\.tif lies elsewhere than .*a\.tif.*600000"):
            open_labels(path, scene)

    def test_labels_without_a_place_lie_pixel_by_pixel_and_it_is_told(self, write_scene, scene):
        values = np.arange(48, dtype=np.uint8).reshape(1, 6, 8)
        raster = open_labels(write_scene("l.tif", values, crs=None), scene)
        np.testing.assert_array_equal(read_label_window(raster, scene, WHOLE), values[0])
        assert "l.tif does not say where it lies" in raster.notes[0]


class TestDamagedFiles:
    @pytest.mark.parametrize("content", [b"", b"II*\0", b"not a picture", b"II*\0\xff\xff\xff\xff"])
    def test_what_is_no_raster_is_said_in_one_line(self, tmp_path, write_scene, content):
        path = tmp_path / "né bon.tif"
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as a raster") as error:
            open_scene(path, Reading())
        assert "\n" not in str(error.value)

    def test_a_truncated_one_fails_where_it_is_read(self, write_scene):
        noise = np.random.default_rng(0).integers(0, 255, (1, 600, 800), np.uint8)
        path = write_scene("a.tif", noise)
        path.write_bytes(path.read_bytes()[:100_000])
        with pytest.raises(UserError, match=r"a\.tif cannot be read as a raster"):
            read_window(open_scene(path, Reading()), Window(0, 0, 600, 800))


@pytest.mark.parametrize("is_copy", [True, False])
def test_of_several_pages_the_first_is_not_taken_for_all(tmp_path, is_copy):
    tifffile = pytest.importorskip("tifffile")
    values = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values)
        writer.write(values[::2, ::2] if is_copy else (values % 256).astype(np.uint8))
    if is_copy:
        assert open_scene(tmp_path / "a.tif", Reading()).height == 40
    else:
        with pytest.raises(
            UserError, match="a TIFF of 2 pictures, of which more than one is 30x40"
        ):
            open_scene(tmp_path / "a.tif", Reading())

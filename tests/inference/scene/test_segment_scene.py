"""Scenes window by window: seams, polygons, labels, resuming, prompts of a vector file."""

import json

import numpy as np
import pytest
from scipy import ndimage

from samtune.data.geo.raster import Window, open_scene
from samtune.data.geo.vector import read_polygons
from samtune.errors import UserError
from samtune.inference.scene.grid import common, make_grid
from samtune.inference.scene.polygons import outline_objects, simplify_together
from samtune.inference.scene.prompted import without_overlaps
from samtune.inference.scene.segment import SceneSettings, segment_prompted, segment_scene
from tests.inference.scene.conftest import find_bright

rasterio = pytest.importorskip("rasterio")
raw = pytest.importorskip("pyogrio.raw")
shapely = pytest.importorskip("shapely")

SMALL = SceneSettings(side=100, overlap=40)


def read(path):
    meta, _, shapes, columns = raw.read(path)
    return shapely.from_wkb(shapes), dict(zip(meta["fields"], columns, strict=True)), meta["crs"]


def labels_of(path):
    with rasterio.open(path) as file:
        return file.read(1)


class TestGrid:
    @pytest.mark.parametrize(
        ("side", "overlap"), [(100, 40), (128, 0), (300, 10), (64, 63), (500, 9)]
    )
    def test_cores_cover_every_pixel_once(self, make_scene, discs_image, side, overlap):
        counts = np.zeros(discs_image.shape, int)
        for cell in make_grid(make_scene(discs_image), side, overlap):
            core = cell.core
            counts[core.y : core.y + core.height, core.x : core.x + core.width] += 1
            assert common(core, cell.window) == core
        assert (counts == 1).all()

    def test_windows_apart_have_nothing_in_common(self):
        assert common(Window(0, 0, 5, 5), Window(5, 0, 5, 5)) is None
        assert common(Window(0, 0, 5, 5), Window(3, 4, 5, 5)) == Window(3, 4, 2, 1)


class TestSeams:
    def test_objects_over_several_windows_come_out_as_one(self, make_scene, discs_image, tmp_path):
        out = tmp_path / "out.tif"
        truth, count = ndimage.label(discs_image)
        assert segment_scene(make_scene(discs_image), find_bright, out, SMALL, {}) == count
        found = labels_of(out)
        pairs = np.unique(np.stack([found, truth]).reshape(2, -1), axis=1)
        assert pairs.shape[1] == count + 1  # one number for each, and nothing for nothing
        with rasterio.open(out) as file, rasterio.open(tmp_path / "scene.tif") as scene:
            assert (file.crs, file.transform) == (scene.crs, scene.transform)

    def test_small_objects_are_left_out(self, make_scene, discs_image, tmp_path):
        settings = SceneSettings(side=100, overlap=40, min_area=500)
        _, count = ndimage.label(discs_image)
        sizes = np.bincount(ndimage.label(discs_image)[0].ravel())[1:]
        found = segment_scene(
            make_scene(discs_image), find_bright, tmp_path / "o.tif", settings, {}
        )
        assert found == (sizes >= 500).sum() < count

    def test_what_a_neighbour_does_not_know_counts_where_it_mostly_lies(self, make_scene, tmp_path):
        image = np.zeros((100, 160), np.uint8)
        image[40:60, 60:90] = 255  # the seam of two windows of 100 is at 80

        def left_only(picture):
            labels, scores = find_bright(picture)
            is_left = labels[:, 0:1].size and labels[50, 65] > 0 and labels[50, 35] == 0
            return (labels, scores) if is_left else (np.zeros_like(labels), scores[:0])

        settings = SceneSettings(side=100, overlap=40)
        assert segment_scene(make_scene(image), left_only, tmp_path / "a.tif", settings, {}) == 1
        assert labels_of(tmp_path / "a.tif").sum() == 20 * 20

    def test_nothing_found_is_an_empty_file(self, make_scene, tmp_path):
        scene = make_scene(np.zeros((50, 60), np.uint8))
        for name in ("a.gpkg", "a.geojson", "a.tif"):
            assert segment_scene(scene, find_bright, tmp_path / name, SMALL, {}) == 0
            assert (tmp_path / name).exists()


class TestPolygons:
    @pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.fgb", "a.geojson"])
    def test_lie_on_the_map_with_their_attributes(self, make_scene, discs_image, tmp_path, name):
        settings = SceneSettings(side=100, overlap=40, class_name="Wald ü")
        scene = make_scene(discs_image)
        segment_scene(scene, find_bright, tmp_path / name, settings, {})
        shapes, columns, crs = read(tmp_path / name)
        assert len(shapes) == 10
        assert shapely.is_valid(shapes).all()
        assert set(columns["class"]) == {"Wald ü"}
        assert crs == ("EPSG:4326" if name == "a.geojson" else "EPSG:32632")
        # laid over the image again, they are the discs
        polygons = read_polygons(tmp_path / name)
        from samtune.data.geo.drawing import draw

        drawn, _ = draw(polygons, np.arange(10), scene, Window(0, 0, 300, 400))
        difference = (drawn.max(axis=0) > 0) != (discs_image > 0)
        assert difference.sum() < 0.03 * (discs_image > 0).sum()
        # 2 m pixels, of which the projection makes 1.0008 m for each
        disc = np.sort(columns["area_m2"])[-1]
        assert disc == pytest.approx(np.pi * 40**2 * 4 * 1.0008, rel=0.01)
        assert np.sort(columns["perim_m"])[-1] == pytest.approx(2 * np.pi * 40 * 2, rel=0.1)

    def test_without_tolerance_they_run_along_pixels(self, make_scene, discs_image, tmp_path):
        settings = SceneSettings(side=100, overlap=40, tolerance=0)
        segment_scene(make_scene(discs_image), find_bright, tmp_path / "a.gpkg", settings, {})
        shapes, _, _ = read(tmp_path / "a.gpkg")
        assert shapely.area(shapes).sum() == (discs_image > 0).sum() * 4

    def test_neighbours_still_fit_after_simplification(self):
        y, x = np.mgrid[:60, :60]
        labels = (1 + (x + 3 * np.sin(y / 4) > 30) + 2 * (y + 3 * np.cos(x / 5) > 28)).astype(
            np.int32
        )
        outlines = outline_objects([(Window(0, 0, 60, 60), labels)], 4)
        simple = simplify_together(outlines, 2.0)
        corners = [len(shapely.get_coordinates(part)) for part in (outlines, simple)]
        assert corners[1] < corners[0] / 3
        assert shapely.area(shapely.union_all(simple)) == pytest.approx(shapely.area(simple).sum())
        assert not any(len(p.interiors) for p in shapely.get_parts(shapely.union_all(simple)))

    def test_without_a_crs_sizes_are_pixels(self, make_scene, discs_image, tmp_path):
        scene = make_scene(discs_image, crs=None)
        segment_scene(scene, find_bright, tmp_path / "a.gpkg", SMALL, {})
        _, columns, crs = read(tmp_path / "a.gpkg")
        assert columns["area_px"].sum() == (discs_image > 0).sum()
        assert crs is None


class TestResuming:
    def test_an_interrupted_run_goes_on_and_gives_the_same_file(
        self, make_scene, discs_image, tmp_path
    ):
        scene, calls = make_scene(discs_image), []

        def interrupted(image):
            calls.append(1)
            if len(calls) == 7:
                raise KeyboardInterrupt
            return find_bright(image)

        whole, parts = tmp_path / "whole.geojson", tmp_path / "parts.geojson"
        segment_scene(scene, find_bright, whole, SMALL, {})
        with pytest.raises(KeyboardInterrupt):
            segment_scene(scene, interrupted, parts, SMALL, {})
        assert not parts.exists()
        segment_scene(scene, interrupted, parts, SMALL, {})
        assert len(calls) == len(make_grid(scene, 100, 40)) + 1
        named = [json.loads(path.read_text()) for path in (whole, parts)]
        assert named[0]["features"] == named[1]["features"]
        assert not list(tmp_path.glob("*.partial"))

    def test_windows_of_other_settings_are_not_gone_on_with(
        self, make_scene, discs_image, tmp_path
    ):
        scene, out = make_scene(discs_image), tmp_path / "a.gpkg"

        def broken(image):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            segment_scene(scene, broken, out, SMALL, {"model": "one"})
        with pytest.raises(UserError, match="model differ"):
            segment_scene(scene, find_bright, out, SMALL, {"model": "two"})

    def test_a_damaged_window_is_named(self, make_scene, discs_image, tmp_path):
        scene, out = make_scene(discs_image), tmp_path / "a.gpkg"
        calls = []

        def twice(image):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return find_bright(image)

        with pytest.raises(KeyboardInterrupt):
            segment_scene(scene, twice, out, SMALL, {})
        next((tmp_path / "a.gpkg.partial").glob("*.npz")).write_bytes(b"PK")
        with pytest.raises(UserError, match="is damaged"):
            segment_scene(scene, find_bright, out, SMALL, {})

    def test_an_unknown_suffix_is_said_before_the_work(self, make_scene, discs_image, tmp_path):
        with pytest.raises(UserError, match="no known suffix"):
            segment_scene(make_scene(discs_image), find_bright, tmp_path / "a.dwg", SMALL, {})


class TestNodata:
    def test_nothing_is_found_where_there_is_none(self, make_scene, tmp_path):
        image = np.full((100, 200), 200, np.uint8)
        image[:, :100] = 0
        scene = make_scene(image, nodata=0)

        def everything(picture):
            return np.ones(picture.shape[:2], np.int32), np.ones(1, np.float32)

        segment_scene(scene, everything, tmp_path / "a.tif", SMALL, {})
        np.testing.assert_array_equal(labels_of(tmp_path / "a.tif") > 0, image > 0)


class FakePredictor:
    """Answers a box with all of it, and a point with a square of 11 around it."""

    def set_image(self, image):
        self.hw = image.shape[:2]

    def predict(self, box=None, point_coords=None, point_labels=None, multimask_output=True):
        mask = np.zeros(self.hw, bool)
        if box is None:
            x, y = np.rint(point_coords[0]).astype(int)
            box = (x - 5, y - 5, x + 6, y + 6)
        x0, y0, x1, y1 = np.rint(box).astype(int)
        mask[max(0, y0) : y1, max(0, x0) : x1] = True
        return np.stack([mask, mask]), np.array([0.5, 0.5 + mask.sum() / 1e6]), None


def at(x0, y0, x1, y1):
    return shapely.box(500_000 + 2 * x0, 6_000_000 - 2 * y1, 500_000 + 2 * x1, 6_000_000 - 2 * y0)


class TestPrompts:
    def prompts(self, tmp_path, shapes, kinds):
        path = tmp_path / "prompts.gpkg"
        raw.write(path, shapely.to_wkb(np.array(shapes, object)), [np.array(kinds, object)], ["kind"],
                  geometry_type="Unknown", crs="EPSG:32632")  # fmt: skip
        return read_polygons(path, "kind", with_points=True)

    def test_each_feature_becomes_an_object_in_its_place(self, make_scene, discs_image, tmp_path):
        point = shapely.Point(500_000 + 2 * 212.5, 6_000_000 - 2 * 100.5)
        features = self.prompts(
            tmp_path, [at(10, 10, 30, 40), at(90, 90, 210, 260), point], ["roof", "hall", "tree"]
        )
        out = tmp_path / "a.gpkg"
        settings = SceneSettings(side=100, overlap=40, tolerance=0)
        scene = make_scene(discs_image)
        assert segment_prompted(scene, FakePredictor(), features, out, settings, {}) == 3
        shapes, columns, _ = read(out)
        assert columns["class"].tolist() == ["roof", "hall", "tree"]
        assert columns["feature"].tolist() == [1, 2, 3]
        assert shapely.equals(shapes[0], at(10, 10, 30, 40))
        assert shapely.equals(shapes[1], at(90, 90, 210, 260))
        # the hall has the higher score; the tree, a square of 207 to 218, keeps what is beside it
        assert shapely.equals(shapes[2], at(210, 95, 218, 106))

    def test_labels_too_and_resumed(self, make_scene, discs_image, tmp_path):
        features = self.prompts(tmp_path, [at(10, 10, 30, 40), at(300, 100, 320, 130)], ["a", "b"])
        settings = SceneSettings(side=100, overlap=40, tolerance=0)
        scene, out = make_scene(discs_image), tmp_path / "a.tif"

        class Interrupted(FakePredictor):
            calls = 0

            def set_image(self, image):
                Interrupted.calls += 1
                if Interrupted.calls == 2:
                    raise KeyboardInterrupt
                super().set_image(image)

        with pytest.raises(KeyboardInterrupt):
            segment_prompted(scene, Interrupted(), features, out, settings, {})
        segment_prompted(scene, Interrupted(), features, out, settings, {})
        assert Interrupted.calls == 3
        expected = np.zeros((300, 400), int)
        expected[10:40, 10:30], expected[100:130, 300:320] = 1, 2
        np.testing.assert_array_equal(labels_of(out), expected)

    def test_of_two_the_higher_score_keeps_the_pixels(self):
        shapes = np.array([shapely.box(x, 0, x + 10, 10) for x in (0, 5, 30)])
        found = without_overlaps(shapes, np.array([0.5, 0.9, 0.1], np.float32))
        assert shapely.area(found).tolist() == [50, 100, 100]


def test_a_scene_is_read_as_it_is_stored(make_scene, discs_image):
    scene = make_scene((discs_image > 0).astype(np.uint16) * 3000)
    assert open_scene(scene.path, stretch="percentile").value_range == (0, 3000)

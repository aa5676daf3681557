"""Scenes window by window: seams, polygons, labels, resuming, prompts of a vector file."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from samtune.data.geo.frames import to_crs
from samtune.data.geo.raster import open_scene, read_window
from samtune.data.geo.vector import read_polygons
from samtune.errors import UserError
from samtune.inference.geo import scenes
from samtune.inference.geo.grid import common, make_grid
from samtune.inference.geo.prompted import without_overlaps
from samtune.inference.geo.scenes import (
    FoundObjects,
    SceneSettings,
    segment_prompted,
    segment_scene,
)
from samtune.models.loading import load_model
from samtune.reading import Reading
from samtune.types import Features, InputFrame, MaskPrediction, Window
from tests.inference.geo.conftest import DISCS, find_bright

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


class Stopping:
    """Finds what is bright, but is interrupted at one of its windows."""

    def __init__(self, stop_at):
        self.calls, self.stop_at = 0, stop_at

    def __call__(self, image):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return find_bright(image)


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
            found = find_bright(picture)
            is_left = found.labels[50, 65] > 0 and found.labels[50, 35] == 0
            nothing = FoundObjects(np.zeros_like(found.labels), found.scores[:0])
            return found if is_left else nothing

        settings = SceneSettings(side=100, overlap=40)
        assert segment_scene(make_scene(image), left_only, tmp_path / "a.tif", settings, {}) == 1
        # all of it: where the neighbour sees nothing, it is not cut off at the seam
        assert labels_of(tmp_path / "a.tif").sum() == 20 * 30

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
        from samtune.data.geo.burning import draw

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

    def test_on_a_site_sizes_are_in_metres_too(self, make_scene, discs_image, tmp_path):
        crs = 'LOCAL_CS["site",UNIT["foot",0.3048],AXIS["E",EAST],AXIS["N",NORTH]]'
        segment_scene(make_scene(discs_image, crs=crs), find_bright, tmp_path / "a.gpkg", SMALL, {})
        _, columns, _ = read(tmp_path / "a.gpkg")
        expected = (discs_image > 0).sum() * (2 * 0.3048) ** 2
        assert columns["area_m2"].sum() == pytest.approx(expected, abs=0.1)
        assert "perim_m" in columns

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
        scene, finder = make_scene(discs_image), Stopping(7)
        whole, parts = tmp_path / "whole.geojson", tmp_path / "parts.geojson"
        segment_scene(scene, find_bright, whole, SMALL, {})
        with pytest.raises(KeyboardInterrupt):
            segment_scene(scene, finder, parts, SMALL, {})
        assert not parts.exists()
        segment_scene(scene, finder, parts, SMALL, {})
        assert finder.calls == len(make_grid(scene, 100, 40)) + 1
        named = [json.loads(path.read_text()) for path in (whole, parts)]
        assert named[0]["features"] == named[1]["features"]
        assert not list(tmp_path.glob("*.partial"))

    @pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".tif"])
    def test_the_same_run_writes_the_same_bytes(self, make_scene, discs_image, tmp_path, suffix):
        scene, contents = make_scene(discs_image), []
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            out = tmp_path / folder / f"o{suffix}"
            segment_scene(scene, find_bright, out, SMALL, {})
            contents.append(out.read_bytes())
            time.sleep(0.01)  # a GeoPackage would bear the time, to the millisecond
        assert contents[0] == contents[1]

    @pytest.mark.parametrize(
        ("settings", "provenance", "is_anew"),
        [(SMALL, {"model": "one"}, False), (SMALL, {"model": "two"}, True),
         (replace(SMALL, min_area=17), {"model": "one"}, True),
         (replace(SMALL, tolerance=0, class_name="x"), {"model": "one"}, False)],
    )  # fmt: skip
    def test_windows_of_other_settings_are_not_gone_on_with(
        self, make_scene, discs_image, tmp_path, settings, provenance, is_anew
    ):
        scene, out, finder = make_scene(discs_image), tmp_path / "a.gpkg", Stopping(5)
        with pytest.raises(KeyboardInterrupt):
            segment_scene(scene, finder, out, SMALL, {"model": "one"})
        finder.calls = 0
        finder.stop_at = None
        segment_scene(scene, finder, out, settings, provenance)
        whole = len(make_grid(scene, 100, 40))
        assert finder.calls == (whole if is_anew else whole - 4)
        assert not list(tmp_path.glob("*.partial"))

    def test_a_scene_that_is_written_anew_is_looked_at_anew(
        self, make_scene, discs_image, tmp_path
    ):
        out = tmp_path / "a.tif"
        with pytest.raises(KeyboardInterrupt):
            segment_scene(make_scene(discs_image), Stopping(5), out, SMALL, {})
        scene = make_scene(np.zeros((300, 400), np.uint8))
        assert segment_scene(scene, find_bright, out, SMALL, {}) == 0
        assert labels_of(out).max() == 0

    def test_a_damaged_window_is_made_again(self, make_scene, discs_image, tmp_path):
        scene, out, finder = make_scene(discs_image), tmp_path / "a.tif", Stopping(5)
        with pytest.raises(KeyboardInterrupt):
            segment_scene(scene, finder, out, SMALL, {})
        first, second, *_ = (tmp_path / "a.tif.partial").glob("*.npz")
        first.write_bytes(b"PK")
        second.write_bytes(second.read_bytes()[:-30])
        finder.calls, finder.stop_at = 0, None
        segment_scene(scene, finder, out, SMALL, {})
        assert finder.calls == len(make_grid(scene, 100, 40)) - 2
        segment_scene(scene, find_bright, tmp_path / "whole.tif", SMALL, {})
        np.testing.assert_array_equal(labels_of(out), labels_of(tmp_path / "whole.tif"))

    def test_an_unknown_suffix_is_said_before_the_work(self, make_scene, discs_image, tmp_path):
        with pytest.raises(UserError, match="no known suffix"):
            segment_scene(make_scene(discs_image), find_bright, tmp_path / "a.dwg", SMALL, {})


class TestNodata:
    def test_nothing_is_found_where_there_is_none(self, make_scene, tmp_path):
        image = np.full((100, 200), 200, np.uint8)
        image[:, :100] = 0
        scene = make_scene(image, nodata=0)

        def everything(picture):
            return FoundObjects(np.ones(picture.shape[:2], np.int32), np.ones(1, np.float32))

        segment_scene(scene, everything, tmp_path / "a.tif", SMALL, {})
        np.testing.assert_array_equal(labels_of(tmp_path / "a.tif") > 0, image > 0)


class FakeSam:
    """Answers a box with all of it, and points with 5 pixels around them, pixel by pixel.

    Of three candidates the second is the best.
    """

    with_multimask, calibration, mask_threshold = True, None, 0.0
    device = torch.device("cpu")
    side = 0  # of its input: as large as the window that is looked at
    mask_side = 10**6  # with cells so fine that a closer look is never worth its while

    def __init__(self):
        self.seen, self.asked = [], []

    frame = property(lambda self: InputFrame(self.side))
    image_size = property(lambda self: self.side)

    def encode(self, pixel_values):
        self.with_gradients = torch.is_grad_enabled()
        self.seen.append(pixel_values.shape[-1])
        return Features(pixel_values)

    def sharpened(self, image, window, logits, prompts):
        return logits

    def decode(self, features, image_index, prompts, multimask_output):
        self.asked.append((len(prompts), multimask_output))
        masks = torch.stack([self.mask(features.main[0, 0], prompts[n : n + 1])
                             for n in range(len(prompts))])  # fmt: skip
        scores = 0.5 + masks.sum((1, 2)) / 1e6
        logits = masks.float()[:, None] - 0.5
        if multimask_output:
            logits = torch.cat([-logits, logits, -logits], 1)
            scores = torch.stack([scores - 0.1, scores, scores - 0.2], 1)
        return MaskPrediction(logits, scores.reshape(len(masks), -1))

    def mask(self, image, prompt):
        mask = torch.zeros(image.shape, dtype=torch.bool)
        if prompt.boxes_xyxy is None:
            points = prompt.point_coords[0]
            box = torch.cat([points.min(0).values - 5, points.max(0).values + 5])
        else:
            box = prompt.boxes_xyxy[0]
        x0, y0, x1, y1 = box.round().int().tolist()
        mask[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1] = True
        return mask


@pytest.fixture
def answering(monkeypatch):
    """A function that lets a fake see each window as it is, not resized; returns the fake."""

    def let(sam):
        def read(*place):
            image, is_valid = read_window(*place)
            sam.side = max(image.shape[:2])
            return image, is_valid

        monkeypatch.setattr("samtune.inference.geo.prompted.read_window", read)
        return sam

    return let


@pytest.fixture
def fake(answering):
    return answering(FakeSam())


def interrupt(*_):
    raise KeyboardInterrupt


def at(x0, y0, x1, y1):
    return shapely.box(500_000 + 2 * x0, 6_000_000 - 2 * y1, 500_000 + 2 * x1, 6_000_000 - 2 * y0)


class TestSplinters:
    def test_parts_below_the_least_area_are_no_part_of_an_object(self, make_scene, tmp_path):
        image = np.zeros((100, 100), np.uint8)
        image[20:40, 20:40], image[60, 60:63] = 255, 255

        def as_one(picture):
            return FoundObjects((picture[..., 0] > 0).astype(np.int32), np.ones(1, np.float32))

        segment_scene(make_scene(image), as_one, tmp_path / "a.tif", SMALL, {})
        found = labels_of(tmp_path / "a.tif")
        assert found.sum() == found[20:40, 20:40].sum() == 400


class TestOnTheGround:
    def test_perimeters_in_degrees_are_those_of_both_directions(self, tmp_path):
        """At 60 degrees north a degree of longitude is half as long as one of latitude."""
        grid = rasterio.Affine(1e-5, 0, 25, 0, -1e-5, 60)
        image = np.zeros((1, 60, 60), np.uint8)
        image[0, 5:45, 5:15] = 255
        with rasterio.open(
            tmp_path / "s.tif", "w", driver="GTiff", count=1, height=60, width=60, dtype="uint8",
            crs="EPSG:4326", transform=grid,
        ) as file:  # fmt: skip
            file.write(image)
        settings = SceneSettings(tolerance=0)
        scene = open_scene(tmp_path / "s.tif", Reading())
        segment_scene(scene, find_bright, tmp_path / "a.gpkg", settings, {})
        _, columns, _ = read(tmp_path / "a.gpkg")
        down, across = 40 * 1.11412, 10 * 0.55800  # metres in 1e-5 degrees there
        assert columns["perim_m"][0] == pytest.approx(2 * (down + across), rel=1e-3)
        assert columns["area_m2"][0] == pytest.approx(down * across, rel=1e-3)

    def test_geojson_is_cut_at_the_180th_meridian(self, make_scene, tmp_path):
        image = np.zeros((40, 60), np.uint8)
        image[10:30, 10:50] = 255
        # EPSG:3832 is Mercator's projection with 150 degrees east in the middle
        corner = to_crs(np.array([[180.0, 10.0]]), "EPSG:4326", "EPSG:3832")[0]
        place = rasterio.Affine(2, 0, corner[0] - 60, 0, -2, corner[1])
        scene = make_scene(image, crs="EPSG:3832", transform=place)
        segment_scene(scene, find_bright, tmp_path / "a.geojson", SMALL, {})
        content = json.loads((tmp_path / "a.geojson").read_text())
        assert "crs" not in content
        (shape,) = content["features"]
        bounds = [shapely.geometry.shape(shape["geometry"]).geoms[n].bounds for n in (0, 1)]
        assert sorted((b[0] > 0, b[2] - b[0] < 0.001) for b in bounds) == [(0, True), (1, True)]

    def test_labels_lie_where_a_scene_without_a_crs_lies(self, make_scene, discs_image, tmp_path):
        place = rasterio.Affine(2, 0, 1000, 0, -2, 2000)
        scene = make_scene(discs_image, crs=None, transform=place)
        segment_scene(scene, find_bright, tmp_path / "a.tif", SMALL, {})
        with rasterio.open(tmp_path / "a.tif") as file:
            assert (file.transform, file.nodata) == (place, 0)


class TestPrompts:
    def prompts(self, tmp_path, shapes, kinds):
        path = tmp_path / "prompts.gpkg"
        raw.write(path, shapely.to_wkb(np.array(shapes, object)), [np.array(kinds, object)], ["kind"],
                  geometry_type="Unknown", crs="EPSG:32632")  # fmt: skip
        return read_polygons(path, "kind", with_points=True)

    def test_each_feature_becomes_an_object_in_its_place(
        self, make_scene, discs_image, tmp_path, fake
    ):
        point = shapely.Point(500_000 + 2 * 212.5, 6_000_000 - 2 * 100.5)
        features = self.prompts(
            tmp_path, [at(10, 10, 30, 40), at(90, 90, 210, 260), point], ["roof", "hall", "tree"]
        )
        out = tmp_path / "a.gpkg"
        settings = SceneSettings(side=100, overlap=40, tolerance=0)
        scene = make_scene(discs_image)
        assert segment_prompted(scene, fake, features, out, settings, {}) == 3
        shapes, columns, _ = read(out)
        place = {name: number for number, name in enumerate(columns["class"])}
        order = [place[name] for name in ("roof", "hall", "tree")]
        assert columns["feature"][order].tolist() == columns["id"][order].tolist() == [1, 2, 3]
        roof, hall, tree = np.array(shapes)[order]
        assert shapely.equals(roof, at(10, 10, 30, 40))
        assert shapely.equals(hall, at(90, 90, 210, 260))
        # the hall has the higher score; the tree, a square of 207 to 218, keeps what is beside it
        assert shapely.equals(tree, at(210, 95, 218, 106))

    def test_small_ones_are_looked_at_closely(self, make_scene, discs_image, tmp_path):
        """Discs of radius 4 to 12 are drawn better so than in windows of 256 pixels."""
        noise = np.random.default_rng(0).integers(0, 30, discs_image.shape)
        scene = make_scene((discs_image // 2 + noise).astype(np.uint8))
        small = [disc for disc in DISCS if disc[2] <= 12]
        boxes = [at(x - r + 1, y - r + 1, x + r, y + r) for y, x, r in small]
        features = self.prompts(tmp_path, boxes, ["tree"] * len(small))
        ious = {}
        for with_focus in (True, False):
            out = tmp_path / f"{with_focus}.gpkg"
            settings = SceneSettings(side=256, overlap=64, with_focus=with_focus)
            segment_prompted(scene, load_model("nano"), features, out, settings, {})
            shapes, *_ = read(out)
            ious[with_focus] = np.mean([self.best_iou(shapes, *disc) for disc in small])
        assert ious[True] > max(0.8, ious[False] + 0.05)

    def best_iou(self, shapes, y, x, radius):
        disc = shapely.Point(500_000 + 2 * (x + 0.5), 6_000_000 - 2 * (y + 0.5)).buffer(2 * radius)
        return max(each.intersection(disc).area / each.union(disc).area for each in shapes)

    def test_labels_too_and_resumed(self, make_scene, discs_image, tmp_path, answering):
        features = self.prompts(tmp_path, [at(10, 10, 30, 40), at(300, 100, 320, 130)], ["a", "b"])
        settings = SceneSettings(side=100, overlap=40, tolerance=0)
        scene, out = make_scene(discs_image), tmp_path / "a.tif"

        class Interrupted(FakeSam):
            def encode(self, pixel_values):
                if len(self.seen) == 1 and not self.asked[1:]:
                    self.asked.append("interrupted")
                    raise KeyboardInterrupt
                return super().encode(pixel_values)

        sam = answering(Interrupted())
        with pytest.raises(KeyboardInterrupt):
            segment_prompted(scene, sam, features, out, settings, {})
        segment_prompted(scene, sam, features, out, settings, {})
        assert sam.asked == [(1, True), "interrupted", (1, True)]
        expected = np.zeros((300, 400), int)
        expected[10:40, 10:30], expected[100:130, 300:320] = 1, 2
        np.testing.assert_array_equal(labels_of(out), expected)

    def test_those_beyond_the_scene_are_left_out_and_told(
        self, make_scene, discs_image, tmp_path, fake
    ):
        far = shapely.Point(590_000, 5_990_000)
        features = self.prompts(
            tmp_path, [far, at(10, 10, 30, 40), at(-50, 10, -20, 40)], ["far", "roof", "west"]
        )
        out = tmp_path / "a.gpkg"
        assert segment_prompted(make_scene(discs_image), fake, features, out, SMALL, {}) == 1
        _, columns, _ = read(out)
        assert columns["class"].tolist() == ["roof"]
        assert columns["feature"].tolist() == [2]
        assert any("2 of 3 prompts lie beyond" in note for note in features.notes)

    def test_several_points_of_a_feature_are_of_one_object(self, make_scene, tmp_path, fake):
        places = [(500_000 + 2 * x, 6_000_000 - 2 * y) for x, y in ((40.5, 50.5), (60.5, 50.5))]
        features = self.prompts(tmp_path, [shapely.MultiPoint(places)], ["pair"])
        out, settings = tmp_path / "a.gpkg", SceneSettings(side=100, overlap=40, tolerance=0)
        scene = make_scene(np.zeros((100, 100), np.uint8))
        assert segment_prompted(scene, fake, features, out, settings, {}) == 1
        assert shapely.equals(read(out)[0][0], at(35, 45, 66, 56))

    def test_only_near_the_scene_is_elsewhere(self, tmp_path, fake):
        """A turned scene: its bounds hold places that are none of it."""
        turned = rasterio.Affine.translation(500_000, 6_000_000) * rasterio.Affine.rotation(45)
        path = tmp_path / "turned.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=1, height=100, width=100, dtype="uint8",
            crs="EPSG:32632", transform=turned,
        ) as file:  # fmt: skip
            file.write(np.zeros((1, 100, 100), np.uint8))
        corner = shapely.box(499_935, 6_000_005, 499_945, 6_000_015)
        features = self.prompts(tmp_path, [corner], ["none"])
        with pytest.raises(UserError, match="none of the 1 polygons"):
            segment_prompted(
                open_scene(path, Reading()), fake, features, tmp_path / "a.gpkg", SMALL, {}
            )

    def test_other_prompts_of_the_same_name_are_not_gone_on_with(
        self, make_scene, discs_image, tmp_path, fake, monkeypatch
    ):
        scene, out = make_scene(discs_image), tmp_path / "a.tif"
        features = self.prompts(tmp_path, [at(10, 10, 30, 40), at(310, 10, 330, 40)], ["a", "b"])
        with monkeypatch.context() as broken:
            broken.setattr(scenes, "PromptedObjects", interrupt)  # all windows are done
            with pytest.raises(KeyboardInterrupt):
                segment_prompted(scene, fake, features, out, SMALL, {})
        moved = self.prompts(tmp_path, [at(10, 10, 30, 45), at(310, 10, 330, 40)], ["a", "b"])
        assert segment_prompted(scene, fake, moved, out, SMALL, {}) == 2
        assert len(fake.asked) == 4
        assert (labels_of(out) == 1).sum() == 20 * 35

    def test_large_ones_are_looked_at_more_coarsely(self, make_scene, discs_image, tmp_path, fake):
        features = self.prompts(tmp_path, [at(20, 20, 380, 280)], ["all"])
        settings = SceneSettings(side=50, overlap=20, tolerance=0)
        scene, out = make_scene(discs_image), tmp_path / "a.gpkg"
        assert segment_prompted(scene, fake, features, out, settings, {}) == 1
        assert fake.seen == [100]
        (shape,) = read(out)[0]
        assert shapely.area(shapely.intersection(shape, at(20, 20, 380, 280))) > 0.97 * shape.area
        assert shape.area == pytest.approx(at(20, 20, 380, 280).area, rel=0.03)

    def test_a_point_on_something_larger_than_its_window_is_looked_at_in_a_wider_one(
        self, make_scene, tmp_path, answering
    ):
        class Flooding(FakeSam):
            def mask(self, image, prompt):
                labels, _ = ndimage.label(image > 0)  # of normalised values
                x, y = prompt.point_coords[0, 0].round().int().tolist()
                return torch.from_numpy(labels == labels[y, x])

        sam = answering(Flooding())
        image = np.zeros((300, 400), np.uint8)
        image[100:200, 120:240] = 255
        point = shapely.Point(500_000 + 2 * 180, 6_000_000 - 2 * 150)
        features = self.prompts(tmp_path, [point], ["lake"])
        settings = SceneSettings(side=80, overlap=20, tolerance=0)
        scene, out = make_scene(image), tmp_path / "a.gpkg"
        assert segment_prompted(scene, sam, features, out, settings, {}) == 1
        assert shapely.equals(read(out)[0][0], at(120, 100, 240, 200))
        assert not features.notes

        huge = SceneSettings(side=20, overlap=5, tolerance=0)
        segment_prompted(scene, sam, features, tmp_path / "b.gpkg", huge, {})
        assert features.notes == [
            "1 object reaches the edge of what was looked at and may be larger"
        ]

    @pytest.mark.parametrize("with_multimask", [False, True])
    def test_single_prompts_get_as_many_candidates_as_in_training(
        self, make_scene, discs_image, tmp_path, fake, with_multimask
    ):
        places = [(500_000 + 2 * x, 6_000_000 - 2 * y) for x, y in ((40.5, 50.5), (60.5, 50.5))]
        shapes = [at(10, 10, 30, 40), at(40, 70, 60, 90), shapely.Point(places[0]),
                  shapely.MultiPoint(places)]  # fmt: skip
        features = self.prompts(tmp_path, shapes, [*"abcd"])
        fake.with_multimask = with_multimask
        settings = SceneSettings(side=300, overlap=40)
        segment_prompted(make_scene(discs_image), fake, features, tmp_path / "a.gpkg", settings, {})
        # boxes, a point, two points of one object
        assert sorted(fake.asked) == sorted([(2, with_multimask), (1, with_multimask), (1, False)])

    def test_nothing_is_kept_for_gradients(self, make_scene, discs_image, tmp_path, fake):
        features = self.prompts(tmp_path, [at(10, 10, 30, 40)], ["a"])
        segment_prompted(make_scene(discs_image), fake, features, tmp_path / "a.gpkg", SMALL, {})
        assert not fake.with_gradients

    def test_of_two_the_higher_score_keeps_the_pixels(self):
        shapes = np.array([shapely.box(x, 0, x + 10, 10) for x in (0, 5, 30)])
        found = without_overlaps(shapes, np.array([0.5, 0.9, 0.1], np.float32))
        assert shapely.area(found).tolist() == [50, 100, 100]


def test_a_scene_is_read_as_it_is_stored(make_scene, discs_image):
    scene = make_scene((discs_image > 0).astype(np.uint16) * 3000)
    assert open_scene(scene.path, Reading(stretch="percentile")).value_range == (0, 3000)

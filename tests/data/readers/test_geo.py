"""Scenes as a source: windows, blocks, which file holds the objects, label rasters, splits."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from samtune.data.checks.checking import check, find_shared_ground
from samtune.data.datamodule import SamDataModule
from samtune.data.formats import open_splits, recognise
from samtune.data.geo.finding import find_objects_file, scene_files
from samtune.data.geo.frames import pixel_to_crs, to_crs
from samtune.data.geo.raster import open_scene, read_window
from samtune.data.objects import find_objects
from samtune.data.readers.geo import GeoScenes
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.settings import DataSettings, SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.reading import Reading
from samtune.types import Window

shapely = pytest.importorskip("shapely")


def boxes(places, side=10, size=2.0):
    """Squares with a corner at each (x, y) pixel."""
    corners = [(500_000 + x * size, 6_000_000 - y * size) for x, y in places]
    return [shapely.box(x, y - side * size, x + side * size, y) for x, y in corners]


PLACES = [(x, y) for x in range(5, 235, 30) for y in range(5, 185, 30)]


@pytest.fixture
def folder(tmp_path, write_scene, write_polygons):
    """A scene of 200 x 250 pixels with 48 squares."""
    values = np.random.default_rng(0).integers(1, 255, (3, 200, 250), np.uint8)
    write_scene("a.tif", values)
    write_polygons("a.geojson", boxes(PLACES))
    return tmp_path


def objects_of(source):
    return {
        (place.object_id, source.records[index].group)
        for index in range(len(source))
        for place in find_objects(source.read(index).labels)
    }


class TestWindows:
    def test_are_recognised_and_cover_every_object(self, folder):
        assert recognise(folder) == recognise(folder / "a.tif") == "geo"
        source = GeoScenes(folder, SourceSettings(Reading(tile=64), tile_overlap=16))
        assert {number for number, _ in objects_of(source)} == set(range(1, 49))
        assert all(max(source.hw(i)) <= 64 for i in range(len(source)))
        assert source.read(3).image.shape[:2] == source.hw(3)

    def test_an_object_lies_in_one_block_alone(self, folder):
        found = objects_of(GeoScenes(folder, SourceSettings(Reading(tile=64), tile_overlap=16)))
        assert len(found) == 48

    def test_windows_of_two_blocks_share_no_pixel(self, folder):
        source = GeoScenes(folder, SourceSettings(Reading(tile=64), tile_overlap=16, slices="all"))
        owner = np.full((200, 250), -1)
        names = sorted({record.group for record in source.records})
        assert len(names) > 8
        for record, place in zip(source.records, source._places, strict=True):
            w, number = place.window, names.index(record.group)
            part = owner[w.y : w.y + w.height, w.x : w.x + w.width]
            assert np.isin(part, [-1, number]).all()
            part[:] = number
        assert (owner >= 0).all()

    def test_those_without_objects_or_data_are_skipped(self, tmp_path, write_scene, write_polygons):
        values = np.ones((1, 128, 256), np.uint8)
        values[:, :, :64] = 0
        write_scene("a.tif", values, nodata=0)
        write_polygons("a.gpkg", boxes([(20, 20), (100, 20)]))
        settings = SourceSettings(Reading(tile=64), tile_overlap=0, block=1000)
        assert [r.image_id for r in GeoScenes(tmp_path, settings).records] == ["a@64,0"]
        everything = GeoScenes(
            tmp_path, SourceSettings(Reading(tile=64), tile_overlap=0, slices="all")
        )
        assert len(everything) == 6

    def test_objects_end_where_the_data_end(self, tmp_path, write_scene, write_polygons):
        values = np.ones((1, 64, 64), np.uint8)
        values[:, :, :25] = 0
        write_scene("a.tif", values, nodata=0)
        write_polygons("a.gpkg", boxes([(20, 20)]))
        assert (GeoScenes(tmp_path).read(0).labels > 0).sum() == 50

    def test_can_be_handed_to_other_processes(self, folder):
        source = GeoScenes(folder)
        source.read(0)
        again = pickle.loads(pickle.dumps(source))  # noqa: S301
        np.testing.assert_array_equal(again.read(0).labels, source.read(0).labels)

    def test_spacing_comes_in_metres(self, folder):
        columns = dict(GeoScenes(folder).records[0].columns)
        assert float(columns["spacing_row"]) == pytest.approx(2.0008, abs=1e-4)
        assert columns["spacing_unit"] == "m"

    def test_the_data_module_does_not_cut_them_again(self, folder):
        data = SamDataModule(DataSettings(path=str(folder), tile=64, tile_overlap=16))
        source = data.source("train")
        assert source.hw(0) == source.read(0).labels.shape[1:]
        assert not any(r.image_id.count("@") > 1 for r in source.records)


class TestFolders:
    """Which folders images/ and labels/ are scenes, and which are plain images with masks."""

    @pytest.fixture(params=["labels", "masks"])
    def name(self, request):
        return request.param

    @pytest.fixture
    def images(self, tmp_path, write_scene):
        for number, scene in enumerate("ab"):
            corner = (500_000.0 + 128 * number, 6_000_000.0)
            write_scene(f"images/{scene}.tif", np.full((3, 64, 64), 90, np.uint8), corner=corner)
        return tmp_path

    def test_polygons_under_labels(self, images, write_polygons, name):
        write_polygons(f"{name}/a.geojson", boxes([(5, 5)]))
        write_polygons(f"{name}/b.geojson", boxes([(70, 5), (80, 20)]))
        assert recognise(images) == "geo"
        assert [len(find_objects(s.labels)) for s in map(GeoScenes(images).read, range(2))] == [
            1,
            2,
        ]

    @pytest.mark.parametrize("size", [2.0, 4.0])
    def test_label_rasters_with_a_crs(self, images, write_scene, name, size):
        for scene in "ab":
            write_scene(f"{name}/{scene}.tif", np.ones((1, 64, 64), np.uint8), size=size)
        assert recognise(images) == "geo"

    @pytest.mark.parametrize("change", ["no crs", "png mask", "png image", "damaged", "unlabelled"])
    def test_others_are_images_with_masks(self, images, write_scene, write, name, change):
        crs = None if change == "no crs" else "EPSG:32632"
        for scene in "ab":
            write_scene(f"{name}/{scene}.tif", np.ones((1, 64, 64), np.uint8), crs)
        if change == "png mask":
            write(images / name / "c.png", np.ones((64, 64), np.uint8))
        if change == "png image":
            write(images / "images" / "c.png", np.ones((64, 64), np.uint8))
        if change == "damaged":
            (images / "images" / "a.tif").write_bytes(b"II*")
        if change == "unlabelled":
            (images / name / "b.tif").unlink()
        assert recognise(images) == "mask_folder"

    def test_pairs_are_read_alike_in_both_ways(self, images, write_scene, name):
        labels = np.random.default_rng(0).integers(0, 3, (1, 64, 64), np.uint8)
        for number, scene in enumerate("ab"):
            corner = (500_000.0 + 128 * number, 6_000_000.0)
            write_scene(f"{name}/{scene}.tif", labels, corner=corner)
        settings = SourceSettings(block=1000)
        scenes, masks = GeoScenes(images, settings), MaskFolder(images, settings)
        for number in range(2):
            one, other = scenes.read(number), masks.read(number)
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.labels, other.labels)
            assert one.classes == other.classes

    def test_without_rasterio_pairs_stay_images_with_masks(self, images, write_scene, monkeypatch):
        write_scene("labels/a.tif", np.ones((1, 64, 64), np.uint8))
        write_scene("labels/b.tif", np.ones((1, 64, 64), np.uint8))
        monkeypatch.setitem(sys.modules, "rasterio.errors", None)
        assert recognise(images) == "mask_folder"


class TestSplits:
    def test_are_drawn_by_blocks(self, folder):
        splits = open_splits(folder, "auto", SourceSettings(Reading(tile=64)), SplitSettings())
        groups = {name: {r.group for r in part.records} for name, part in splits.items()}
        assert all(groups.values())
        assert not groups["train"] & groups["val"]
        assert not groups["train"] & groups["test"]

    def test_or_by_the_groups_of_scenes(self, tmp_path, write_scene, write_polygons):
        for number in range(6):
            corner = (500_000 + 1000 * number, 6_000_000)
            write_scene(f"s{number}.tif", np.ones((3, 128, 128), np.uint8), corner=corner)
            write_scene(f"s{number}_labels.tif", np.ones((1, 128, 128), np.uint8), corner=corner)
        rows = "".join(f"s{number},city{number // 2}\n" for number in range(6))
        (tmp_path / "manifest.csv").write_text(f"id,group\n{rows}")
        splits = SamDataModule(DataSettings(path=str(tmp_path), tile=64, tile_overlap=0))
        groups = [{r.group for r in splits.whole_source(s).records} for s in splits.split_sizes()]
        assert sum(map(len, groups)) == len(set().union(*groups)) == 3
        assert all(groups)

    def test_or_named_by_scene(self, tmp_path, write_scene, write_polygons):
        for number, name in enumerate("abc"):
            corner = (500_000 + 1000.0 * number, 6_000_000)
            write_scene(f"{name}.tif", np.ones((1, 64, 64), np.uint8), corner=corner)
        write_polygons("all.gpkg", boxes([(10, 10), (510, 10), (1010, 10)]))
        (tmp_path / "manifest.csv").write_text("id,split\na,train\nb,val\nc,test\n")
        splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
        found = {name: [r.image_id for r in part.records] for name, part in splits.items()}
        assert found == {"train": ["a@0,0"], "val": ["b@0,0"], "test": ["c@0,0"]}
        assert splits["train"].notes == []

    @pytest.fixture
    def dates(self, tmp_path, write_scene, write_polygons):
        """Three dates of one place with 48 squares."""
        for name in "abc":
            values = np.random.default_rng(ord(name)).integers(1, 255, (3, 200, 250), np.uint8)
            write_scene(f"{name}.tif", values)
        write_polygons("all.geojson", boxes(PLACES))
        return tmp_path

    def test_dates_of_one_place_stay_together(self, dates):
        data = SamDataModule(DataSettings(path=str(dates), tile=32, tile_overlap=0))
        found = {}
        for split in ("train", "val", "test"):
            for record in data.source(split).records:
                found.setdefault(record.image_id.partition("@")[2], set()).add(
                    (split, record.group)
                )
        assert {split for its in found.values() for split, _ in its} == {"train", "val", "test"}
        assert all(len(its) == 1 for its in found.values())
        sources = {split: data.whole_source(split) for split in ("train", "val", "test")}
        assert not list(find_shared_ground(sources))

    def test_ground_that_named_splits_share_is_told(self, dates):
        (dates / "manifest.csv").write_text("id,split\na,train\nb,train\nc,test\n")
        data = SamDataModule(DataSettings(path=str(dates), tile=100, tile_overlap=0))
        sources = {split: data.whole_source(split) for split in ("train", "test")}
        ((level, text),) = find_shared_ground(sources)
        assert level == "error"
        assert text.startswith("6 of 8 windows of test (75%) show ground that train shows too")
        assert "such as c@125,0 and a@125,0" in text
        result = check(sources, 64, "none", 1)
        assert any("show ground" in f.text for f in result.findings if f.level == "error")

    def test_scenes_that_cannot_be_cut_alike_are_told(self, tmp_path, write_scene, write_polygons):
        write_scene("a.tif", np.ones((1, 200, 200), np.uint8))
        corner = tuple(to_crs(np.array([[500_000.0, 6_000_000.0]]), "EPSG:32632", "EPSG:4326")[0])
        write_scene("b.tif", np.ones((1, 300, 300), np.uint8), "EPSG:4326", 2e-5, corner)
        write_polygons("all.gpkg", boxes(PLACES))
        source = GeoScenes(tmp_path, SourceSettings(Reading(tile=50)))
        assert any("could not be cut alike" in note for note in source.notes)
        assert not any("cut alike" in note for note in GeoScenes(tmp_path / "a.tif").notes)

    def test_many_scenes_are_groups_themselves(self, tmp_path, write_scene):
        for number in range(10):
            for name in ("images", "labels"):
                corner = (500_000 + 128.0 * number, 6_000_000)
                write_scene(f"{name}/{number}.tif", np.ones((1, 64, 64), np.uint8), corner=corner)
        source = GeoScenes(tmp_path, SourceSettings(Reading(tile=32), tile_overlap=0))
        assert {record.group for record in source.records} == set("0123456789")


class TestLabelRasters:
    def test_hold_instances_or_classes(self, tmp_path, write_scene):
        labels = np.zeros((1, 64, 64), np.uint32)
        labels[0, 2:9, 2:9], labels[0, 20:30, 20:30] = 3, 90_000
        write_scene("a.tif", np.ones((1, 64, 64), np.uint8))
        write_scene("a_labels.tif", labels)
        sample = GeoScenes(tmp_path).read(0)
        np.testing.assert_array_equal(sample.labels, labels)
        assert sample.classes == {}
        named = SourceSettings(class_names=((3, "roof"),))
        assert GeoScenes(tmp_path, named).read(0).classes == {3: "roof", 90_000: "90000"}
        parts = GeoScenes(tmp_path, SourceSettings(labels="binary", with_components=True)).read(0)
        assert len(find_objects(parts.labels)) == 2

    def test_colours_are_classes_as_in_a_folder_of_masks(self, tmp_path, write_scene):
        labels = np.zeros((3, 64, 64), np.uint8)
        labels[:, 2:9, 2:9], labels[:, 20:30, 20:30] = 255, np.array([[[255]], [[255]], [[0]]])
        write_scene("images/a.tif", np.ones((1, 64, 64), np.uint8))
        write_scene("masks/a.tif", labels)
        sample, masks = GeoScenes(tmp_path).read(0), MaskFolder(tmp_path).read(0)
        assert sample.classes == masks.classes == {0xFFFFFF: "#ffffff", 0xFFFF00: "#ffff00"}
        np.testing.assert_array_equal(sample.labels, masks.labels)

    def test_ignored_and_negative_values(self, tmp_path, write_scene):
        labels = np.full((1, 64, 64), -1, np.int16)
        labels[0, 2:9, 2:9] = 3
        write_scene("a.tif", np.ones((1, 64, 64), np.uint8))
        write_scene("a_mask.tif", labels)
        with pytest.raises(UserError, match=r"name it in data\.ignore_values"):
            GeoScenes(tmp_path).read(0)
        sample = GeoScenes(tmp_path, SourceSettings(ignore_values=(-1,))).read(0)
        assert (sample.labels > 0).sum() == 49


class TestNotes:
    def test_bands_without_names_and_polygons_outside(self, tmp_path, write_scene, write_polygons):
        write_scene("a.tif", np.ones((4, 64, 64), np.uint16))
        write_polygons("a.gpkg", boxes([(10, 10), (900, 900)]))
        first, second = GeoScenes(tmp_path).notes
        assert "do not say which is red" in first
        assert second.startswith("1 of 2 polygons")


class TestFiles:
    def test_what_is_named_for_all_scenes(self, folder, write_polygons):
        other = write_polygons("elsewhere/mine.shp", boxes([(30, 30)]))
        for given in (str(other), "elsewhere/mine.shp"):
            assert len(GeoScenes(folder, SourceSettings(objects=given))) == 1

    def test_a_folder_of_them(self, folder, write_polygons):
        other = write_polygons("elsewhere/a.gpkg", boxes([(30, 30)]))
        assert find_objects_file(folder / "a.tif", folder, "elsewhere") == other
        with pytest.raises(UserError, match=r"holds no b\.geojson"):
            find_objects_file(folder / "b.tif", folder, "elsewhere")

    def test_the_only_one_serves_and_two_are_asked_about(self, folder, write_polygons):
        (folder / "a.geojson").rename(folder / "houses.geojson")
        assert find_objects_file(folder / "a.tif", folder, "").name == "houses.geojson"
        write_polygons("roads.geojson", boxes([(30, 30)]))
        with pytest.raises(UserError, match=r"Set data\.objects: found houses.*roads"):
            GeoScenes(folder)

    def test_a_layer_is_named_by_a_setting(self, tmp_path, write_scene):
        raw, path = pytest.importorskip("pyogrio.raw"), tmp_path / "a.gpkg"
        write_scene("a.tif", np.ones((1, 64, 64), np.uint8))
        for name, shapes in {"area": boxes([(0, 0)], 64), "roofs": boxes(PLACES[:2])}.items():
            raw.write(path, shapely.to_wkb(np.array(shapes)), [], [], layer=name, crs="EPSG:32632",
                      geometry_type="Polygon", append=path.exists())  # fmt: skip
        data = SamDataModule(DataSettings(path=str(tmp_path), layer="roofs", block=1000))
        assert len(objects_of(data.source("train"))) == 2

    def test_without_any_it_is_said(self, folder):
        (folder / "a.geojson").unlink()
        with pytest.raises(UserError, match="has no objects beside it"):
            GeoScenes(folder / "a.tif")
        with pytest.raises(UserError, match="neither there nor in"):
            GeoScenes(folder, SourceSettings(objects="b.gpkg"))

    def test_labels_beside_a_scene_are_no_scenes(self, folder, write_scene):
        write_scene("a_mask.tif", np.ones((1, 200, 250), np.uint8))
        assert [file.name for file in scene_files(folder)] == ["a.tif"]


@pytest.mark.slow
def test_a_scene_of_900_million_pixels_needs_little_memory(tmp_path, write_polygons):
    rasterio = pytest.importorskip("rasterio")
    grid = {"crs": "EPSG:32632", "transform": rasterio.Affine(2, 0, 500_000, 0, -2, 6_000_000)}
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=3, height=30_000, width=30_000, dtype="uint8",
        tiled=True, SPARSE_OK=True, **grid,
    ) as file:  # fmt: skip
        file.write(np.ones((3, 512, 512), np.uint8), window=((0, 512), (0, 512)))
    rng = np.random.default_rng(0)
    write_polygons("a.gpkg", boxes(rng.integers(0, 29_000, (50_000, 2)).tolist()))
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from samtune.data.readers.geo import GeoScenes\n"
        "import rasterio, shapely, pyogrio.raw\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak(); source = GeoScenes(Path(sys.argv[1]))\n"
        "for index in range(0, len(source), 50): source.read(index)\n"
        "print(len(source), peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    windows, megabytes = (float(word) for word in done.stdout.split())
    assert windows > 4000
    assert megabytes < 400  # the scene itself has 2,700


class TestEveryPolygonIsDrawn:
    """Whichever way the scene is turned against the polygons, each is drawn in one block."""

    def squares(self, scene, crs):
        places = [(x, y) for x in range(4, 490, 20) for y in range(4, 490, 20)]
        found = []
        for x, y in places:
            corners = np.array([[x, y], [x + 8, y], [x + 8, y + 8], [x, y + 8]], float)
            points = to_crs(pixel_to_crs(scene, corners), scene.crs, crs)
            found.append(shapely.Polygon(points))
        return found

    @pytest.mark.parametrize("degrees", [0, 5, 20, 45, 90, 180])
    def test_on_turned_scenes(self, tmp_path, write_polygons, degrees):
        self.check(tmp_path, write_polygons, "EPSG:32632", degrees, "EPSG:32632")

    @pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
    def test_at_the_edge_of_a_zone_with_other_coordinates(self, tmp_path, write_polygons, crs):
        self.check(tmp_path, write_polygons, "EPSG:32632", 0, crs, (260_000, 6_600_000))

    def check(self, tmp_path, write_polygons, crs, degrees, polygons_crs, corner=(5e5, 6e6)):
        rasterio = pytest.importorskip("rasterio")
        place = rasterio.Affine.translation(*corner) * rasterio.Affine.rotation(degrees)
        with rasterio.open(
            tmp_path / "s.tif", "w", driver="GTiff", count=1, height=500, width=500, dtype="uint8",
            crs=crs, transform=place * rasterio.Affine.scale(2, -2),
        ) as file:  # fmt: skip
            file.write(np.ones((1, 500, 500), np.uint8))
        squares = self.squares(open_scene(tmp_path / "s.tif", Reading()), polygons_crs)
        write_polygons("s.gpkg", squares, polygons_crs)
        source = GeoScenes(tmp_path, SourceSettings(Reading(tile=96), tile_overlap=16))
        found = objects_of(source)
        assert {number for number, _ in found} == set(range(1, len(squares) + 1))
        assert len(found) == len(squares)


class TestOddScenes:
    def test_windows_of_16_bits_share_one_range(self, tmp_path, write_scene, write_polygons):
        values = np.full((1, 64, 128), 200, np.uint16)
        values[0, :, 64:] = 3000
        write_scene("a.tif", values)
        write_polygons("a.gpkg", boxes([(20, 20), (100, 20)]))
        source = GeoScenes(tmp_path, SourceSettings(Reading(tile=64), tile_overlap=0))
        left, right = (source.read(n).image.max() for n in range(2))
        assert (left, right) == (round(200 * 255 / 65535), round(3000 * 255 / 65535))

    def test_names_go_before_the_colours_that_gdal_guesses(self, write_scene):
        values = np.ones((4, 8, 8), np.uint8) * np.array([10, 20, 30, 40], np.uint8)[:, None, None]
        path = write_scene("a.tif", values, names=("blue", "green", "red", "nir"))
        image, _ = read_window(open_scene(path, Reading()), Window(0, 0, 8, 8))
        assert image[0, 0].tolist() == [30, 20, 10]

    def test_a_strip_of_data_keeps_its_objects(self, tmp_path, write_scene, write_polygons):
        values = np.zeros((1, 512, 512), np.uint8)
        values[:, :, 250:263] = 90
        write_scene("a.tif", values, nodata=0)
        write_polygons("a.gpkg", boxes([(251, 20), (251, 300)]))
        assert len(objects_of(GeoScenes(tmp_path))) == 2

    def test_a_band_without_data_is_black_in_that_band(self, write_scene):
        values = np.full((3, 8, 8), 1000, np.uint16)
        values[0] = 65535
        scene = open_scene(
            write_scene("a.tif", values, nodata=65535), Reading(value_range=(0, 2000))
        )
        image, is_valid = read_window(scene, Window(0, 0, 8, 8))
        assert is_valid.all()
        assert image[0, 0].tolist() == [0, 128, 128]

    def test_a_scene_without_objects_stands_beside_others(
        self, tmp_path, write_scene, write_polygons
    ):
        write_scene("a.tif", np.ones((1, 64, 64), np.uint8))
        write_scene("b.tif", np.ones((1, 64, 64), np.uint8))
        write_polygons("a.geojson", boxes([(20, 20)]))
        (tmp_path / "b.geojson").write_text('{"type": "FeatureCollection", "features": []}')
        assert [r.path.stem for r in GeoScenes(tmp_path).records] == ["a"]
        assert len(GeoScenes(tmp_path, SourceSettings(slices="all"))) == 2

    def test_polygons_elsewhere_are_refused(self, tmp_path, write_scene, write_polygons):
        write_scene("a.tif", np.ones((1, 64, 64), np.uint8))
        write_polygons("a.gpkg", boxes([(9_000, 20)]))
        with pytest.raises(UserError, match="none of the 1 polygons"):
            GeoScenes(tmp_path)

    def test_labels_of_another_extent_are_laid_where_they_belong(self, tmp_path, write_scene):
        write_scene("a.tif", np.ones((1, 64, 64), np.uint8))
        labels = np.zeros((1, 40, 80), np.uint8)
        labels[0, 10:20, 10:20] = 5
        write_scene("a_labels.tif", labels)
        assert (GeoScenes(tmp_path).read(0).labels[0, 10:20, 10:20] == 5).all()

    def test_what_is_no_picture_is_said(self, tmp_path, write_scene, write_polygons):
        write_scene("a.tif", np.ones((1, 64, 64), np.complex64))
        write_polygons("a.gpkg", boxes([(20, 20)]))
        with pytest.raises(UserError, match="complex numbers"):
            GeoScenes(tmp_path)

    def test_nothing_outside_the_folder_is_read(self, tmp_path, write_scene, write_polygons):
        secret = write_scene("secret.tif", np.ones((1, 64, 64), np.uint8))
        (tmp_path / "d").mkdir()
        vrt = (
            '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1">'
            f"<SimpleSource><SourceFilename>{secret}</SourceFilename><SourceBand>1</SourceBand>"
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )
        (tmp_path / "d" / "a.vrt").write_text(vrt)
        with pytest.raises(UserError, match="outside its own folder"):
            open_scene(tmp_path / "d" / "a.vrt", Reading())

    def test_a_file_that_is_written_anew_is_read_anew(self, write_scene):
        first = open_scene(write_scene("a.tif", np.full((1, 8, 8), 10, np.uint8)), Reading())
        assert read_window(first, Window(0, 0, 8, 8))[0].max() == 10
        second = open_scene(write_scene("a.tif", np.full((1, 9, 9), 20, np.uint8)), Reading())
        assert read_window(second, Window(0, 0, 8, 8))[0].max() == 20


def test_thousands_of_polygons_of_a_window_are_drawn_in_a_moment(
    tmp_path, write_scene, write_polygons
):
    write_scene("a.tif", np.ones((1, 400, 400), np.uint8))
    places = [(x, y) for x in range(0, 396, 8) for y in range(0, 396, 8)]
    write_polygons("a.gpkg", boxes(places, side=6))
    source = GeoScenes(tmp_path, SourceSettings(Reading(tile=400), block=1000))
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        features = pytest.importorskip("rasterio.features")
        draw_once = features.rasterize
        patch.setattr(features, "rasterize", lambda *a, **k: calls.append(1) or draw_once(*a, **k))
        labels = source.read(0).labels
    assert len(np.unique(labels)) == len(places) + 1
    assert len(calls) < 5

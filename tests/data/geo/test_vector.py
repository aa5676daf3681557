"""Polygons on pixels: every CRS, holes, parts, slivers, wrong CRS, attributes, and damaged files."""

import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samtune.data.geo.burning import draw
from samtune.data.geo.frames import to_crs
from samtune.data.geo.placing import find_on_scene, lie_apart
from samtune.data.geo.raster import open_scene
from samtune.data.geo.vector import read_polygons
from samtune.errors import UserError
from samtune.reading import Reading
from samtune.types import Window

shapely = pytest.importorskip("shapely")
WHOLE = Window(0, 0, 20, 30)
CORNER = (500_000.0, 6_000_000.0)


@pytest.fixture
def scene(write_scene):
    """20 x 30 pixels of 2 m."""
    return open_scene(write_scene("scene.tif", np.zeros((1, 20, 30), np.uint8)), Reading())


def at_pixels(shape, crs="EPSG:32632"):
    """A geometry in pixels, brought to coordinates."""

    def move(xy):
        return to_crs(np.array(CORNER) + xy * [2.0, -2.0], "EPSG:32632", crs)

    return shapely.transform(shape, move)


def box(x0, y0, x1, y1, crs="EPSG:32632"):
    return at_pixels(shapely.box(x0, y0, x1, y1), crs)


def drawn(polygons, scene, window=WHOLE):
    return draw(polygons, np.arange(len(polygons)), scene, window)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    arrays.arrays(np.uint8, (20, 30), elements=st.integers(0, 3), fill=st.just(0)),
    st.sampled_from(["EPSG:32632", "EPSG:4326", "EPSG:3857"]),
    st.sampled_from(["a.gpkg", "a.geojson", "a.shp"]),
)
def test_masks_written_as_polygons_are_read_back_equal(scene, write_polygons, labels, crs, name):
    features = pytest.importorskip("rasterio.features")
    ids = [int(value) for value in np.unique(labels) if value]
    if not ids:
        return
    parts = [[shapely.geometry.shape(s) for s, _ in features.shapes(labels, labels == i)]
             for i in ids]  # fmt: skip
    shapes = [at_pixels(shapely.union_all(part), crs) for part in parts]
    polygons = read_polygons(write_polygons(name, shapes, crs))
    found, _ = drawn(polygons, scene)
    assert len(found) == 1
    expected = np.searchsorted([0, *ids], labels)
    np.testing.assert_array_equal(found[0], expected)


class TestDrawing:
    def test_parts_and_holes(self, scene, write_polygons):
        ring = shapely.difference(box(2, 2, 10, 10), box(4, 4, 8, 8))
        both = shapely.union(ring, box(20, 2, 24, 6))
        labels, _ = drawn(read_polygons(write_polygons("a.gpkg", [both])), scene)
        expected = np.zeros((20, 30), bool)
        expected[2:10, 2:10] = True
        expected[4:8, 4:8] = False
        expected[2:6, 20:24] = True
        np.testing.assert_array_equal(labels[0] > 0, expected)

    def test_overlapping_ones_keep_all_their_pixels(self, scene, write_polygons):
        path = write_polygons("a.gpkg", [box(0, 0, 10, 10), box(5, 5, 15, 15)])
        labels, _ = drawn(read_polygons(path), scene)
        assert [int((layer > 0).sum()) for layer in labels] == [100, 100]

    def test_slivers_without_a_pixels_centre_are_nothing(self, scene, write_polygons):
        path = write_polygons("a.gpkg", [box(3, 3, 3.4, 9), box(5, 5, 7, 7)])
        labels, classes = drawn(read_polygons(path), scene)
        assert np.unique(labels).tolist() == [0, 2]
        assert set(classes) == {2}

    def test_windows_are_parts_of_the_whole(self, scene, write_polygons):
        path = write_polygons("a.gpkg", [at_pixels(shapely.Point(15, 10).buffer(7))])
        polygons = read_polygons(path)
        whole, _ = drawn(polygons, scene)
        part, _ = drawn(polygons, scene, Window(6, 9, 10, 12))
        np.testing.assert_array_equal(part[0], whole[0, 6:16, 9:21])

    def test_self_crossing_ones_are_repaired(self, scene, write_polygons):
        bow_tie = at_pixels(shapely.Polygon([(2, 2), (12, 12), (12, 2), (2, 12)]))
        labels, _ = drawn(read_polygons(write_polygons("a.gpkg", [bow_tie])), scene)
        assert 40 < (labels > 0).sum() < 60
        assert not labels[0, 3, 7]

    def test_those_beyond_the_edge_are_cut(self, scene, write_polygons):
        labels, _ = drawn(read_polygons(write_polygons("a.gpkg", [box(-9, -9, 3, 2)])), scene)
        assert labels[0, :2, :3].all()
        assert labels.sum() == 6


class TestPlaces:
    def test_polygons_of_each_window(self, scene, write_polygons):
        path = write_polygons("a.geojson", [box(1, 1, 4, 4, "EPSG:4326"),
                                            box(9, 1, 12, 4, "EPSG:4326")], "EPSG:4326")  # fmt: skip
        windows = [Window(0, 0, 10, 10), Window(0, 10, 10, 10), Window(10, 0, 10, 10)]
        found = find_on_scene(read_polygons(path), scene, windows)
        pairs = sorted(zip(found.windows.tolist(), found.polygons.tolist(), strict=True))
        assert pairs == [(0, 0), (0, 1), (1, 1)]

    def test_coordinates_of_the_scene_under_another_name_are_noted(self, scene, tmp_path):
        ring = [[x, y] for x, y in shapely.get_coordinates(box(2, 2, 9, 9)).tolist()]
        feature = {"type": "Feature", "properties": {},
                   "geometry": {"type": "Polygon", "coordinates": [ring]}}  # fmt: skip
        path = tmp_path / "a.geojson"  # without a CRS: longitude and latitude
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
        polygons = read_polygons(path)
        find_on_scene(polygons, scene, [WHOLE])
        assert "EPSG:32632" in polygons.notes[0]
        assert (drawn(polygons, scene)[0] > 0).sum() == 49

    def test_those_elsewhere_meet_nothing_and_both_places_are_told(self, scene, write_polygons):
        polygons = read_polygons(write_polygons("a.gpkg", [box(9_000, 1, 9_004, 4)]))
        assert not len(find_on_scene(polygons, scene, [WHOLE]).windows)
        expected = r"none of the 1 polygons .* x 518000 to .* 500000 to"
        assert re.match(expected, lie_apart(polygons, scene))

    def test_one_that_lies_nowhere_on_the_earth_spoils_no_other(self, scene, write_polygons):
        good = box(4, 5, 9, 9, "EPSG:4326")
        wild = shapely.box(500_000, 6_000_000, 500_010, 6_000_010)
        corners = shapely.get_coordinates(box(12, 5, 16, 9, "EPSG:4326"))
        half = shapely.Polygon([*corners[:3], (9.0, 6_000_000.0)])
        polygons = read_polygons(write_polygons("a.gpkg", [wild, good, half], crs="EPSG:4326"))
        meetings = find_on_scene(polygons, scene, [WHOLE])
        assert {1} <= set(meetings.polygons.tolist())
        labels, _ = drawn(polygons, scene)
        assert np.unique(labels).tolist() == [0, 2]
        assert (labels == 2).sum() == 20

    @pytest.mark.parametrize(
        "crs", ['LOCAL_CS["x",UNIT["metre",1]]', 'LOCAL_CS["y",UNIT["foot",0.3048]]']
    )
    def test_a_scene_of_a_local_system_says_that_no_way_leads_there(
        self, write_scene, write_polygons, crs
    ):
        place = open_scene(
            write_scene("scene.tif", np.zeros((1, 20, 30), np.uint8), crs=crs), Reading()
        )
        polygons = read_polygons(write_polygons("a.gpkg", [box(4, 5, 9, 9)]))
        with pytest.raises(UserError, match=r"a\.gpkg on .*scene\.tif: .*cannot be brought from"):
            find_on_scene(polygons, place, [WHOLE])

    def test_degrees_are_no_pixels(self, write_scene, write_polygons):
        plain = open_scene(
            write_scene("plain.tif", np.zeros((1, 20, 30), np.uint8), crs=None), Reading()
        )
        degrees = read_polygons(
            write_polygons("a.geojson", [box(1, 1, 4, 4, "EPSG:4326")], "EPSG:4326")
        )
        with pytest.raises(UserError, match="less than a pixel wide: georeference"):
            find_on_scene(degrees, plain, [WHOLE])
        pixels = read_polygons(write_polygons("b.geojson", [shapely.box(2, 3, 9, 9)], "EPSG:4326"))
        find_on_scene(pixels, plain, [WHOLE])
        assert drawn(pixels, plain)[0][0, 3:9, 2:9].all()


class TestLayers:
    @pytest.fixture
    def write_layers(self, tmp_path):
        """Writes a GeoPackage: `write_layers(name=[shapes], ...)`."""
        raw = pytest.importorskip("pyogrio.raw")

        def write(kind="Unknown", **layers):
            path = tmp_path / "a.gpkg"
            for name, shapes in layers.items():
                content = shapely.to_wkb(np.array(shapes, object))
                raw.write(path, content, [], [], layer=name, append=path.exists(),
                          geometry_type=kind, crs="EPSG:32632")  # fmt: skip
            return path

        return write

    @pytest.mark.parametrize("kind", ["Unknown", "Polygon", "MultiPolygon Z"])
    def test_the_only_one_with_polygons_is_read(self, write_layers, kind):
        write_layers(notes=[shapely.Point(1, 1)])
        write_layers("LineString", roads=[shapely.LineString([(0, 0), (1, 1)])])
        path = write_layers(kind, empty=[], roofs=[box(2, 2, 4, 4), box(5, 5, 7, 7)])
        polygons = read_polygons(path)
        assert len(polygons) == 2
        assert polygons.notes == []

    def test_several_are_asked_about_and_one_can_be_named(self, write_layers):
        path = write_layers(area=[box(0, 0, 20, 20)], roofs=[box(2, 2, 4, 4), box(5, 5, 7, 7)])
        with pytest.raises(UserError, match=r"Set data\.layer: found area, roofs"):
            read_polygons(path)
        assert len(read_polygons(path, layer="roofs")) == 2
        with pytest.raises(UserError, match="no layer 'roads': found area, roofs"):
            read_polygons(path, layer="roads")

    def test_none_with_polygons_is_refused_with_those_there_are(self, write_layers):
        path = write_layers(
            trees=[shapely.Point(1, 1)], roads=[shapely.LineString([(0, 0), (1, 1)])]
        )
        with pytest.raises(UserError, match="holds no polygons: its layers are trees, roads"):
            read_polygons(path)
        assert len(read_polygons(path, with_points=True)) == 1

    def test_points_count_among_prompts(self, write_layers):
        path = write_layers("Point", clicks=[shapely.Point(1, 1)])
        write_layers("Polygon", boxes=[box(2, 2, 4, 4)])
        assert len(read_polygons(path)) == 1
        with pytest.raises(UserError, match="Set --layer: found clicks, boxes"):
            read_polygons(path, with_points=True)


class TestFiles:
    def test_classes_of_an_attribute(self, scene, write_polygons):
        shapes = [box(0, 0, 3, 3), box(5, 5, 9, 9), box(12, 3, 15, 6)]
        path = write_polygons("a.gpkg", shapes, kind=["Ærter", None, "hus"])
        assert drawn(read_polygons(path, "kind"), scene)[1] == {1: "Ærter", 2: "", 3: "hus"}

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.array([4, 4, 7], np.int32), ["4", "", "7"]),
            (np.array([4, 4, 7], np.int64), ["4", "", "7"]),
            (np.array([4.0, 4.0, 7.5]), ["4", "", "7.5"]),
            (np.array([True, True, False]), ["True", "", "False"]),
            (np.array(["2020-01-02"] * 3, "datetime64[D]"), ["2020-01-02", "", "2020-01-02"]),
        ],
    )
    def test_a_missing_value_leaves_the_others_as_they_are(self, tmp_path, values, expected):
        raw, path = pytest.importorskip("pyogrio.raw"), tmp_path / "a.gpkg"
        shapes = shapely.to_wkb(np.array([box(0, 0, 3, 3), box(5, 5, 9, 9), box(9, 9, 15, 15)]))
        for missing in ([False] * 3, [False, True, False]):
            raw.write(path, shapes, [values], ["kind"], [np.array(missing)], crs="EPSG:32632",
                      geometry_type="Polygon")  # fmt: skip
            polygons = read_polygons(path, "kind")
            assert polygons.classes[[0, 2]].tolist() == [expected[0], expected[2]]
        assert polygons.classes.tolist() == expected
        assert polygons.notes == [f"1 polygon of {path} without 'kind', and so without a class"]

    def test_an_unknown_attribute_is_refused_with_those_there_are(self, write_polygons):
        path = write_polygons("a.gpkg", [box(0, 0, 3, 3)], kind=["a"], owner=["b"])
        with pytest.raises(UserError, match="no column 'class': found kind, owner"):
            read_polygons(path, "class")

    def test_text_of_another_encoding(self, write_polygons):
        path = write_polygons("a.shp", [box(0, 0, 3, 3)], kind=["xrter"])
        (path.with_suffix(".cpg")).unlink(missing_ok=True)
        table = path.with_suffix(".dbf")
        table.write_bytes(table.read_bytes().replace(b"xrter", b"\xc6rter"))
        assert read_polygons(path, "kind", "latin-1").classes.tolist() == ["Ærter"]
        with pytest.raises(UserError, match=r"set data\.encoding"):
            read_polygons(path, "kind", "utf-8")
        with pytest.raises(UserError, match="no encoding 'klingon'"):
            read_polygons(path, "kind", "klingon")

    def test_what_is_no_polygon_is_noted(self, write_polygons):
        shapes = [box(0, 0, 3, 3), shapely.Point(1, 1), None, shapely.LineString([(0, 0), (1, 1)]),
                  shapely.Polygon()]  # fmt: skip
        polygons = read_polygons(write_polygons("a.gpkg", shapes))
        assert len(polygons) == 1
        assert polygons.notes[0].startswith("4 features")

    def test_polygons_of_collections_count(self, scene, write_polygons):
        line, point = shapely.LineString(box(2, 2, 9, 9).exterior), shapely.Point(0, 0)
        both = shapely.union(box(14, 2, 17, 5), box(20, 2, 23, 5))
        deep = shapely.GeometryCollection([point, shapely.GeometryCollection([both, line])])
        halves = shapely.GeometryCollection([box(2, 12, 6, 15), box(4, 12, 9, 15), line])
        mixed = [deep, halves, shapely.GeometryCollection([line]), box(2, 2, 4, 4)]
        polygons = read_polygons(write_polygons("a.gpkg", mixed))
        assert polygons.notes == [f"1 feature of {polygons.path} with no polygon"]
        labels, _ = drawn(polygons, scene)
        assert [int((labels == number).sum()) for number in (1, 2, 3)] == [18, 21, 4]

    def test_none_at_all_is_a_scene_without_objects(self, scene, tmp_path):
        path = tmp_path / "a.geojson"
        path.write_text('{"type": "FeatureCollection", "features": []}')
        polygons = read_polygons(path)
        assert len(polygons) == 0
        assert not len(find_on_scene(polygons, scene, [WHOLE]).windows)
        assert not drawn(polygons, scene)[0].any()

    def test_without_a_polygon_it_is_refused(self, write_polygons):
        with pytest.raises(UserError, match="holds no polygons"):
            read_polygons(write_polygons("a.gpkg", [shapely.Point(1, 1)]))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, '
            '"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}]}',
            '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, '
            '"geometry": {"type": "Polygon", "coordinates": [[[0, 0], ["a", 1], [NaN, 0]]]}}]}',
        ],
    )
    def test_damaged_files_are_said_in_one_line(self, tmp_path, text):
        path = tmp_path / "with space.geojson"
        path.write_text(text)
        with pytest.raises(UserError, match=r"with space\.geojson") as error:
            read_polygons(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, -1e200])
def test_polygons_with_a_corner_that_is_nowhere_are_counted_as_none(scene, write_polygons, value):
    good = at_pixels(shapely.box(2, 3, 8, 9))
    corners = shapely.get_coordinates(good)
    corners[2, 1] = value
    polygons = read_polygons(write_polygons("a.gpkg", [shapely.Polygon(corners), good]))
    assert len(polygons) == 1
    assert polygons.notes == [f"1 feature of {polygons.path} with no polygon"]
    labels, _ = draw(polygons, np.arange(1), scene, WHOLE)
    assert (labels > 0).sum() == 36

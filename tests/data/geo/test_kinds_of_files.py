"""What holds objects is known by its content, and classes of any type keep their names."""

import json
import zipfile

import numpy as np
import pytest

from samtune.data.formats import recognise
from samtune.data.geo.kinds import holds_vectors
from samtune.data.geo.vector import read_polygons
from samtune.data.readers.geo import GeoScenes
from samtune.data.settings import SourceSettings
from samtune.errors import UserError

shapely = pytest.importorskip("shapely")
CORNER = (500_000.0, 6_000_000.0)
SQUARE = shapely.box(CORNER[0] + 4, CORNER[1] - 20, CORNER[0] + 24, CORNER[1] - 10)


def feature(properties, ring=None):
    coordinates = [ring or [list(xy) for xy in SQUARE.exterior.coords]]
    geometry = {"type": "Polygon", "coordinates": coordinates}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def geojson(path, *features, crs="urn:ogc:def:crs:EPSG::32632"):
    content = {"type": "FeatureCollection", "features": list(features)}
    if crs:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(content))
    return path


def geoparquet(path, **more):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pyproj = pytest.importorskip("pyproj")
    column = {
        "encoding": "WKB",
        "geometry_types": [],
        "crs": pyproj.CRS(32632).to_json_dict(),
    } | more
    about = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = arrow.table({"geometry": [shapely.to_wkb(SQUARE)], "kind": [["roof", "tiled"]]})
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(about)}), path)
    return path


def zipped_shapefile(path, write_polygons):
    shape = write_polygons("inner/a.shp", [SQUARE], kind=["roof"])
    with zipfile.ZipFile(path, "w") as content:
        for file in shape.parent.iterdir():
            content.write(file, file.name)
    return path


@pytest.mark.parametrize("name", ["objects.json", "objects.parquet", "objects.shp.zip", "a.json"])
@pytest.mark.parametrize("is_named", [False, True])
def test_objects_of_any_name_are_read_by_what_they_are(
    tmp_path, write_scene, write_polygons, name, is_named
):
    write_scene("a.tif", np.zeros((3, 20, 30), np.uint8))
    if name.endswith(".json"):
        geojson(tmp_path / name, feature({"kind": "roof"}))
    elif name.endswith(".zip"):
        zipped_shapefile(tmp_path / name, write_polygons)
    else:
        geoparquet(tmp_path / name)
    settings = SourceSettings(objects=name if is_named else "", class_column="kind")
    assert recognise(tmp_path) == "geo"
    sample = GeoScenes(tmp_path, settings).read(0)
    assert (sample.labels > 0).sum() == 10 * 5
    assert list(sample.classes.values()) == ["roof, tiled" if "parquet" in name else "roof"]


def test_a_json_of_another_kind_holds_no_objects(tmp_path, write_scene):
    (tmp_path / "a.json").write_text('{"shapes": [], "imagePath": "a.tif"}')
    assert not holds_vectors(tmp_path / "a.json")
    scene = write_scene("a.tif", np.zeros((3, 20, 30), np.uint8))
    assert not holds_vectors(scene)
    assert not holds_vectors(tmp_path / "gone.json")
    with pytest.raises(UserError, match="has no objects beside it"):
        GeoScenes(tmp_path)


def test_parquet_whose_geometries_are_no_wkb_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds geometries as point: write them as WKB"):
        read_polygons(geoparquet(tmp_path / "a.parquet", encoding="point"))
    with pytest.raises(UserError, match="no column 'x': found kind"):
        read_polygons(geoparquet(tmp_path / "a.parquet"), "x")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (["roof", "tiled"], "roof, tiled"), (["roof"], "roof"), ([1, 2], "1, 2"), ("roof", "roof"),
        (7, "7"), (7.0, "7"), (7.5, "7.5"), (True, "True"),
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor"), ("{torn", "{torn"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 3])
def test_classes_of_any_type_keep_their_names(tmp_path, value, name, count):
    file = geojson(tmp_path / "a.geojson", *[feature({"kind": value})] * count)
    assert read_polygons(file, "kind").classes.tolist() == [name] * count


def qupath(name):
    ring = [[4, 5], [14, 5], [14, 10], [4, 10], [4, 5]]
    its = {"objectType": "annotation"}
    return feature(
        its | ({"classification": {"name": name, "color": [1, 2, 3]}} if name else {}), ring
    )


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_classes_and_pixels_of_qupath_s_export(tmp_path, write, suffix):
    write(tmp_path / f"s.{suffix}", np.full((20, 30, 3), 90, np.uint8))
    geojson(tmp_path / "s.geojson", qupath("Tumor"), qupath(""), crs="")
    assert recognise(tmp_path) == "geo"
    source = GeoScenes(tmp_path)
    sample = source.read(0)
    assert sample.classes == {1: "Tumor", 2: ""}
    expected = np.zeros((20, 30), bool)
    expected[5:10, 4:14] = True
    np.testing.assert_array_equal(sample.labels[0] > 0, expected)
    assert any("1 polygon of" in n and "without 'classification'" in n for n in source.notes)


def test_a_column_that_is_only_called_as_qupath_s_names_no_class(tmp_path):
    file = geojson(tmp_path / "a.geojson", feature({"classification": "good"}))
    found = read_polygons(file)
    assert found.classes.tolist() == [""]
    assert found.notes == []


def test_a_class_of_several_names_is_called_as_qupath_shows_it(tmp_path):
    its = {"classification": {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}}
    file = geojson(tmp_path / "a.geojson", feature(its), feature({"classification": {"name": "x"}}))
    assert read_polygons(file).classes.tolist() == ["Tumor: Positive", "x"]


def test_a_bare_list_of_features_is_named(tmp_path):
    file = tmp_path / "a.geojson"
    file.write_text(json.dumps([feature({})]))
    with pytest.raises(UserError, match="a list of JSON: expected a FeatureCollection"):
        read_polygons(file)

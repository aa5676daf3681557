"""Images of mask folders that are GeoTIFFs: those that show the same ground stay together."""

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

import samtune
from samtune.data.formats import open_splits
from samtune.data.geo.ties import tied_by_ground
from samtune.data.settings import SourceSettings, SplitSettings

SIDE = 64


def write(path, x, y, crs="EPSG:32737", side=SIDE, meters=0.5):
    """A GeoTIFF whose top left corner lies x and y pixels from an origin."""
    pixels = np.random.default_rng(x + 1000 * y).integers(0, 256, (3, side, side)).astype(np.uint8)
    place = {}
    if crs is not None:
        place = {
            "crs": crs,
            "transform": from_origin(500_000 + x * meters, 9_300_000 - y * meters, meters, meters),
        }
    about = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **about, **place) as file:
        file.write(pixels)
    return path


def test_overlap_ties_and_adjoining_edges_and_slivers_do_not(tmp_path):
    places = [(0, 0), (48, 0), (112, 0), (174, 0), (0, 64), (500, 500)]
    paths = [write(tmp_path / f"{n}.tif", *place) for n, place in enumerate(places)]
    # 1 begins within 0; 2 begins where 1 ends; 3 shares 2 of 64 pixels with 2
    assert tied_by_ground(paths) == [0, 0, 2, 3, 4, 5]


def test_other_kinds_of_files_are_apart(tmp_path):
    nowhere = [write(tmp_path / f"{n}.tif", 0, 0, crs=None) for n in range(2)]
    assert tied_by_ground(nowhere) == [0, 1]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "broken.tif").write_bytes(b"II*\0 nothing")
    placed = [write(tmp_path / f"placed{n}.tif", 0, 0) for n in range(2)]
    mixed = [tmp_path / "a.png", tmp_path / "broken.tif", *placed, nowhere[0]]
    assert tied_by_ground(mixed) == [0, 1, 2, 2, 4]
    assert tied_by_ground([placed[0], placed[0]]) == [0, 1]


def test_systems_of_two_zones_are_compared_on_the_ground(tmp_path):
    one = write(tmp_path / "one.tif", 0, 0)
    with rasterio.open(one) as file:
        left, bottom, right, top = file.bounds
    from rasterio.warp import transform_bounds

    west, south, east, north = transform_bounds("EPSG:32737", "EPSG:4326", left, bottom, right, top)
    other = tmp_path / "other.tif"
    about = {"driver": "GTiff", "height": 8, "width": 8, "count": 3, "dtype": "uint8"}
    place = from_origin(west, north, (east - west) / 8, (north - south) / 8)
    with rasterio.open(other, "w", **about, crs="EPSG:4326", transform=place) as file:
        file.write(np.zeros((3, 8, 8), np.uint8))
    away = write(tmp_path / "away.tif", 5000, 5000)
    assert tied_by_ground([one, other, away]) == [0, 0, 2]


@pytest.fixture
def folder(tmp_path):
    def make(places):
        for number, place in enumerate(places):
            write(tmp_path / "images" / f"{number:02}.tif", *place)
            label = np.zeros((SIDE, SIDE), np.uint8)
            label[10:30, 10:30] = 1
            (tmp_path / "labels").mkdir(exist_ok=True)
            Image.fromarray(label).save(tmp_path / "labels" / f"{number:02}.png")
        return tmp_path

    return make


def pairs(count):
    """Pairs of tiles that overlap by a quarter, far from each other."""
    return [(1000 * n + shift, 0) for n in range(count) for shift in (0, 48)]


def test_a_drawn_split_does_not_tear_them_apart(folder):
    sources = open_splits(folder(pairs(8)), "auto", SourceSettings(), SplitSettings())
    where = {r.image_id: name for name, source in sources.items() for r in source.records}
    for number in range(0, 16, 2):
        assert where[f"{number:02}"] == where[f"{number + 1:02}"]
    assert {len(source) % 2 for source in sources.values()} == {0}
    assert len({r.group for source in sources.values() for r in source.records}) == 8
    assert any("16 of 16 images show ground" in note for note in sources["train"].notes)


def test_a_column_or_pattern_of_the_user_goes_before_it(folder):
    settings = SplitSettings(group_regex=r"(\d+)")
    sources = open_splits(folder(pairs(4)), "auto", SourceSettings(), settings)
    assert len({r.group for source in sources.values() for r in source.records}) == 8
    assert not any("ground" in note for note in sources["train"].notes)


def test_where_all_hang_together_they_stay_apart_and_that_is_told(folder):
    chain = [(48 * n, 0) for n in range(10)]
    sources = open_splits(folder(chain), "auto", SourceSettings(), SplitSettings())
    assert all(len(source) for source in sources.values())
    assert any("results look better than they are" in note for note in sources["train"].notes)


def test_named_splits_that_share_ground_are_an_error_of_the_check(folder):
    path = folder(pairs(8))
    rows = "".join(f"{n:02},{'test' if n in (1, 2, 3) else 'train'}\n" for n in range(16))
    (path / "manifest.csv").write_text("id,split\n" + rows)
    found = samtune.check(path, max_images=0, page=path / "page.html")
    told = [finding.text for finding in found.found.findings if finding.level == "error"]
    assert any("1 group lies in two splits, such as 00" in text for text in told)

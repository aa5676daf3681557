import numpy as np
import pytest
from PIL import Image

from samtune.data.objects import find_objects
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.source import Subset, Tiles, tile_starts


@pytest.mark.parametrize(
    ("length", "side", "overlap", "expected"),
    [
        (100, 40, 10, [0, 30, 60]),
        (110, 40, 10, [0, 30, 60, 70]),
        (70, 40, 10, [0, 30]),
        (41, 40, 10, [0, 1]),
        (40, 40, 10, [0]),
        (7, 40, 10, [0]),
        (120, 40, 0, [0, 40, 80]),
        (6, 3, 2, [0, 1, 2, 3]),
    ],
)
def test_tiles_start_a_step_apart_and_the_last_is_moved_inwards(length, side, overlap, expected):
    assert tile_starts(length, side, overlap) == expected


@pytest.mark.parametrize("overlap", [0, 1, 7, 19])
@pytest.mark.parametrize("length", range(20, 90, 3))
def test_tiles_cover_everything_and_overlap_enough(length, overlap):
    starts = tile_starts(length, 20, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - 20
    assert all(0 < step <= 20 - overlap for step in np.diff(starts))


@pytest.fixture
def scene(tmp_path, write):
    """A (70, 100) scene with an object across the seams, and a small (20, 30) one."""
    image = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    labels = np.zeros((70, 100), np.uint16)
    labels[25:45, 20:80], labels[60:, 90:] = 7, 9
    write(tmp_path / "images" / "big.png", image)
    write(tmp_path / "labels" / "big.png", labels)
    write(tmp_path / "images" / "small.png", image[:20, :30])
    write(tmp_path / "labels" / "small.png", labels[:20, :30])
    (tmp_path / "manifest.csv").write_text("id,split,place\nbig,train,p1\nsmall,test,p2\n")
    return MaskFolder(tmp_path)


def test_each_tile_is_a_window_of_image_and_labels(scene):
    tiles, whole = Tiles(scene, 40, 10), scene.read(0)
    assert len(tiles) == 2 * 3 + 1
    for index, (y, x) in enumerate([(0, 0), (0, 30), (0, 60), (30, 0), (30, 30), (30, 60)]):
        tile = tiles.read(index)
        assert tile.image_id == tiles.records[index].image_id == f"big@{x},{y}"
        np.testing.assert_array_equal(tile.image, whole.image[y : y + 40, x : x + 40])
        np.testing.assert_array_equal(tile.labels, whole.labels[:, y : y + 40, x : x + 40])
        assert tiles.hw(index) == (40, 40)


def test_an_object_on_a_seam_is_in_each_tile_that_it_reaches(scene):
    tiles = Tiles(scene, 40, 10)
    found = [[p.object_id for p in find_objects(tiles.read(index).labels)] for index in range(6)]
    assert found == [[7], [7], [7], [7], [7], [7, 9]]


def test_an_image_smaller_than_a_tile_stays_as_it_is(scene):
    tiles = Tiles(scene, 40, 10)
    assert tiles.hw(6) == (20, 30)
    np.testing.assert_array_equal(tiles.read(6).image, scene.read(1).image)


def test_a_tile_keeps_the_split_and_the_columns_of_its_image(scene):
    records = Tiles(scene, 40, 10).records
    assert [record.split for record in records] == ["train"] * 6 + ["test"]
    assert [dict(record.columns)["place"] for record in records] == ["p1"] * 6 + ["p2"]


def test_ids_of_tiles_are_unique(scene):
    tiles = Tiles(scene, 20, 5)
    assert len({record.image_id for record in tiles.records}) == len(tiles)


def test_a_subset_holds_the_chosen_images(scene):
    subset = Subset(scene, [1])
    assert len(subset) == 1
    assert subset.read(0).image_id == subset.records[0].image_id == "small"
    assert subset.hw(0) == (20, 30)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize(("orientation", "hw"), [(1, (30, 60)), (3, (30, 60)), (6, (60, 30))])
def test_the_size_of_a_turned_image_is_that_of_the_picture_read(
    tmp_path, write, name, orientation, hw
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (60, 30))
    (tmp_path / "images").mkdir()
    picture.save(tmp_path / "images" / name, exif=exif)
    write(tmp_path / "labels" / "a.png", np.zeros(hw, np.uint8))
    source = MaskFolder(tmp_path)
    assert source.read(0).image.shape[:2] == hw
    assert source.hw(0) == hw
    assert len(Tiles(source, 30, 0)) == 2


def test_the_size_follows_a_file_that_was_replaced(tmp_path, write):
    path = tmp_path / "images" / "a.png"
    for hw in ((8, 9), (5, 6)):
        write(path, np.zeros(hw, np.uint8))
        write(tmp_path / "labels" / "a.png", np.zeros(hw, np.uint8))
        assert MaskFolder(tmp_path).hw(0) == hw


def test_the_first_images_have_all_of_their_tiles(scene):
    tiles = Tiles(scene, 32, 8)
    first = sum(
        record.image_id.startswith(f"{scene.records[0].image_id}@") for record in tiles.records
    )
    assert first > 1
    assert tiles.num_of_first(1) == first
    assert tiles.num_of_first(0) == tiles.num_of_first(1000) == len(tiles)
    assert scene.num_of_first(1) == 1

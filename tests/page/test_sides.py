"""What is held out: early enough to judge a round by, for good, and never beside what is trained on."""

import json

import numpy as np
import pytest
from PIL import Image

from samtune.data.formats import open_splits
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.images import open_images
from samtune.page.session import Session
from samtune.page.sides import rule_of
from samtune.reading import Reading
from samtune.tasks.loop import _snapshot


@pytest.fixture
def named(tmp_path):
    """Makes a folder of small pictures of these names."""

    def make(names):
        for name in names:
            (tmp_path / "pictures").mkdir(exist_ok=True)
            Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(
                tmp_path / "pictures" / f"{name}.png"
            )
        return tmp_path / "pictures"

    return make


def opened(tuned, path, tmp_path):
    return Session(tuned, True, open_images([path], Reading()), tmp_path / "kept")


def accept(session, indices, square):
    for index in indices:
        session.mend(index, square)
        session.accept(index)


def held_out(session):
    return [n for n, work in enumerate(session.works) if work.side and work.side.is_held_out]


def read_folder(folder):
    """What a fit reads: by split the samples."""
    splits = open_splits(folder, "coco", SourceSettings(), SplitSettings())
    return {name: [part.read(n) for n in range(len(part))] for name, part in splits.items()}


def test_every_second_of_the_first_eight_is_held_out_and_later_every_fourth(
    tuned, named, tmp_path, square
):
    path = named([f"{letter}x" for letter in "abcdefghijklmnopqr"])
    session = opened(tuned, path, tmp_path)
    accept(session, range(18), square)
    assert held_out(session) == [1, 3, 5, 7, 9, 13, 17]
    # it is the order of labelling that counts, and what is opened again goes on from there
    (tmp_path / "other").mkdir()
    session = opened(tuned, path, tmp_path / "other")
    accept(session, [9, 4, 7], square)
    session = opened(tuned, path, tmp_path / "other")
    accept(session, [2, 0], square)
    assert held_out(session) == [2, 4]
    session.undo(4)
    session.delete(2, 1)
    assert held_out(opened(tuned, path, tmp_path / "other")) == [2, 4]


def test_images_without_objects_take_no_turn(tuned, named, tmp_path, square):
    path = named("abc")
    session = opened(tuned, path, tmp_path)
    session.set_status(0, "done")
    accept(session, [1], square)
    session = opened(tuned, path, tmp_path)
    assert session.works[0].side is None
    assert session.works[0].status == "done"
    accept(session, [2], square)
    assert held_out(session) == [2]
    accept(session, [0], square)
    assert held_out(session) == [2]


def test_who_holds_more_out_is_not_given_more(tuned, named, tmp_path, square):
    session = opened(tuned, named("abcdef"), tmp_path)
    session.hold_out(0, True)
    accept(session, range(6), square)
    # two of the first four are enough, whoever chose them
    assert held_out(session) == [0, 3, 5]


def test_frames_of_one_video_are_on_one_side(tuned, named, tmp_path, square):
    path = named([f"{video}_{n:02d}" for video in ("pig", "cow", "hen") for n in range(3)])
    session = opened(tuned, path, tmp_path)
    names = [work.image_id for work in session.works]
    accept(
        session,
        [names.index(n) for n in ("pig_00", "pig_01", "cow_02", "hen_01", "cow_00")],
        square,
    )
    found = {names[n] for n in held_out(session)}
    assert found == {"cow_02", "cow_00"}
    groups = {
        name: {sample.group for sample in samples}
        for name, samples in read_folder(tmp_path / "kept").items()
    }
    assert groups == {"train": {"pig", "hen"}, "val": {"cow"}}
    session.hold_out(names.index("pig_01"), True)
    assert {names[n] for n in held_out(session)} == {"cow_02", "cow_00", "pig_00", "pig_01"}
    assert "groups of images" in rule_of(session.images.source)


def test_a_group_that_was_trained_on_in_part_is_never_held_out(tuned, named, tmp_path, square):
    path = named([f"{video}_{n:02d}" for video in ("cow", "pig") for n in range(3)])
    session = opened(tuned, path, tmp_path)
    accept(session, [0, 1], square)
    row = {
        "number": 1, "run": "r", "model": "nano", "is_used": True, "sentence": "", "seconds": 1.0,
        "trained_on": ["cow_00"], "held_out": ["x"], "present": {"miou": 0.5, "ci95": None},
        "new": {"miou": 0.6, "ci95": [0.5, 0.7]}, "start": {"model": "nano"},
    }  # fmt: skip
    (session.out / "rounds.json").write_text(json.dumps([row]))
    session = opened(tuned, path, tmp_path)
    with pytest.raises(UserError, match="cow_00 was trained on already"):
        session.hold_out(1, True)


@pytest.fixture
def volume(tmp_path):
    """A volume of 40 slices of 30 x 20 voxels."""
    nibabel = pytest.importorskip("nibabel")
    voxels = np.random.default_rng(0).integers(0, 200, (30, 20, 40)).astype(np.int16)
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 1, 3, 1])), path)
    return path


def test_slices_are_held_out_by_ranges_with_room_between(tuned, volume, tmp_path):
    session = opened(tuned, volume, tmp_path)
    source = session.images.source
    assert source.in_a_range == 4
    mask = PlacedMask(2, 3, np.ones((5, 6), np.bool_))
    accept(session, range(20), mask)
    # ranges of four, by turns; the first slice of each lies beside one of the other side
    assert [n // 4 for n in held_out(session)] == [1] * 4 + [3] * 4
    unused = [n for n, work in enumerate(session.works) if work.side and not work.side.is_used]
    assert unused == [4, 8, 12, 16]
    read = read_folder(tmp_path / "kept")
    places = {
        name: [int(sample.image_id[-4:]) for sample in samples] for name, samples in read.items()
    }
    assert places == {
        "train": [0, 1, 2, 3, 9, 10, 11, 17, 18, 19], "val": [5, 6, 7, 13, 14, 15],
    }  # fmt: skip
    trained_on, tested, _ = _snapshot(tmp_path / "kept", tmp_path / "snapshot")
    assert [len(trained_on), len(tested)] == [10, 6]
    assert len({sample.group for sample in read["val"]}) == 2


def test_slices_that_show_their_neighbours_have_more_room(volume):
    plain = open_images([volume], Reading()).source
    three = open_images([volume], Reading(with_neighbours=True)).source
    for source, nearest in ((plain, 2), (three, 4)):
        parts = [source.part_beside(10, [(10 + n, None)]).hw for n in (1, nearest - 1, nearest)]
        assert parts == [(0, 0), (0, 0), source.hw(10)]


@pytest.fixture
def scene(tmp_path):
    """A scene of 2500 x 1800 pixels that hold their place: column and row, in two bands and a third."""
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("pyogrio")
    rows, columns = np.mgrid[:1800, :2500]
    image = np.stack([rows % 256, columns % 256, rows // 256 * 16 + columns // 256]).astype(
        np.uint8
    )
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=1800, width=2500, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.transform.from_origin(600000, 5000000, 0.5, 0.5),
    ) as file:  # fmt: skip
        file.write(image)
    return path


def places_of(sample):
    """Row and column of each pixel of the scene, as one number."""
    low, high, third = (sample.image[..., band].astype(int) for band in range(3))
    return (low + third // 16 * 256) * 10000 + high + third % 16 * 256


def test_no_pixel_of_a_scene_is_on_both_sides(tuned, scene, tmp_path):
    session = opened(tuned, scene, tmp_path)
    assert len(session.works) == 9
    everywhere = [
        PlacedMask(y, x, np.ones((20, 20), np.bool_)) for y in (5, 500, 990) for x in (5, 500, 990)
    ]
    for index in (0, 1, 5, 2, 4, 3, 8, 6, 7):
        for mask in everywhere:
            session.mend(index, mask)
            session.accept(index)
    read = read_folder(tmp_path / "kept")
    seen = {}
    for name in ("train", "val"):
        assert read[name]
        ground = np.zeros((1800, 2500), np.bool_)
        for sample in read[name]:
            found = places_of(sample)
            ground[found // 10000, found % 10000] = True
            assert sample.labels.any()
        seen[name] = ground
    # 16 pixels lie between them, along rows and columns
    train, test = seen["train"], seen["val"]
    assert not (train & test).any()
    for shift in range(1, 17):
        assert not (train[:, shift:] & test[:, :-shift]).any()
        assert not (train[:, :-shift] & test[:, shift:]).any()
        assert not (train[shift:] & test[:-shift]).any()
        assert not (train[:-shift] & test[shift:]).any()
    # objects are those of the part that is read: whole, or by half at least
    for sample in (*read["train"], *read["val"]):
        areas = np.unique(sample.labels, return_counts=True)[1][1:]
        assert areas.min() >= 200
    again = opened(tuned, scene, tmp_path)
    assert [work.side for work in again.works] == [work.side for work in session.works]


def test_the_first_window_keeps_all_of_it(tuned, scene, tmp_path, square):
    session = opened(tuned, scene, tmp_path)
    accept(session, [1, 0], square)
    first, second = session.works[1].side, session.works[0].side
    assert (first.is_held_out, second.is_held_out) == (False, True)
    assert (first.part.y, first.part.x, *first.part.hw) == (0, 0, 1024, 1024)
    # windows begin at columns 0 and 768
    assert (second.part.y, second.part.x, *second.part.hw) == (0, 0, 1024, 768 - 16)


def test_a_window_that_the_other_side_leaves_nothing_of_joins_it(tuned, tmp_path, square):
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("pyogrio")
    path = tmp_path / "small.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=1000, width=1100, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.transform.from_origin(600000, 5000000, 0.5, 0.5),
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(0).integers(0, 255, (3, 1000, 1100), dtype=np.uint8))
    session = opened(tuned, path, tmp_path)
    accept(session, [0, 1], square)
    # windows begin at columns 0 and 76
    assert [work.side.is_held_out for work in session.works] == [False, False]
    assert all(work.side.is_used for work in session.works)

"""Results by their causes: made once, made again where anything differs, and nothing else removed."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtune.errors import UserError
from samtune.progress import Progress, stamp

CAUSES = ({"weights": "a", "range": [0.0, 1.5], "bands": None}, 7)
CONTENT = [[{"size": [5, 7], "counts": "x"}, 0.625], "é", None]
ARRAYS = {"labels": np.arange(6, dtype=np.int32).reshape(2, 3), "scores": np.zeros(0, np.float32)}


def never():
    pytest.fail("done already")


@pytest.fixture
def progress(tmp_path):
    return Progress(tmp_path / "a.partial", *CAUSES)


def test_what_was_made_is_not_made_again(progress):
    assert not progress.folder.exists()
    first, empty = progress.place("slice", 3), progress.place("slice", 4)
    assert progress.kept(first, lambda: CONTENT) == CONTENT
    assert progress.kept(empty, lambda: []) == []
    again = Progress(progress.folder, *CAUSES)
    assert again.kept(again.place("slice", 3), never) == again.read(first) == CONTENT
    assert again.kept(again.place("slice", 4), never) == []


def test_what_another_version_has_made_is_made_again(progress, monkeypatch):
    progress.kept(progress.place("slice", 3), lambda: CONTENT)
    monkeypatch.setattr("samtune.progress.version", lambda name: f"{name} of tomorrow")
    later = Progress(progress.folder, *CAUSES)
    assert later.read(later.place("slice", 3)) is None
    assert not later.is_begun


def test_a_folder_says_from_the_start_that_something_is_going_on(progress):
    for _ in range(2):
        progress.begin()
        assert progress.is_begun
        assert not Progress(progress.folder, "others").is_begun
    progress.remove()
    assert not progress.folder.exists()


def test_arrays_come_back_as_they_were(progress):
    place = progress.place("window", 1, suffix=".npz")
    assert progress.read_arrays(place) is None
    progress.write_arrays(place, ARRAYS)
    found = Progress(progress.folder).read_arrays(place)
    assert list(found) == list(ARRAYS)
    for name, values in ARRAYS.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_arrays_hold_no_code(progress):
    with pytest.raises(ValueError, match="pickle"):
        progress.write_arrays(progress.place(suffix=".npz"), {"a": np.array([print], object)})
    assert not progress.folder.exists() or not list(progress.folder.iterdir())


@pytest.mark.parametrize(
    ("causes", "more", "suffix"),
    [
        (CAUSES, ("slice", 4), ".json"),
        (CAUSES, ("slice", "3"), ".json"),
        (CAUSES, ("slice",), ".json"),
        (CAUSES, ("slice", 3), ".npz"),
        (CAUSES[:1], (7, "slice", 3), ".npz"),
        (({**CAUSES[0], "range": [0.0, 2.0]}, 7), ("slice", 3), ".json"),
        (({**CAUSES[0], "bands": []}, 7), ("slice", 3), ".json"),
        ((CAUSES[0], 8), ("slice", 3), ".json"),
        ((), ("slice", 3), ".json"),
    ],
)
def test_other_causes_are_other_places(progress, causes, more, suffix):
    progress.write(progress.place("slice", 3), CONTENT)
    other = Progress(progress.folder, *causes)
    assert other.place(*more, suffix=suffix) != progress.place("slice", 3)
    if suffix == ".json":
        assert other.kept(other.place(*more), lambda: "anew") == "anew"
    assert progress.kept(progress.place("slice", 3), never) == CONTENT


def test_the_order_of_settings_is_no_cause(progress):
    turned = Progress(progress.folder, dict(reversed(CAUSES[0].items())), 7)
    assert turned.place("slice", 3) == progress.place("slice", 3)


@pytest.mark.parametrize("content", [b"", b"{", b"[[1", b"\xff\xfe", b"\0" * 50])
def test_half_a_file_is_made_again(progress, content):
    place = progress.place("slice", 3)
    progress.write(place, CONTENT)
    place.write_bytes(content)
    assert progress.read(place) is None
    assert progress.kept(place, lambda: CONTENT) == CONTENT
    assert progress.kept(place, never) == CONTENT


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_arrays_are_none_and_no_error(tmp_path_factory, data):
    progress = Progress(tmp_path_factory.mktemp("damaged"))
    place = progress.place(suffix=".npz")
    values = np.random.default_rng(0).integers(0, 9, (9, 9))
    progress.write_arrays(place, {"a": values, "b": values * 1.5})
    whole = bytearray(place.read_bytes())
    cut = data.draw(st.integers(0, len(whole) - 1))
    match data.draw(st.sampled_from(["truncated", "zeroed", "flipped"])):
        case "truncated":
            whole = whole[:cut]
        case "zeroed":  # a block that a power cut has left unwritten
            end = data.draw(st.integers(cut + 1, len(whole)))
            whole[cut:end] = bytes(end - cut)
        case "flipped":
            whole[cut] ^= data.draw(st.integers(1, 255))
    place.write_bytes(whole)
    progress.read_arrays(place)  # nothing is raised


def test_files_of_others_stay(progress):
    kept = [progress.place(1), progress.place(2, suffix=".npz")]
    progress.write(kept[0], CONTENT)
    progress.write_arrays(kept[1], ARRAYS)
    Progress(progress.folder, "of an earlier run").write(progress.folder / f"{'0' * 64}.json", 1)
    mine = ["mine.json", f"{'a' * 63}.json", f"{'a' * 64}.txt", f"x{'a' * 64}.npz"]
    for name in mine:
        (progress.folder / name).write_text("precious")
    progress.remove()
    assert sorted(file.name for file in progress.folder.iterdir()) == sorted(mine)
    for name in mine:
        (progress.folder / name).unlink()
    progress.remove()
    assert not progress.folder.exists()
    progress.remove()  # nothing is there


def test_what_a_killed_process_left_half_written_goes_too(progress):
    progress.begin()
    half = progress.place("slice", 3)
    (half.parent / f".{half.name}.bzhxy8ve.tmp").write_text("half")
    progress.remove()
    assert not progress.folder.exists()


def test_a_stamp_is_of_the_place_the_size_and_the_time(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"123")
    os.utime(file, ns=(10**18, 10**18))
    first = stamp(file)
    (tmp_path / "x").mkdir()
    assert stamp(tmp_path / "x" / ".." / "a.png") == first
    (tmp_path / "b.png").write_bytes(b"123")
    os.utime(tmp_path / "b.png", ns=(10**18, 10**18))
    os.utime(file, ns=(10**18, 10**18 + 1))
    later = stamp(file)
    file.write_bytes(b"1234")
    os.utime(file, ns=(10**18, 10**18))
    stamps = [first, later, stamp(file), stamp(tmp_path / "b.png")]
    assert len({tuple(each) for each in stamps}) == 4
    with pytest.raises(UserError, match=r"gone\.png cannot be read: No such file"):
        stamp(tmp_path / "gone.png")

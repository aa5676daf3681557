"""Images by their names, and what names of other tools mean."""

import pytest

from samtune.errors import UserError
from samtune.images.naming import (
    distinct_names,
    distinct_stems,
    list_images,
    match_names,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "train/b.jpg", "val/b.jpg", "000139.tif", "cut/a.png", ".c.png", "n.txt"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).touch()
    return tmp_path / "all"


@pytest.fixture
def images(folder):
    return list_images([folder], without=[folder / "cut"])


def test_folders_are_opened_and_names_are_places_in_them(folder, images):
    assert list(images) == ["000139.tif", "a.png", "train/b.jpg", "val/b.jpg"]
    assert images["val/b.jpg"] == folder / "val" / "b.jpg"


def test_a_file_is_called_by_its_name(folder):
    assert list_images([folder / "train" / "b.jpg"]) == {"b.jpg": folder / "train" / "b.jpg"}


def test_one_name_twice_gets_the_folders_that_tell_them_apart(folder):
    found = list_images([folder / "train", folder / "val", folder / "cut"])
    places = {name: folder / name for name in ("train/b.jpg", "val/b.jpg")}
    assert found == {**places, "a.png": folder / "cut" / "a.png"}
    # both files given twice are still two
    assert list_images([folder / "train", folder / "val", folder / "train" / "b.jpg"]) == places


def test_no_image_is_lost_to_the_longer_name_of_another(folder, tmp_path):
    other = tmp_path / "other" / "train" / "b.jpg"
    other.parent.mkdir(parents=True)
    other.touch()
    found = list_images([tmp_path / "other", folder / "train", folder / "val"])
    assert set(found.values()) == {other, folder / "train" / "b.jpg", folder / "val" / "b.jpg"}


def test_no_images_and_no_folder_are_errors(tmp_path):
    for path in (tmp_path, tmp_path / "no", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="no image"):
            list_images([path])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a.png"),
        ("./a.png", "a.png"),
        ("a", "a.png"),
        ("a.jpg", "a.png"),
        ("/elsewhere/a.png", "a.png"),
        ("D:\\scans\\a.png", "a.png"),
        ("train/b.jpg", "train/b.jpg"),
        ("/x/all/val/b.jpg", "val/b.jpg"),
        ("train/b", "train/b.jpg"),
        ("139", "000139.tif"),
        ("000139", "000139.tif"),
        ("b.jpg", None),
        ("c.png", None),
        ("", None),
        ("../../etc/passwd", None),
        ("x" * 300, None),
    ],
)
def test_what_a_name_means(images, name, expected):
    found, ambiguous = match_names([name], images)
    assert found.get(name) == expected
    assert ambiguous == ({name} if name == "b.jpg" else set())


def test_an_image_of_another_folder_is_not_taken_for_the_one_at_hand(folder):
    images = list_images([folder / "val"])
    found, _ = match_names(["train/b.jpg", "val/b.jpg"], images)
    assert found == {"val/b.jpg": "b.jpg"}


def test_names_are_as_long_as_they_must_be_in_any_order(tmp_path):
    paths = [tmp_path / name for name in ("a/in/x.png", "b/in/x.png", "b/y.png", "b/y.jpg")]
    names = ["a/in/x.png", "b/in/x.png", "y.png", "y.jpg"]
    for each in (paths, paths[::-1]):
        found = distinct_names(each)
        assert [found[path] for path in paths] == names
        stems = distinct_stems(found)
        assert [stems[path] for path in paths] == ["a/in/x", "b/in/x", "y.png", "y.jpg"]


def test_a_name_never_leads_out_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    paths = [tmp_path / "b" / "x.png", tmp_path / "a" / ".." / "b" / "x.png", tmp_path / "x.png"]
    found = distinct_names(paths)
    assert found[paths[0]] == found[paths[1]] == "b/x.png"
    assert distinct_stems(found)[paths[0]] == "b/x"
    assert ".." not in "".join(found.values())

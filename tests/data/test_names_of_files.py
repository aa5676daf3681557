"""Files that are called otherwise than the labels say, as other systems leave them behind."""

import json
import unicodedata

import numpy as np
import pytest

from samtune.data.formats import open_splits
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.files import ends_of, find_called, find_file
from tests.data.conftest import write_png
from tests.fuzzing.formats import FORMATS, LABELS, LAYOUTS, NEEDS, PIXELS

WAYS = FORMATS | {name: write for name, (_, write) in LAYOUTS.items()}
# Which file of a layout is called otherwise: the image that labels name, or the labels of an image
RENAMED = {
    "coco": "images/a.png", "labelme": "a.png", "cvat": "images/a.png",
    "label_studio": "images/a.png", "mask_folder": "labels/a.png", "masks_beside": "a_mask.png",
    "yolo": "labels/a.txt", "nnunet": "labelsTr/a.png", "volumes": "labels/p.nii.gz",
    "geo": "a.geojson", "label_raster": "a_labels.tif",
}  # fmt: skip


def only_sample(folder):
    splits = open_splits(
        folder, "auto", SourceSettings(), SplitSettings(val_fraction=0, test_fraction=0)
    )
    return splits["train"].read(0)


@pytest.mark.parametrize("name", RENAMED)
def test_capitals_tell_no_files_apart(tmp_path, name):
    pytest.importorskip({"volumes": "nibabel"}.get(name, "numpy"))
    WAYS[name](tmp_path)
    expected = only_sample(tmp_path)
    place = tmp_path / RENAMED[name]
    place.rename(place.with_name(place.name.upper()))
    found = only_sample(tmp_path)
    assert found.image_id.casefold() == expected.image_id.casefold()
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat", "label_studio"])
def test_an_accent_is_the_same_whether_it_is_a_sign_of_its_own_or_not(tmp_path, name):
    WAYS[name](tmp_path)
    one, two = (unicodedata.normalize(form, "\u00e9 1.png") for form in ("NFC", "NFD"))
    for file in (*tmp_path.glob("*.json"), *tmp_path.glob("*.xml")):
        file.write_text(file.read_text().replace("a.png", one), encoding="utf-8")
    place = tmp_path / RENAMED[name]
    place.rename(place.with_name(two))
    np.testing.assert_array_equal(only_sample(tmp_path).image, PIXELS)


def test_masks_are_found_by_names_with_accents(tmp_path):
    one, two = (unicodedata.normalize(form, "\u00fc.png") for form in ("NFC", "NFD"))
    write_png(tmp_path / "images" / one, PIXELS)
    write_png(tmp_path / "labels" / two, LABELS)
    np.testing.assert_array_equal(only_sample(tmp_path).labels, LABELS[None])


def test_ome_tiffs_may_have_masks_without_ome(tmp_path):
    write_png(tmp_path / "images" / "a.ome.tif", PIXELS)
    write_png(tmp_path / "labels" / "a.png", LABELS)
    sample = only_sample(tmp_path)
    assert sample.image_id == "a.ome"
    np.testing.assert_array_equal(sample.labels, LABELS[None])


@pytest.mark.parametrize(
    "named", ["images\\a.png", "/home/me/set/images/a.png", "https://x.org/y/images/a.png",
              "../../data/upload/1/a.png"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["coco", "cvat"])
def test_paths_of_other_machines_agree_in_their_ends(tmp_path, name, named):
    WAYS[name](tmp_path)
    (file,) = (*tmp_path.glob("*.json"), *tmp_path.glob("*.xml"))
    quoted = json.dumps(named)[1:-1] if name == "coco" else named
    file.write_text(file.read_text().replace("a.png", quoted))
    np.testing.assert_array_equal(only_sample(tmp_path).image, PIXELS)


def test_two_images_that_would_have_one_picture_are_refused(tmp_path):
    WAYS["coco"](tmp_path)
    content = json.loads((tmp_path / "coco.json").read_text())
    content["images"] = [{"id": n, "file_name": f"day{n}/a.png"} for n in (1, 2)]
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=r"images day1/a.png and day2/a.png, but there is one picture"
    ):
        only_sample(tmp_path)


@pytest.mark.parametrize(
    ("folders", "masks"), [(("images", "labels"), "A.png"), (("", ""), "a_masks.png")]
)
def test_two_images_that_would_have_one_mask_are_refused(tmp_path, folders, masks):
    images, labels = folders
    write_png(tmp_path / images / "a.png", PIXELS)
    write_png(tmp_path / labels / masks, LABELS)
    np.testing.assert_array_equal(only_sample(tmp_path).labels, LABELS[None])
    write_png(tmp_path / images / "A.png", PIXELS)
    with pytest.raises(UserError, match="share a name and so the mask"):
        only_sample(tmp_path)


def test_the_exact_name_goes_first_and_two_that_are_alike_are_none(tmp_path):
    for name in ("a.png", "A.png"):
        (tmp_path / name).touch()
    assert find_called(tmp_path / "a.png") == tmp_path / "a.png"
    assert find_called(tmp_path / "a.PNG") is None
    (tmp_path / "A.png").unlink()
    assert find_called(tmp_path / "a.PNG") == tmp_path / "a.png"
    assert find_called(tmp_path / "none" / "a.png") is None
    assert find_file(tmp_path, [("b", "a.PNG"), ("a.PNG",)]) == tmp_path / "a.png"


def test_ends_of_a_path_are_longest_first():
    assert ends_of(("a", "b", "c")) == [("a", "b", "c"), ("b", "c"), ("c",)]


@pytest.mark.parametrize("name", WAYS)
def test_what_macos_lays_beside_each_file_is_passed_over(tmp_path, name):
    """Its archives hold ._NAME for each NAME, and .DS_Store in each folder."""
    needed = NEEDS | {
        "itk_volumes": "SimpleITK",
        "dicom_series": "highdicom",
        "parquet": "datasets",
    }
    pytest.importorskip(needed.get(name, "numpy"))
    WAYS[name](tmp_path)
    expected = only_sample(tmp_path)
    for file in [each for each in tmp_path.rglob("*") if each.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
        (file.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    found = only_sample(tmp_path)
    assert found.image_id == expected.image_id
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.labels, expected.labels)

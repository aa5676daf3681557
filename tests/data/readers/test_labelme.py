"""labelme's files as it writes them, and mistakes in them."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.labelme import Labelme
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (20, 40)


def shape(points, label="cell", kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


SQUARE = [[5, 5], [15, 5], [15, 10], [5, 10]]


@pytest.fixture
def labelme(tmp_path, write):
    """A function that opens a folder of one image with the given shapes."""
    write(tmp_path / "a.png", np.full((*HW, 3), 90, np.uint8))

    def make(*shapes, **more):
        content = {"version": "5.0.0", "shapes": list(shapes), "imagePath": "a.png"}
        content |= {"imageHeight": HW[0], "imageWidth": HW[1], "imageData": None, **more}
        (tmp_path / "a.json").write_text(json.dumps(content))
        return Labelme(tmp_path)

    return make


def window(rows, columns):
    mask = np.zeros(HW, np.int32)
    mask[rows, columns] = 1
    return mask


def test_polygons_and_rectangles_cover_the_pixels_between_their_corners(labelme):
    expected = window(slice(5, 10), slice(5, 15))
    rectangles = ([[15, 10], [5, 5]], SQUARE)  # of labelme, and of X-AnyLabeling
    for each in (shape(SQUARE), *(shape(points, kind="rectangle") for points in rectangles)):
        np.testing.assert_array_equal(labelme(each).read(0).labels[0], expected)


def test_a_circle_is_given_by_its_centre_and_a_point_on_it(labelme):
    labels = labelme(shape([[20, 10], [26, 10]], kind="circle")).read(0).labels[0]
    assert labels.sum() == pytest.approx(np.pi * 36, rel=0.05)
    assert labels[10, 15]
    assert not labels[10, 13]


def test_a_mask_is_laid_down_at_its_corner_and_cut_off_at_the_border(labelme):
    part = np.zeros((4, 6), np.uint8)
    part[1:, :] = 255
    found = labelme(shape([[3, 2], [9, 6]], kind="mask", mask=png(part))).read(0).labels[0]
    np.testing.assert_array_equal(found, window(slice(3, 6), slice(3, 9)))
    found = labelme(shape([[-2, -2], [4, 2]], kind="mask", mask=png(part))).read(0).labels[0]
    np.testing.assert_array_equal(found, window(slice(0, 2), slice(0, 4)))


def test_shapes_of_one_group_are_one_object(labelme):
    other = [[20, 5], [25, 5], [25, 10], [20, 10]]
    sample = labelme(shape(SQUARE, group_id=3), shape(other, group_id=3), shape(other, "b")).read(0)
    assert sample.classes == {1: "cell", 2: "b"}
    assert (sample.labels[0] == 1).sum() == 50 + 25
    assert (sample.labels[1] == 2).sum() == 25


def test_the_image_may_be_inside_the_file(labelme, tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (*HW, 3), dtype=np.uint8)
    source = labelme(shape(SQUARE), imagePath="gone.png", imageData=png(values))
    np.testing.assert_array_equal(source.read(0).image, values)
    assert source.hw(0) == HW
    with pytest.raises(UserError, match=r"names the image gone\.png, which is not there"):
        labelme(shape(SQUARE), imagePath="gone.png").read(0)
    with pytest.raises(UserError, match="is no image"):
        labelme(shape(SQUARE), imagePath="gone.png", imageData="AAAA").read(0)


def test_it_is_recognised_with_splits_as_folders_or_in_the_manifest(labelme, tmp_path, write):
    labelme(shape(SQUARE))
    assert recognise(tmp_path) == "labelme"
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "b.json").write_text((tmp_path / "a.json").read_text())
    write(tmp_path / "test" / "a.png", np.zeros((*HW, 3), np.uint8))
    (tmp_path / "manifest.csv").write_text("id,split\na,train\n")
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings(val_fraction=0))
    assert {s: [r.image_id for r in source.records] for s, source in splits.items()} == {
        "train": ["a"], "val": [], "test": ["test/b"],
    }  # fmt: skip


def test_points_and_lines_are_left_out_and_counted(labelme):
    lines = [shape(SQUARE[:2], kind="line")] * 2
    source = labelme(shape([[1, 1]], kind="point"), shape(SQUARE), *lines)
    np.testing.assert_array_equal(source.read(0).labels[0], window(slice(5, 10), slice(5, 15)))
    assert [note.partition(": ")[2] for note in source.notes] == [
        "1 shape without an area, of the kind point, left out, such as a.json",
        "2 shapes without an area, of the kind line, left out, such as a.json",
    ]
    assert labelme(shape(SQUARE)).notes == []


@pytest.mark.parametrize("named", ["../images/b.png", "..\\images\\b.png", "../x/../images/b.png"])
def test_an_image_elsewhere_in_the_folder_is_followed(labelme, tmp_path, write, named):
    file = labelme(shape(SQUARE), imagePath=named).files[0]
    image = write(tmp_path / "images" / "b.png", np.full((*HW, 3), 30, np.uint8))
    (tmp_path / "train").mkdir()
    file.rename(tmp_path / "train" / "a.json")
    assert [record.path for record in Labelme(tmp_path).records] == [image]
    outside = Labelme(tmp_path / "train")
    assert [record.path for record in outside.records] == outside.files


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (shape([[1, 1], [2, 2]]), "needs 3 finite points, found 2"),
        (shape([[1, 1], [2, float("nan")], [3, 3]]), "needs 3 finite points"),
        (shape(SQUARE[:3], kind="rectangle"), "a rectangle has 2 or 4 corners, found 3"),
        (shape("x"), "no list of"),
        (shape(SQUARE, kind="blob"), "is a blob: expected polygon"),
        (shape([[1, 1], [3, 3]], kind="mask", mask="AAAA"), "its mask is no image"),
        (shape([[1, 1], [3, 3]], kind="mask"), "its mask is no image"),
        (7, "is no shape"),
    ],
)
def test_a_shape_that_is_no_area_is_named(labelme, wrong, reason):
    with pytest.raises(UserError, match=rf"a\.json, shape 1.*{reason}"):
        labelme(shape(SQUARE), wrong).read(0)


def test_another_size_than_the_file_says_is_said(labelme):
    with pytest.raises(UserError, match=r"is 40x20 pixels, but .*a\.json says 40x21"):
        labelme(shape(SQUARE), imageHeight=21).read(0)


def test_a_folder_without_such_files_is_said(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UserError, match="holds no JSON files of labelme"):
        Labelme(tmp_path)


def test_a_manifest_may_name_images(labelme, tmp_path):
    (tmp_path / "manifest.csv").write_text("file,split\na.png,test\n")
    assert labelme(shape(SQUARE)).records[0].split == "test"


def test_folders_may_be_called_by_other_words_for_splits(tmp_path, write):
    for split in ("train", "valid", "testing"):
        write(tmp_path / split / "a.png", np.full((*HW, 3), 90, np.uint8))
        content = {"shapes": [shape(SQUARE)], "imagePath": "a.png"}
        (tmp_path / split / "a.json").write_text(json.dumps(content))
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {s: [r.image_id for r in source.records] for s, source in splits.items()} == {
        "train": ["train/a"], "val": ["valid/a"], "test": ["testing/a"],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["rotation", "oriented_rectangle", "quadrilateral"])
def test_a_box_that_is_turned_has_its_four_corners(labelme, kind):
    diamond = [[20, 2], [28, 10], [20, 18], [12, 10]]
    turned, plain = (
        labelme(shape(diamond, kind=each, direction=0.78)).read(0).labels
        for each in (kind, "polygon")
    )
    np.testing.assert_array_equal(turned, plain)
    assert turned.sum() == pytest.approx(8 * 16, rel=0.1)


@pytest.mark.parametrize("label", ["__ignore__", "_background_", "AUTOLABEL_ADD"])
def test_a_label_that_the_tools_reserve_is_no_object(labelme, label):
    source = labelme(shape([[0, 0], [40, 0], [40, 20], [0, 20]], label=label), shape(SQUARE))
    sample = source.read(0)
    np.testing.assert_array_equal(sample.labels[0], window(slice(5, 10), slice(5, 15)))
    assert sample.classes == {1: "cell"}
    (note,) = source.notes
    assert note.endswith(f"1 shape of the reserved label {label} left out, such as a.json")


def test_images_and_files_that_are_not_read_are_told(labelme, tmp_path, write):
    write(tmp_path / "b.png", np.zeros((*HW, 3), np.uint8))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.json").write_text(json.dumps({"shapes": []}))
    images, files = (note.partition(": ")[2] for note in labelme(shape(SQUARE)).notes)
    assert images == "1 image without a JSON file left out, such as b.png"
    assert files == (
        "2 other JSON files (or in a folder that is no split) left out, such as config.json"
    )


def test_files_in_a_folder_of_their_own_are_found_beside_one_of_images(labelme, tmp_path):
    labelme(shape(SQUARE), imagePath="..\\images\\a.png")
    for name, folder in (("a.png", "images"), ("a.json", "annotations")):
        (tmp_path / folder).mkdir()
        (tmp_path / name).rename(tmp_path / folder / name)
    assert recognise(tmp_path) == "labelme"
    sample = Labelme(tmp_path).read(0)
    np.testing.assert_array_equal(sample.labels[0], window(slice(5, 10), slice(5, 15)))
    with pytest.raises(
        UserError, match=r"not there, or not in .*annotations: data.path is to be the"
    ):
        Labelme(tmp_path / "annotations").read(0)

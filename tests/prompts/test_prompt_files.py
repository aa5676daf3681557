"""Prompts from JSON and COCO files, and what is said of files that hold none."""

import json

import numpy as np
import pytest

from samtune.errors import UserError
from samtune.prompts.prompt_files import build_prompt, prompt_of_points, read_prompts


@pytest.fixture
def folder(tmp_path):
    """A folder with two (empty) image files and another below it."""
    (tmp_path / "more").mkdir()
    for name in ("a.png", "b.png", "more/c.png"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def write(folder):
    """A function that writes content as JSON into the folder."""

    def save(content, name="prompts.json"):
        (folder / name).write_text(json.dumps(content))
        return folder / name

    return save


def coco(**changes):
    content = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 9, "bbox": [10, 20, 5, 4], "category_id": 2},
            {"id": 2, "image_id": 7, "bbox": [1.5, 2, 1, 0.5], "category_id": 3},
        ],
        "categories": [{"id": 2, "name": "nucleus"}],
    }
    return content | changes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("part", ["points", "box"])
def test_numbers_that_are_not_finite_are_no_prompt(write, value, part):
    numbers = {"points": [[5, 6], [7, value]], "box": [1, 2, 30, value]}[part]
    with pytest.raises(UserError, match=r"entry 0: .* are not all finite numbers"):
        read_prompts(write([{"image": "a.png", part: numbers}]), [])


def test_numbers_beyond_all_bounds_are_no_prompt(write):
    with pytest.raises(UserError, match="points are"):
        read_prompts(write([{"image": "a.png", "points": [[5, 10**400]]}]), [])
    far = coco(annotations=[{"id": 1, "image_id": 9, "bbox": [1, 2, 3, 10**400]}])
    with pytest.raises(UserError, match="annotation 1 has no bbox"):
        read_prompts(write(far), [])


def test_ids_that_are_none_are_said(write):
    wrong = {"id": 1, "image_id": 9, "bbox": [1, 2, 3, 4], "category_id": {}}
    with pytest.raises(UserError, match=r"annotation 1 .* or a category_id that is none"):
        read_prompts(write(coco(annotations=[wrong])), [])


@pytest.mark.parametrize("label", [0.5, np.nan, np.inf, -1, 2])
def test_labels_are_nothing_between(label):
    with pytest.raises(UserError, match="here: labels are 1 "):
        prompt_of_points([[3, 4, label]], "here")


class TestOwnFormat:
    def test_a_box_and_points_with_labels(self, write, folder):
        file = write(
            [
                {
                    "image": "a.png",
                    "box": [1, 2, 30, 40],
                    "points": [[5, 6], [7, 8]],
                    "labels": [1, 0],
                }
            ]
        )
        (found,) = read_prompts(file, [])
        (prompt,) = found.prompts
        assert found.path == folder / "a.png"
        np.testing.assert_array_equal(prompt.box_xyxy, np.array([1, 2, 30, 40], np.float32))
        np.testing.assert_array_equal(prompt.point_coords, np.array([[5, 6], [7, 8]], np.float32))
        np.testing.assert_array_equal(prompt.point_labels, np.array([1, 0]))
        assert prompt.box_xyxy.dtype == prompt.point_coords.dtype == np.float32
        assert prompt.point_labels.dtype == np.int64

    def test_points_without_labels_are_inside(self, write):
        (found,) = read_prompts(write([{"image": "a.png", "points": [[5, 6], [7, 8]]}]), [])
        np.testing.assert_array_equal(found.prompts[0].point_labels, [1, 1])
        assert found.prompts[0].box_xyxy is None

    def test_objects_are_grouped_by_image_in_the_order_of_the_file(self, write, folder):
        entries = [
            {"image": name, "box": [0, 0, width, 9]}
            for name, width in (("b.png", 1), ("a.png", 2), ("b.png", 3))
        ]
        found = read_prompts(write(entries), [])
        assert [image.path for image in found] == [folder / "b.png", folder / "a.png"]
        widths = [[prompt.box_xyxy[2] for prompt in image.prompts] for image in found]
        assert widths == [[1, 3], [2]]

    def test_objects_without_a_name_are_numbered_within_their_image(self, write):
        box = {"box": [0, 0, 1, 1]}
        entries = [
            {"image": "a.png", **box},
            {"image": "b.png", **box},
            {"image": "a.png", **box, "name": "left kidney"},
            {"image": "a.png", **box},
        ]
        first, second = read_prompts(write(entries), [])
        assert (first.names, second.names) == (["1", "left kidney", "3"], ["1"])


class TestCoco:
    def test_boxes_become_inclusive_corners(self, write, folder):
        first, second = read_prompts(write(coco()), [])
        assert (first.path, second.path) == (folder / "b.png", folder / "a.png")
        np.testing.assert_array_equal(first.prompts[0].box_xyxy, [10, 20, 14, 23])
        np.testing.assert_array_equal(second.prompts[0].box_xyxy, [1.5, 2, 1.5, 2])

    def test_names_are_those_of_the_categories(self, write):
        first, second = read_prompts(write(coco()), [])
        assert (first.names, second.names) == (["nucleus"], [""])

    def test_categories_may_be_absent(self, write):
        content = coco()
        del content["categories"]
        assert [image.names for image in read_prompts(write(content), [])] == [[""], [""]]

    @pytest.mark.parametrize(
        "annotation",
        [
            {"id": 5, "image_id": 7},
            {"id": 5, "image_id": 7, "bbox": [1, 2, 3]},
            {"id": 5, "image_id": 7, "bbox": "1,2,3,4"},
            {"id": 5, "image_id": 8, "bbox": [1, 2, 3, 4]},
            {"id": 5, "bbox": [1, 2, 3, 4]},
        ],
        ids=["no box", "three numbers", "text", "unknown image", "no image"],
    )
    def test_an_annotation_without_a_box_or_image_is_named(self, write, annotation):
        with pytest.raises(UserError, match="annotation 5 has no bbox or no known image_id"):
            read_prompts(write(coco(annotations=[annotation])), [])

    @pytest.mark.parametrize(
        "changes",
        [
            {"annotations": [{"id": 5, "image_id": 7, "bbox": [1, 2, "3", None]}]},
            {"annotations": ["box"]},
            {"annotations": 3},
            {"images": [{"id": 7}]},
            {"images": [{"file_name": "a.png"}]},
            {"images": ["a.png"]},
            {"categories": [{"name": "nucleus"}]},
        ],
        ids=[
            "box of text", "annotation of text", "annotations of a number", "image without a name",
            "image without an id", "image of text", "category without an id",
        ],
    )  # fmt: skip
    def test_a_malformed_file_is_a_user_s_error(self, write, changes):
        with pytest.raises(UserError, match=r"prompts\.json"):
            read_prompts(write(coco(**changes)), [])


class TestImages:
    ENTRY = ({"image": "c.png", "box": [0, 0, 1, 1]},)

    def test_they_are_found_beside_the_file(self, write, folder):
        entry = [{"image": "more/c.png", "box": [0, 0, 1, 1]}]
        assert read_prompts(write(entry), [])[0].path == folder / "more" / "c.png"

    def test_they_are_found_in_given_folders(self, write, folder):
        file = write(list(self.ENTRY))
        assert read_prompts(file, [folder, folder / "more"])[0].path == folder / "more" / "c.png"

    def test_they_are_matched_with_given_files_by_name(self, write, folder):
        file = write(list(self.ENTRY))
        images = [folder / "a.png", folder / "more" / "c.png"]
        assert read_prompts(file, images)[0].path == folder / "more" / "c.png"

    @pytest.mark.parametrize(
        "given", [[], ["."], ["a.png", "b.png"]], ids=["none", "folder", "files"]
    )
    def test_one_that_is_not_there_is_named(self, write, folder, given):
        with pytest.raises(UserError, match=r"names the image c\.png"):
            read_prompts(write(list(self.ENTRY)), [folder / name for name in given])


class TestErrors:
    @pytest.mark.parametrize(
        ("prompt", "message"),
        [
            ({}, "neither 'points' nor 'box'"),
            ({"points": []}, "entry 1"),
            ({"points": [], "box": [0, 0, 1]}, "a box is"),
            ({"points": [[1, 2, 3]]}, "points are"),
            ({"points": [["x", "y"]]}, "points are"),
            ({"points": "here"}, "points are"),
            ({"points": [[1, 2], [3]]}, "points are"),
            ({"points": [[1, 2], [3, 4]], "labels": [1]}, "2 points, but 1 label"),
            ({"points": [[1, 2]], "labels": ["inside"]}, "points are"),
            ({"points": [[1, 2]], "labels": [2]}, "entry 1"),
            ({"points": [[1, 2]], "labels": [-1]}, "entry 1"),
            ({"box": [1, 2, 3]}, "a box is"),
            ({"box": [1, 2, 3, None]}, "entry 1"),
            ({"box": [9, 2, 3, 4]}, "x0 <= x1"),
            ({"box": [1, 9, 3, 4]}, "x0 <= x1"),
            ({"box": {"x": 1}}, "a box is"),
        ],
        ids=lambda value: None if isinstance(value, str) else str(value),
    )
    def test_numbers_that_make_no_prompt_are_named_with_file_and_entry(
        self, write, prompt, message
    ):
        good = {"image": "a.png", "box": [0, 0, 1, 1]}
        file = write([good, {"image": "a.png", **prompt}])
        with pytest.raises(UserError, match=message) as caught:
            read_prompts(file, [])
        assert f"{file}, entry 1" in str(caught.value)

    @pytest.mark.parametrize("entry", [{"box": [0, 0, 1, 1]}, {"image": 3}, "a.png", None, [1, 2]])
    def test_an_entry_without_an_image_is_named(self, write, entry):
        with pytest.raises(UserError, match="entry 0: expected an object with 'image'"):
            read_prompts(write([entry]), [])

    @pytest.mark.parametrize("content", [[], {}, {"images": []}, "a.png", 3, None])
    def test_a_file_without_prompts_says_what_was_expected(self, write, content):
        with pytest.raises(
            UserError, match="holds no prompts: expected a list of objects, or COCO"
        ):
            read_prompts(write(content), [])

    def test_a_coco_file_without_annotations_holds_no_prompts(self, write):
        with pytest.raises(UserError, match="holds no prompts"):
            read_prompts(write(coco(annotations=[])), [])

    def test_a_file_that_is_no_json_is_named(self, folder):
        (folder / "bad.json").write_text('[{"image": ')
        with pytest.raises(UserError, match=r"bad\.json cannot be read as JSON: .*line 1"):
            read_prompts(folder / "bad.json", [])

    def test_a_missing_file_is_named(self, folder):
        with pytest.raises(UserError, match=r"gone\.json does not exist"):
            read_prompts(folder / "gone.json", [])


def test_a_prompt_of_plain_numbers_needs_no_file():
    prompt = build_prompt([[3, 4]], None, None, "--points")
    np.testing.assert_array_equal(prompt.point_coords, [[3, 4]])
    assert prompt.signature == (1, False, False)


def test_a_box_of_one_pixel_is_a_box():
    prompt = build_prompt(None, None, [3, 4, 3, 4], "--box")
    np.testing.assert_array_equal(prompt.box_xyxy, [3, 4, 3, 4])

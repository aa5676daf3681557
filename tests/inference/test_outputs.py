"""Files that a prediction leaves: their names, and that they hold the masks exactly."""

import numpy as np
import pytest
from PIL import Image

from samtune.inference.outputs import (
    KINDS,
    PredictedObject,
    cutout,
    files_of,
    write_image_outputs,
)
from samtune.types import Prompt


def mask_of(image, window):
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[window] = True
    return mask


@pytest.fixture(scope="module")
def objects(image):
    """A rectangle with a hole, a pixel, and an object that was not found."""
    box = Prompt(box_xyxy=np.array([30, 20, 59, 49], np.float32))
    point = Prompt(np.array([[100, 70]], np.float32), np.array([1]))
    holed = mask_of(image, np.s_[20:50, 30:60])
    holed[30:40, 40:50] = False
    return [
        PredictedObject("cell", box, holed, 0.9876543),
        PredictedObject("speck", point, mask_of(image, np.s_[70, 100]), 0.5),
        PredictedObject("cell", point, mask_of(image, np.s_[:0]), 0.25),
    ]


def read(path):
    return np.asarray(Image.open(path))


class TestFiles:
    def test_names_carry_stem_and_number(self, image, objects, tmp_path):
        written = write_image_outputs(tmp_path, "scan 1", image, objects, list(KINDS))
        assert [path.name for path in written] == [
            "scan 1_1.png",
            "scan 1_1_cutout.png",
            "scan 1_2.png",
            "scan 1_2_cutout.png",
            "scan 1_3.png",
            "scan 1_overlay.png",
        ]
        assert sorted(tmp_path.iterdir()) == sorted(written)

    @pytest.mark.parametrize(
        ("kinds", "names"),
        [
            (["masks"], ["x_1.png", "x_2.png", "x_3.png"]),
            (["cutouts"], ["x_1_cutout.png", "x_2_cutout.png"]),
            (["overlays"], ["x_overlay.png"]),
            (["coco"], []),
        ],
    )
    def test_only_the_wanted_kinds_are_written(self, image, objects, tmp_path, kinds, names):
        written = write_image_outputs(tmp_path / "out", "x", image, objects, kinds)
        assert [path.name for path in written] == names

    def test_a_mask_is_a_grey_image_of_0_and_255_at_full_size(self, image, objects, tmp_path):
        write_image_outputs(tmp_path, "x", image, objects, ["masks"])
        for number, found in enumerate(objects, start=1):
            picture = read(tmp_path / f"x_{number}.png")
            assert picture.dtype == np.uint8
            np.testing.assert_array_equal(picture, np.where(found.mask, 255, 0))

    def test_an_overlay_changes_the_image_only_near_masks_and_prompts(
        self, image, objects, tmp_path
    ):
        before = image.copy()
        write_image_outputs(tmp_path, "x", image, objects, ["overlays"])
        picture = read(tmp_path / "x_overlay.png")
        assert picture.shape == image.shape
        assert (picture[22:28, 32:58] != image[22:28, 32:58]).any(axis=2).all()
        np.testing.assert_array_equal(picture[100:], image[100:])
        np.testing.assert_array_equal(image, before)

    def test_an_image_without_objects_leaves_its_overlay_alone(self, image, tmp_path):
        (path,) = write_image_outputs(tmp_path, "x", image, [], list(KINDS))
        np.testing.assert_array_equal(read(path), image)


class TestCutouts:
    def test_it_is_cropped_to_the_object_and_transparent_in_its_hole(self, image, objects):
        picture = cutout(image, objects[0].mask)
        assert picture.shape == (30, 30, 4)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture[..., :3], image[20:50, 30:60])
        expected = np.full((30, 30), 255)
        expected[10:20, 10:20] = 0
        np.testing.assert_array_equal(picture[..., 3], expected)

    def test_one_pixel_is_a_cutout_of_one_pixel(self, image, objects):
        picture = cutout(image, objects[1].mask)
        np.testing.assert_array_equal(picture, [[[*image[70, 100], 255]]])

    def test_the_file_has_an_alpha_channel(self, image, objects, tmp_path):
        write_image_outputs(tmp_path, "x", image, objects, ["cutouts"])
        assert Image.open(tmp_path / "x_1_cutout.png").mode == "RGBA"
        np.testing.assert_array_equal(
            read(tmp_path / "x_1_cutout.png"), cutout(image, objects[0].mask)
        )


def test_all_files_that_may_be_written_are_known_before(image, objects, tmp_path):
    written = write_image_outputs(tmp_path, "a", image, objects, list(KINDS))
    known = files_of(tmp_path, "a", len(objects), list(KINDS))
    assert set(written) <= set(known)
    assert len(known) == 2 * len(objects) + 1
    assert files_of(tmp_path, "a", 2, ["coco"]) == []

"""Files of automatic masks: the best lies on top, all are in the COCO file."""

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from samtune.errors import UserError
from samtune.inference.automatic import outputs
from samtune.inference.automatic.candidates import Candidate, box_and_bits
from samtune.inference.automatic.outputs import (
    pictures_of,
    tint,
    to_labels,
    write_coco,
    write_results,
)
from samtune.masks import rle_to_mask

HW = (12, 16)


def candidate(rows, columns, score):
    mask = np.zeros(HW, np.bool_)
    mask[rows, columns] = True
    box, bits = box_and_bits(mask)
    return Candidate(box, bits, HW, score, 0.9, (3.0, 4.0), (0, 0, HW[1], HW[0]))


LOW = candidate(slice(2, 8), slice(2, 10), 0.6)
HIGH = candidate(slice(4, 10), slice(6, 14), 0.8)


def test_where_masks_overlap_the_first_is_seen():
    labels = to_labels([HIGH, LOW], HW)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels == 1, HIGH.mask())
    np.testing.assert_array_equal(labels == 2, LOW.mask() & ~HIGH.mask())


def test_more_masks_than_a_label_image_can_number_are_refused(monkeypatch):
    monkeypatch.setattr(outputs, "_MOST_LABELS", 1)
    with pytest.raises(UserError, match=r"2 masks are more than .*\(1\): raise the thresholds"):
        to_labels([HIGH, LOW], HW)


def test_neighbouring_numbers_have_colours_of_their_own_and_the_ground_stays():
    image = np.full((*HW, 3), 100, np.uint8)
    labels = to_labels([HIGH, LOW], HW)
    picture = tint(image, labels)
    assert (picture[labels == 0] == 100).all()
    assert (image == 100).all()
    colours = [picture[labels == number][0].astype(int) for number in (1, 2)]
    assert np.abs(colours[0] - colours[1]).max() > 30


@pytest.mark.parametrize("with_overlay", [False, True])
def test_files_hold_what_was_found_the_best_first(tmp_path, with_overlay):
    image = np.full((*HW, 3), 100, np.uint8)
    record = write_results(tmp_path, "a", "a.jpg", image, [LOW, HIGH], with_overlay)
    files = pictures_of(tmp_path, "a", with_overlay)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    labels = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(labels == 1, HIGH.mask())

    write_coco(tmp_path / "all.json", [record, {**record, "masks": []}])
    coco = COCO(tmp_path / "all.json")
    found = coco.dataset["annotations"]
    assert [each["score"] for each in found] == [0.8, 0.6]
    assert [each["image_id"] for each in found] == [1, 1]
    assert len(coco.dataset["images"]) == 2
    for each, its in zip(found, (HIGH, LOW), strict=True):
        np.testing.assert_array_equal(rle_to_mask(each["segmentation"]), its.mask())
        assert each["area"] == its.mask().sum()


def test_without_a_mask_the_coco_file_is_whole(tmp_path):
    write_coco(tmp_path / "none.json", [])
    content = COCO(tmp_path / "none.json").dataset
    assert (content["images"], content["annotations"]) == ([], [])
    assert [each["name"] for each in content["categories"]] == ["object"]

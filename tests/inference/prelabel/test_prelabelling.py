"""Masks for detections: those of the predictor, in windows or not, and what tells doubt."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from samtune.coco import CocoFile
from samtune.files import replacing_file
from samtune.inference.predictor import SamPredictor
from samtune.inference.prelabel.detections import Detection
from samtune.inference.prelabel.labelling import ImagePrelabels, Prelabel, prelabel
from samtune.inference.prelabel.labels import add_to_coco, finish, safe_name, write_cutouts
from samtune.inference.prelabel.review import review_row
from samtune.masks import mask_to_rle, polygons_to_mask, rle_to_mask
from samtune.models.calibration import Calibration
from samtune.models.loading import load_model

HALVED = Calibration((0.0, 1.0), (0.0, 0.5), "isotonic", 300)


def detection(number, *box, points=()):
    return Detection(number, f"row {number}", "a.png", 1, 0.9, box or None, points)


ROWS = [
    detection(5, 20.0, 30.0, 90.0, 100.0),
    detection(3, points=((60.0, 70.0),)),
    detection(8, 300.0, 0.0, 320.0, 10.0),
    detection(9, 150.0, 100.0, 260.0, 140.0),
    detection(2, points=((60.0, 70.0), (70.0, 75.0))),
]


@pytest.fixture(scope="module")
def sam(nano):
    return nano.sam.eval()


@pytest.fixture(scope="module")
def found(sam, image):
    return prelabel(sam, image, ROWS)


def test_objects_come_in_the_order_of_the_file_and_those_outside_are_told(found):
    assert [label.number for label in found.objects] == [5, 3, 9, 2]
    assert [(row.where, row.reason) for row in found.rejected] == [("row 8", "outside the image")]
    assert (found.hw, found.num_cut) == ((150, 200), 1)


def test_masks_and_scores_are_the_predictor_s(sam, image, found):
    predictor = SamPredictor(sam, focus="auto")
    predictor.set_image(image)
    for label in found.objects:
        prompt = label.prompt
        masks, scores, _ = predictor.predict(
            prompt.point_coords, prompt.point_labels, prompt.box_xyxy,
            multimask_output=prompt.is_single,
        )  # fmt: skip
        best = scores.argmax()
        assert label.score == pytest.approx(scores[best], abs=1e-5)
        assert (label.mask.whole((150, 200)) != masks[best]).mean() < 1e-3


def test_many_objects_are_decoded_in_chunks(sam, image, monkeypatch, found):
    monkeypatch.setattr("samtune.inference.ask._PROMPTS", 2)
    monkeypatch.setattr("samtune.inference.views._MASKS", 1)
    again = prelabel(sam, image, ROWS)
    for first, second in zip(found.objects, again.objects, strict=True):
        assert second.score == pytest.approx(first.score, abs=1e-5)
        assert (first.mask.whole((150, 200)) != second.mask.whole((150, 200))).mean() < 1e-3


def test_a_window_is_an_image_of_its_own(sam, image):
    box = detection(1, 110.0, 30.0, 140.0, 60.0)
    (label,) = prelabel(sam, image, [box], tile=80).objects
    (alone,) = prelabel(sam, image[0:80, 80:160], [detection(1, 30.0, 30.0, 60.0, 60.0)]).objects
    expected = np.zeros((150, 200), np.bool_)
    expected[0:80, 80:160] = alone.mask.whole((80, 80))
    np.testing.assert_array_equal(label.mask.whole((150, 200)), expected)
    assert label.score == alone.score
    assert label.box == [110, 30, 139, 59]


def test_an_object_larger_than_a_window_is_looked_at_in_the_whole_image(sam, image):
    whole = prelabel(sam, image, ROWS[:1])
    assert prelabel(sam, image, ROWS[:1], tile=64) == whole


def test_scores_are_calibrated(sam, image, found, monkeypatch):
    monkeypatch.setattr(sam, "calibration", HALVED)
    again = prelabel(sam, image, ROWS)
    for label, other in zip(found.objects, again.objects, strict=True):
        assert other.score == pytest.approx(np.clip(label.score, 0, 1) / 2, abs=1e-5)


def test_a_model_that_sharpens_says_how_certain_it_is_of_each_mask(image):
    nano = load_model("nano").eval()
    objects = prelabel(nano, image, ROWS).objects
    assert objects
    assert all((each.certainty > 0) == (each.mask.area > 0) for each in objects)
    assert all(each.certainty <= 1 for each in objects)


def test_agreement_is_of_three_masks_and_fit_is_of_boxes(found):
    box, point, _, points = found.objects
    assert 0 <= box.agreement <= 1
    assert 0 <= point.agreement <= 1
    assert points.agreement is None
    assert (point.box_iou, point.box_fill) == (None, None)
    assert box.box_fill == pytest.approx(box.mask.area / 70**2)


def labelled(*masks):
    """Objects 1, 2, ... of falling scores."""
    objects = [
        Prelabel(
            n, 4, None, 1 - n / 10, mask_to_rle(mask), [0, 0], [0, 0, 9, 9], [], 1.0, 1.0, 1.0, True
        )
        for n, mask in enumerate(masks, start=1)
    ]
    return ImagePrelabels(masks[0].shape, objects, [], 0)


@pytest.fixture
def squares():
    masks = np.zeros((3, 30, 40), np.bool_)
    masks[0, 5:15, 5:15] = masks[1, 10:20, 10:20] = masks[2, 12:14, 12:14] = True
    masks[1, 17, 12] = False
    return labelled(*masks)


def test_without_overlap_a_pixel_goes_to_the_highest_score(squares):
    whole = finish("a.png", 1, squares, without_overlap=False).objects
    parted = finish("a.png", 1, squares, without_overlap=True).objects
    assert [mask.area for _, mask in whole] == [100, 99, 4]
    assert [mask.area for _, mask in parted] == [100, 74, 0]
    assert (sum(mask.whole((30, 40)).astype(int) for _, mask in parted) <= 1).all()


def test_without_overlap_fit_is_that_of_what_is_left(squares):
    whole = finish("a.png", 1, squares, without_overlap=False).objects
    assert [(label.box_fill, label.box_iou) for label, _ in whole] == [(1.0, 1.0)] * 3
    first, second, third = (
        label for label, _ in finish("a.png", 1, squares, without_overlap=True).objects
    )
    assert (first.box_fill, first.box_iou) == (1.0, pytest.approx(25 / 175))
    assert (second.box_fill, second.box_iou) == (0.74, 0.0)
    assert (third.box_fill, third.box_iou) == (0.0, 0.0)


def test_what_lies_under_others_is_reviewed(squares):
    objects = finish("a.png", 1, squares, without_overlap=True).objects
    rows = [review_row("a.png", label, mask.area, "cell", 0.0) for label, mask in objects]
    assert ["under others" in row.reasons for row in rows] == [False, True, True]
    assert {row.decision for row in rows[1:]} == {"review"}
    assert [row.trust for row in rows[1:]] == [0, 0]


def test_points_have_no_fit_whatever_is_left(squares):
    objects = [replace(label, box=[], points=[[1.0, 1.0]]) for label in squares.objects]
    cut = finish("a.png", 1, replace(squares, objects=objects), without_overlap=True).objects
    assert [label for label, _ in cut] == objects


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_coco_holds_the_masks_exactly(squares, tmp_path, segmentation):
    image = finish("x/a.png", 6, squares, without_overlap=True)
    with replacing_file(tmp_path / "c.json") as place, place.open("wb") as file:
        coco = CocoFile(file, {"description": "x"})
        add_to_coco(coco, image, segmentation, 0.0)
        coco.finish([{"id": 4, "name": "cell"}])
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["images"] == [{"id": 6, "file_name": "x/a.png", "height": 30, "width": 40}]
    assert [each["id"] for each in content["annotations"]] == [1, 2]  # the third has no pixel left
    read = COCO(tmp_path / "c.json")
    for each, (label, placed) in zip(content["annotations"], image.objects, strict=False):
        mask = placed.whole((30, 40))
        np.testing.assert_array_equal(read.annToMask(each), mask)
        decode = rle_to_mask if segmentation == "rle" else lambda p: polygons_to_mask(p, (30, 40))
        np.testing.assert_array_equal(decode(each["segmentation"]), mask)
        assert (each["score"], each["area"]) == (label.score, mask.sum())
        assert (each["iscrowd"], each["image_id"], each["category_id"]) == (0, 6, 4)
    assert content["annotations"][0]["bbox"] == [5, 5, 10, 10]


def test_a_file_that_breaks_off_is_not_there(squares, tmp_path):
    def broken():
        with replacing_file(tmp_path / "c.json") as place, place.open("wb") as file:
            CocoFile(file, {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_cutouts_have_safe_names_and_a_margin(squares, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    image = finish("../x/a b.png", 1, squares, without_overlap=True)
    names = {4: "cell/../../" + "é" * 200}
    written = write_cutouts(tmp_path / "out", image, picture, names, 7)
    files = sorted((tmp_path / "out").iterdir())
    assert sorted(written) == [file.name for file in files]
    assert [file.name[:10] for file in files] == ["x_a_b_1_ce", "x_a_b_2_ce"]
    assert all(len(file.name.encode()) < 255 for file in files)
    pixels = np.asarray(Image.open(files[0]))
    np.testing.assert_array_equal(pixels[..., :3], picture[0:22, 0:22])
    np.testing.assert_array_equal(
        pixels[..., 3] > 0, image.objects[0][1].whole((30, 40))[0:22, 0:22]
    )


@pytest.mark.parametrize("text", ["", "..", "...", "a/b", "\\", "con\0", "\ud800", "x" * 999])
def test_a_safe_name_is_a_plain_part_of_a_path(text):
    name = safe_name(text, 60)
    assert name
    assert not set(name) & set("/\\\0")
    assert name.strip(".") == name
    assert len(name.encode()) <= 60

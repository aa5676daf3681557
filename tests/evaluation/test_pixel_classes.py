import numpy as np
import pytest

from samtune.data.source import Record, Source
from samtune.evaluation.pixel_classes import (
    by_class,
    difference,
    image_ious,
    map_classes,
    named_by_truth,
    summarise,
)
from samtune.inference.instances import to_candidates
from samtune.types import IGNORED_CLASS, Sample

CLASSES = ["background", "crop", "road"]


class Fields(Source):
    """Two images: one half crop and a quarter road, with an ignored row; one with nothing."""

    def __init__(self):
        self.records = [Record("a", "a"), Record("b", "b")]

    def read(self, index):
        labels = np.zeros((1, 8, 8), np.int32)
        classes = {}
        if index == 0:
            labels[0, :4], labels[0, 4:6], labels[0, 7] = 5, 6, 9
            classes = {5: "crop", 6: "road", 9: IGNORED_CLASS}
        return Sample("ab"[index], np.zeros((8, 8, 3), np.uint8), labels, classes)


def all_crop(image, truth):
    return np.ones((8, 8), np.int32)


def the_truth(image, truth):
    return truth.astype(np.int32)


MAPPED = map_classes({"one": all_crop, "two": the_truth}, Fields(), CLASSES)


def test_confusion_counts_all_but_what_is_ignored():
    assert MAPPED[0].confusion["one"].tolist() == [[0, 8, 0], [0, 32, 0], [0, 16, 0]]
    assert MAPPED[0].confusion["two"].tolist() == [[8, 0, 0], [0, 32, 0], [0, 0, 16]]
    assert MAPPED[1].confusion["one"].tolist() == [[0, 64, 0], [0, 0, 0], [0, 0, 0]]


def test_by_class_over_pixels_and_by_image():
    rows = {row["class"]: row for row in by_class(MAPPED, "one", CLASSES)}
    assert rows["crop"]["IoU"] == pytest.approx(32 / 120)
    assert rows["crop"]["Dice"] == pytest.approx(64 / 152)
    assert rows["crop"]["IoU by image"] == pytest.approx((32 / 56 + 0) / 2)
    assert rows["road"]["IoU"] == 0
    assert rows["road"]["images"] == 1


def test_outlines_by_class():
    from samtune.evaluation.metrics.contour import contour_scores

    rows = {row["class"]: row for row in by_class(MAPPED, "one", CLASSES)}
    truth, found = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    truth[:4], found[7] = True, False  # what is ignored is background to both
    expected = contour_scores(found, truth, tolerance=2)
    # the other image has none of it, and all of it was found
    assert rows["crop"]["boundary IoU"] == pytest.approx(expected.boundary_iou / 2)
    assert rows["crop"]["NSD (2 px)"] == pytest.approx(expected.surface_dice / 2)
    assert rows["road"]["NSD (2 px)"] == 0
    assert rows["background"]["NSD (2 px)"] is None
    right = {row["class"]: row for row in by_class(MAPPED, "two", CLASSES)}
    assert right["crop"]["boundary IoU"] == right["road"]["NSD (2 px)"] == 1


def test_an_image_without_a_class_is_right_where_nothing_is_found():
    assert image_ious(MAPPED, "two").tolist() == [1, 1]
    assert image_ious(MAPPED, "one") == pytest.approx([(32 / 56 + 0) / 2, 0])


def test_summary_and_difference():
    own = summarise(MAPPED, "one", 0)
    assert own["miou"] == pytest.approx((32 / 120 + 0) / 2)
    assert own["accuracy"] == pytest.approx(32 / 120)
    assert difference(MAPPED, "two", "one", 0)["mean"] == pytest.approx(1 - (32 / 56 / 2) / 2)


def test_masks_are_named_after_the_class_that_they_cover_most_of():
    truth = np.zeros((8, 8), np.int64)
    truth[:4], truth[4:6] = 1, 2
    labels = np.zeros((8, 8), np.int32)
    labels[:5, :4], labels[4:7, 4:] = 1, 2
    masks = to_candidates(labels, np.array([0.9, 0.8], np.float32))
    found = named_by_truth(lambda image: masks)(np.zeros((8, 8, 3), np.uint8), truth)
    assert (found[:5, :4] == 1).all()
    assert (found[4:7, 4:] == 2).all()
    assert not found[7].any()

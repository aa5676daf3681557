"""Masks with classes in whole images: COCO's mask AP, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from samtune.data.source import Record, Source
from samtune.evaluation.whole_images import accuracies, class_precisions, look
from samtune.inference.instances import to_candidates
from samtune.types import IGNORED_CLASS, Sample

# a quarter of the image each: a cell, another cell, a hair, and what nobody named
PLACES = {1: (0, 0), 2: (0, 8), 3: (8, 0), 4: (8, 8)}
CLASSES = {1: "cell", 2: "cell", 3: "hair"}


def quarter(number, side=8):
    labels = np.zeros((16, 16), np.int32)
    row, column = PLACES[number]
    labels[row : row + side, column : column + side] = 1
    return labels


class Quarters(Source):
    """One image with all four, one with nothing."""

    def __init__(self, classes):
        self.records, self.classes = [Record("a", "a"), Record("b", "b")], classes

    def read(self, index):
        labels = np.zeros((1, 16, 16), np.int32)
        if index == 0:
            for number in PLACES:
                labels[0][quarter(number) > 0] = number
        classes = self.classes if index == 0 else {}
        return Sample("ab"[index], np.full((16, 16, 3), index, np.uint8), labels, classes)


def mask(number, name, score, sure=1.0, side=8):
    (found,) = to_candidates(quarter(number, side), np.array([score], np.float32))
    return replace(found, class_name=name, class_score=sure)


def judged(*found, classes=None):
    def search(image):
        return list(found) if image.max() == 0 else []

    source = Quarters(CLASSES if classes is None else classes)
    return class_precisions(look({"way": search}, source, 1), "way")


def test_all_right_is_one():
    its = judged(mask(1, "cell", 0.9), mask(2, "cell", 0.8), mask(3, "hair", 0.7))
    assert [its["ap"], its["ap50"], its["ap75"]] == pytest.approx([1, 1, 1])
    assert its["classes"]["cell"]["num_objects"] == its["classes"]["cell"]["num_named"] == 2
    assert set(its["classes"]) == {"cell", "hair"}


def test_a_wrong_name_costs_both_classes():
    # the hair is called a cell, surer than the cells: precision 2/3 of cells; no hair is found
    its = judged(mask(1, "cell", 0.9), mask(2, "cell", 0.8), mask(3, "cell", 0.95))
    assert its["classes"]["cell"]["ap50"] == pytest.approx(2 / 3)
    assert its["classes"]["hair"]["ap50"] == 0
    assert its["ap50"] == pytest.approx(1 / 3)


def test_masks_without_classes_do_not_count_though_objects_were_found():
    looked = look(
        {"way": lambda image: [mask(1, "", 0.9)] if image.max() == 0 else []}, Quarters(CLASSES), 1
    )
    assert class_precisions(looked, "way")["ap"] == 0
    assert accuracies(looked, "way").tolist() == [1 / 4, 1]


def test_an_object_that_nobody_named_counts_neither_for_nor_against():
    found = (mask(1, "cell", 0.9), mask(2, "cell", 0.8), mask(3, "hair", 0.7))
    assert judged(*found, mask(4, "cell", 0.99), mask(4, "hair", 0.99))["ap"] == pytest.approx(1)
    # but where nothing is, a mask is wrong
    wrong = mask(1, "hair", 0.99)
    assert judged(*found, wrong)["classes"]["hair"]["ap50"] == pytest.approx(1 / 2)


def test_how_sure_the_class_is_counts_besides_the_mask():
    # a poor mask, surely a hair, and a good one that hardly is: the first goes first
    found = (mask(3, "hair", 0.6), mask(1, "hair", 0.9, sure=0.5))
    assert judged(*found)["classes"]["hair"]["ap50"] == pytest.approx(1)


def test_the_mask_has_to_fit_as_well():
    # 6 of 8 rows and columns: an IoU of 36/64, a hit at 0.5 and 0.55 of ten thresholds
    its = judged(mask(3, "hair", 0.9, side=6))["classes"]["hair"]
    assert (its["ap50"], its["ap75"]) == pytest.approx((1, 0))
    assert its["ap"] == pytest.approx(0.2)


def test_ignored_regions_and_images_without_a_class():
    classes = {**CLASSES, 4: IGNORED_CLASS}
    found = (mask(1, "cell", 0.9), mask(2, "cell", 0.8), mask(3, "hair", 0.7))
    its = judged(*found, mask(4, "hair", 0.99), classes=classes)
    assert its["ap"] == pytest.approx(1)
    assert its["classes"]["hair"]["num_named"] == 1
    empty = judged(*found, classes={})
    assert (empty["ap"], empty["classes"]) == (0, {})

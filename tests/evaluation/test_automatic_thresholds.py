"""Thresholds are tried on what was found once, as if the generator had been asked with each."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samtune.data.datamodule import SamDataModule
from samtune.data.drawn.source import DrawnPictures
from samtune.data.settings import DataSettings
from samtune.data.source import Subset
from samtune.errors import UserError
from samtune.evaluation.metrics.instances import segmentation_accuracy
from samtune.evaluation.threshold_search import (
    PREDICTED_IOUS,
    RULES,
    _accuracies,
    choose,
    judge,
    search,
)
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.models.loading import load_model
from samtune.models.mask_thresholds import MaskThresholds

SIDE = 8


@pytest.fixture(scope="module")
def sam():
    """Without what sharpens its masks after the thresholds."""
    sam = load_model("nano")
    sam.base_sharpeners = torch.nn.ModuleList()
    return sam


@pytest.fixture(scope="module")
def source(discs):
    return SamDataModule(DataSettings(path=str(discs))).source("train")


def search_all(sam, source):
    generator = AutomaticMaskGenerator(sam, SIDE, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    return search(generator, source, 10, RULES)


@pytest.fixture(scope="module")
def images(sam, source):
    return search_all(sam, source)


@pytest.mark.parametrize(
    "thresholds",
    [MaskThresholds(), MaskThresholds(0.5, 0.7, 0.3), MaskThresholds(0.3, 0.0, 0.9),
     MaskThresholds(0.0, 0.5, 0.5)],
)  # fmt: skip
def test_each_choice_gives_what_the_generator_gives(sam, source, images, thresholds):
    generator = AutomaticMaskGenerator(
        sam, SIDE, pred_iou_thresh=thresholds.pred_iou_thresh,
        stability_score_thresh=thresholds.stability_score_thresh,
        box_nms_thresh=thresholds.box_nms_thresh,
    )  # fmt: skip
    for number, image in enumerate(images):
        found = generator.search(source.read(number).image)
        instances = image.instances(thresholds)
        assert instances.predictions == [candidate.rle() for candidate in found]
        assert instances.scores == [candidate.predicted_iou for candidate in found]


@pytest.mark.parametrize("rule", [(0.0, 0.9), (0.7, 0.3)])
def test_msa_of_every_threshold_is_the_metric_s(images, rule):
    assert sum(len(image.kept[rule].numbers) for image in images) > 10
    for image in images:
        accuracies = _accuracies(image, rule)
        for index in range(0, len(PREDICTED_IOUS), 20):
            thresholds = MaskThresholds(float(PREDICTED_IOUS[index]), *rule)
            expected = segmentation_accuracy(image.instances(thresholds))
            assert accuracies[index] == pytest.approx(expected, abs=1e-12)


def test_the_choice_is_the_best_of_all(images):
    chosen = choose(images)
    best = max(np.mean([_accuracies(image, rule) for image in images], 0).max() for rule in RULES)
    result = judge(images, chosen, seed=0)
    assert result.after.scores["msa"] == pytest.approx(best)
    assert result.after.scores["msa"] > result.before.scores["msa"]
    assert result.num_images == 4


def test_objects_that_overlap(sam):
    scenes = DrawnPictures("val", num_pictures=3)
    overlapping = [n for n in range(3) if (scenes.read(n).labels > 0).sum(0).max() > 1]
    assert overlapping
    for image in search_all(sam, Subset(scenes, overlapping)):
        for threshold in (0, 30, 60):
            thresholds = MaskThresholds(float(PREDICTED_IOUS[threshold]), 0.0, 0.7)
            exact = segmentation_accuracy(image.instances(thresholds))
            assert 0.9 * exact <= _accuracies(image, (0.0, 0.7))[threshold] <= exact


class Emptied(Subset):
    """The first image without objects, the second with objects too small to count."""

    def read(self, index):
        sample = super().read(index)
        labels = np.zeros_like(sample.labels)
        if index == 1:
            labels[0, 5, 5] = 1
        return replace(sample, labels=labels if index < 2 else sample.labels)


def test_finding_something_where_nothing_is_costs(sam, source, images):
    found = search_all(sam, Emptied(source, range(4)))
    assert [len(image.truths) > 0 for image in found] == [False, True, True]
    for rule in ((0.0, 0.9), (0.7, 0.3)):
        count = np.array([
            len(found[0].instances(MaskThresholds(float(each), *rule)).predictions)
            for each in PREDICTED_IOUS
        ])  # fmt: skip
        assert count.min() == 0 < count.max()
        np.testing.assert_array_equal(_accuracies(found[0], rule), np.where(count, 0.0, 1.0))
    for thresholds in (MaskThresholds(0.0, 0.0, 0.9), MaskThresholds(0.9, 0.97, 0.1)):
        instances = found[0].instances(thresholds)
        assert segmentation_accuracy(instances) == (0.0 if instances.predictions else 1.0)
    result = judge(found, choose(found), seed=0)
    expected = np.mean([segmentation_accuracy(i.instances(choose(found))) for i in found])
    assert result.after.scores["msa"] == pytest.approx(expected)
    assert result.num_images == 3
    # an image in which everything is false asks for stricter thresholds
    many = [found[0]] * 20 + images
    assert choose(many).pred_iou_thresh > choose(images).pred_iou_thresh


def test_without_objects_nothing_can_be_chosen(sam, source):
    with pytest.raises(UserError, match="no object"):
        search(AutomaticMaskGenerator(sam, 1), source, 10**9, RULES)

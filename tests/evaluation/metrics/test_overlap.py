"""IoU and Dice against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from samtune.evaluation.metrics.overlap import iou_and_dice


def masks(*windows, hw=(4, 5)):
    stacked = torch.zeros(len(windows), *hw, dtype=torch.bool)
    for mask, window in zip(stacked, windows, strict=True):
        mask[window] = True
    return stacked


@pytest.mark.parametrize(
    ("predicted", "truth", "iou", "dice"),
    [
        (np.s_[:2, :3], np.s_[:2, :3], 1.0, 1.0),
        (np.s_[:2, :2], np.s_[2:, 2:], 0.0, 0.0),
        (np.s_[:2, :3], np.s_[1:3, :3], 3 / 9, 6 / 12),
        (np.s_[:, :], np.s_[0, 0], 1 / 20, 2 / 21),
        (np.s_[0, 0], np.s_[:, :], 1 / 20, 2 / 21),
        (np.s_[:3, :3], np.s_[:2, :2], 4 / 9, 8 / 13),
    ],
    ids=["equal", "apart", "half", "too large", "too small", "around"],
)
def test_overlaps_worked_out_by_hand(predicted, truth, iou, dice):
    found = iou_and_dice(masks(predicted), masks(truth))
    assert [part.tolist() for part in found] == [[pytest.approx(iou)], [pytest.approx(dice)]]


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [(np.s_[:0], np.s_[:0], 1.0), (np.s_[:0], np.s_[:2, :2], 0.0), (np.s_[:2, :2], np.s_[:0], 0.0)],
    ids=["both empty", "nothing predicted", "nothing there"],
)
def test_empty_masks(predicted, truth, expected):
    iou, dice = iou_and_dice(masks(predicted), masks(truth))
    assert iou.item() == dice.item() == expected


def test_objects_are_measured_one_by_one():
    iou, dice = iou_and_dice(
        masks(np.s_[:2, :3], np.s_[:0], np.s_[0, :4]),
        masks(np.s_[1:3, :3], np.s_[:0], np.s_[0, :2]),
    )
    assert iou.tolist() == pytest.approx([1 / 3, 1.0, 1 / 2])
    assert dice.tolist() == pytest.approx([1 / 2, 1.0, 2 / 3])


def test_scores_are_doubles_and_exact_for_large_masks():
    truth = torch.ones(1, 4200, 4200, dtype=torch.bool)
    predicted = truth.clone()
    predicted[0, 0, 0] = False
    iou, dice = iou_and_dice(predicted, truth)
    assert iou.dtype == dice.dtype == torch.float64
    assert iou.item() == 17_639_999 / 17_640_000
    assert dice.item() == 2 * 17_639_999 / 35_279_999


def test_dice_is_twice_the_iou_over_one_more_than_it():
    generator = torch.Generator().manual_seed(0)
    predicted, truth = torch.rand(2, 6, 9, 9, generator=generator) > 0.5
    iou, dice = iou_and_dice(predicted, truth)
    assert torch.allclose(dice, 2 * iou / (1 + iou))

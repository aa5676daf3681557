"""Losses against numbers worked out by hand; padding and neighbours in the batch never matter."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from samtune.prompts.protocols import RECIPES
from samtune.training.losses import (
    LossWeights,
    balanced_bce_loss,
    bce_loss,
    compute_losses,
    covered_cells,
    dice_loss,
    focal_loss,
    masked_mean,
    measured_iou,
)
from samtune.training.settings import LossSettings
from samtune.types import MaskPrediction

LN2 = math.log(2)
PIXEL_LOSSES = [focal_loss, bce_loss, balanced_bce_loss, dice_loss]


def weights(pixel_loss="focal", iou_loss="mse", pixel=20.0, dice=1.0, iou=1.0, of_all=True):
    return LossWeights(pixel_loss, iou_loss, pixel, dice, iou, of_all)


def sure(mask):
    """Logits that leave no doubt about a mask."""
    return torch.where(mask, 40.0, -40.0)


@pytest.fixture
def scene():
    """Five objects of an 8 x 8 grid with three random masks each; below row 6 lies padding."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 3, 8, 8, generator=generator)
    targets = torch.rand(5, 8, 8, generator=generator)
    valid = torch.ones(5, 8, 8)
    valid[:, 6:] = 0
    scores = torch.rand(5, 3, generator=generator)
    return logits, scores, targets * valid, valid


class TestPixelLosses:
    def test_focal_loss_of_an_undecided_pixel(self):
        logits, targets = torch.zeros(2, 1, 1), torch.tensor([1.0, 0.0])[:, None, None]
        found = focal_loss(logits, targets, torch.ones(2, 1, 1))
        assert found.tolist() == pytest.approx([0.25 * 0.25 * LN2, 0.75 * 0.25 * LN2])

    def test_focal_loss_is_a_mean_over_pixels(self):
        logits = torch.tensor([[[math.log(4.0), 0.0]]])  # 80% and 50% sure of the object
        targets = torch.tensor([[[1.0, 0.0]]])
        expected = (0.25 * 0.2**2 * -math.log(0.8) + 0.75 * 0.5**2 * LN2) / 2
        assert focal_loss(logits, targets, torch.ones(1, 1, 2)).item() == pytest.approx(expected)

    def test_cross_entropy_is_a_mean_over_pixels(self):
        logits = torch.tensor([[[math.log(4.0), math.log(3.0), 0.0, 0.0]]])
        targets = torch.tensor([[[1.0, 0.0, 1.0, 0.5]]])
        expected = (-math.log(0.8) - math.log(0.25) + LN2 + LN2) / 4
        assert bce_loss(logits, targets, torch.ones(1, 1, 4)).item() == pytest.approx(expected)

    def test_balanced_cross_entropy_weighs_object_and_background_alike(self):
        logits = torch.tensor([[[math.log(4.0), 0.0, 0.0, math.log(3.0)]]])
        targets = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
        expected = (-math.log(0.8) + (LN2 + LN2 - math.log(0.25)) / 3) / 2
        found = balanced_bce_loss(logits, targets, torch.ones(1, 1, 4))
        assert found.item() == pytest.approx(expected)

    @pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
    def test_an_object_smaller_than_a_cell_weighs_one_half_too(self, share):
        targets = torch.zeros(1, 4, 4)
        targets[0, 1, 1] = share
        found = balanced_bce_loss(torch.zeros(1, 4, 4), targets, torch.ones(1, 4, 4))
        assert found.item() == pytest.approx(LN2)

    def test_dice_of_two_against_three_pixels_with_one_in_common(self):
        predicted = torch.tensor([[[True, True, False, False]]])
        targets = torch.tensor([[[0.0, 1.0, 1.0, 1.0]]])
        found = dice_loss(sure(predicted), targets, torch.ones(1, 1, 4))
        assert found.item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 3 + 1))

    def test_dice_of_probabilities(self):
        found = dice_loss(torch.zeros(1, 2, 2), torch.ones(1, 2, 2), torch.ones(1, 2, 2))
        assert found.item() == pytest.approx(1 - (2 * 2 + 1) / (2 + 4 + 1))

    def test_dice_of_nothing_against_nothing_is_no_loss(self):
        nothing = torch.zeros(1, 3, 3, dtype=torch.bool)
        found = dice_loss(sure(nothing), nothing.float(), torch.ones(1, 3, 3))
        assert found.item() == pytest.approx(0.0, abs=1e-6)

    @pytest.mark.parametrize("loss", PIXEL_LOSSES)
    def test_a_perfect_answer_costs_nothing(self, loss):
        mask = torch.zeros(1, 4, 4, dtype=torch.bool)
        mask[0, 1:3, 1:3] = True
        assert loss(sure(mask), mask.float(), torch.ones(1, 4, 4)).item() == pytest.approx(
            0, abs=1e-6
        )

    @pytest.mark.parametrize("loss", PIXEL_LOSSES)
    def test_they_stay_finite_where_the_network_is_wrong_and_sure(self, loss):
        logits = torch.full((1, 4, 4), 500.0, requires_grad=True)
        value = loss(logits, torch.zeros(1, 4, 4), torch.ones(1, 4, 4))
        value.sum().backward()
        assert value.isfinite().all()
        assert logits.grad.isfinite().all()

    @pytest.mark.parametrize("loss", PIXEL_LOSSES)
    def test_padding_never_matters(self, loss, scene):
        logits, _, targets, valid = scene
        changed = logits[:, 0].clone()
        changed[:, 6:] = 1e4
        assert torch.equal(loss(changed, targets, valid), loss(logits[:, 0], targets, valid))
        cut = loss(logits[:, 0, :6], targets[:, :6], valid[:, :6])
        assert torch.allclose(loss(logits[:, 0], targets, valid), cut, atol=1e-6)

    @pytest.mark.parametrize("loss", PIXEL_LOSSES)
    def test_no_gradient_reaches_the_padding(self, loss, scene):
        logits, _, targets, valid = scene
        logits = logits[:, 0].clone().requires_grad_()
        loss(logits, targets, valid).sum().backward()
        assert not logits.grad[:, 6:].any()
        assert logits.grad[:, :6].abs().min() > 0


class TestMeans:
    def test_a_mean_counts_only_what_the_mask_does(self):
        values = torch.tensor([[[1.0, 2.0], [3.0, 100.0]]])
        mask = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
        assert masked_mean(values, mask).item() == 2.0

    def test_a_mean_of_nothing_is_zero(self):
        assert masked_mean(torch.full((1, 2, 2), 7.0), torch.zeros(1, 2, 2)).item() == 0.0


class TestCoveredCells:
    @pytest.mark.parametrize(
        ("shares", "covered"),
        [
            ([0.4, 0.6, 1.0, 0.0], [False, True, True, False]),
            ([0.5, 0.51, 0.0, 0.0], [False, True, False, False]),
            ([0.1, 0.4, 0.3, 0.0], [False, True, False, False]),
            ([0.2, 0.0, 0.2, 0.1], [True, False, True, False]),
            ([0.5, 0.0, 0.0, 0.0], [True, False, False, False]),
            ([0.0, 0.0, 0.0, 0.0], [False, False, False, False]),
        ],
    )
    def test_they_are_those_over_one_half_or_else_the_most_covered(self, shares, covered):
        assert covered_cells(torch.tensor([[shares]])).tolist() == [[covered]]

    def test_objects_are_taken_one_by_one(self):
        shares = torch.tensor([[[0.2, 0.1]], [[0.9, 0.2]]])
        assert covered_cells(shares).tolist() == [[[True, False]], [[True, False]]]


class TestMeasuredIou:
    def test_it_is_of_thresholded_masks(self):
        logits = torch.tensor([[[0.1, 5.0, -0.1, -5.0]]])
        targets = torch.tensor([[[0.4, 0.6, 1.0, 0.0]]])
        assert measured_iou(logits, targets, torch.ones(1, 1, 4)).item() == pytest.approx(1 / 3)

    def test_a_cell_of_one_half_is_outside(self):
        logits, targets = torch.ones(1, 1, 2), torch.tensor([[[0.5, 1.0]]])
        assert measured_iou(logits, targets, torch.ones(1, 1, 2)).item() == 0.5

    def test_padding_never_matters(self, scene):
        logits, _, targets, valid = scene
        changed = logits[:, 0].clone()
        changed[:, 6:] = 1.0
        expected = measured_iou(logits[:, 0], targets, valid)
        assert torch.equal(measured_iou(changed, targets, valid), expected)

    def test_it_has_no_gradient(self):
        logits = torch.ones(1, 2, 2, requires_grad=True)
        assert not measured_iou(logits, torch.ones(1, 2, 2), torch.ones(1, 2, 2)).requires_grad


class TestTogether:
    def test_parts_and_total_worked_out_by_hand(self):
        logits = torch.zeros(1, 1, 2, 2)
        targets = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
        prediction = MaskPrediction(logits, torch.tensor([[0.75]]))
        parts = compute_losses(prediction, targets, torch.ones(1, 2, 2), weights(iou=3.0))
        focal = (0.25 + 3 * 0.75) * 0.25 * LN2 / 4
        dice = 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
        assert parts.pixel.item() == pytest.approx(focal)
        assert parts.dice.item() == pytest.approx(dice)
        assert parts.iou.item() == pytest.approx((0.75 - 0) ** 2)
        assert parts.total.item() == pytest.approx(20 * focal + dice + 3 * 0.75**2)

    def test_the_iou_head_s_error_may_be_absolute(self):
        prediction = MaskPrediction(torch.zeros(1, 1, 2, 2), torch.tensor([[0.75]]))
        targets = torch.ones(1, 2, 2)
        parts = compute_losses(prediction, targets, targets, weights(iou_loss="l1"))
        assert parts.iou.item() == pytest.approx(0.75)

    def test_a_share_of_the_loss_goes_to_the_mask_that_the_network_thinks_best(self, scene):
        logits, scores, targets, valid = scene
        prediction = MaskPrediction(logits, scores)
        best = compute_losses(prediction, targets, valid, weights(iou=0))
        half = compute_losses(prediction, targets, valid, replace(weights(iou=0), chosen=0.5))
        all_of_it = compute_losses(prediction, targets, valid, replace(weights(iou=0), chosen=1.0))
        rows = torch.arange(5)
        alone = MaskPrediction(
            logits[rows, best.chosen][:, None], scores[rows, best.chosen][:, None]
        )
        expected = compute_losses(alone, targets, valid, weights(iou=0)).total
        assert (best.best != best.chosen).any()
        torch.testing.assert_close(all_of_it.total, expected)
        torch.testing.assert_close(half.total, (best.total + expected) / 2)

    def test_recipes_of_other_authors_train_the_best_of_three_alone(self):
        shares = {name: recipe.chosen for name, recipe in RECIPES.items() if recipe.chosen}
        assert shares == {"mixed": 0.5}
        assert LossWeights.from_settings(LossSettings(chosen=0.2), RECIPES["sam"]).chosen == 0.2

    def test_the_iou_head_s_error_is_over_all_masks_or_the_best(self):
        full, empty = torch.full((4, 4), 9.0), torch.full((4, 4), -9.0)
        prediction = MaskPrediction(
            torch.stack([full, empty, empty])[None], torch.tensor([[0.5, 0.25, 0.5]])
        )
        targets = torch.ones(1, 4, 4)
        of_all = compute_losses(prediction, targets, targets, weights())
        of_best = compute_losses(prediction, targets, targets, weights(of_all=False))
        assert of_all.best.item() == 0
        assert of_all.iou.item() == pytest.approx((0.5**2 + 0.25**2 + 0.5**2) / 3)
        assert of_best.iou.item() == pytest.approx(0.5**2)

    def test_the_mask_of_the_lowest_loss_is_the_best(self):
        truth = torch.zeros(1, 4, 4)
        truth[0, :2] = 1
        good, worse = sure(truth[0] > 0), sure(truth[0] == 0)
        prediction = MaskPrediction(torch.stack([worse, good, worse])[None], torch.zeros(1, 3))
        assert compute_losses(prediction, truth, torch.ones(1, 4, 4), weights()).best.item() == 1

    def test_the_iou_told_is_that_of_the_mask_the_network_thinks_best(self):
        truth = torch.zeros(1, 4, 4)
        truth[0, :2] = 1
        good, worse = sure(truth[0] > 0), sure(truth[0] == 0)
        masks = torch.stack([worse, good, worse])[None]
        for scores, expected in (([0.1, 0.2, 0.3], 0.0), ([0.1, 0.9, 0.3], 1.0)):
            prediction = MaskPrediction(masks, torch.tensor([scores]))
            parts = compute_losses(prediction, truth, torch.ones(1, 4, 4), weights())
            assert parts.ious.item() == expected

    def test_only_the_best_of_three_masks_gets_a_gradient(self, scene):
        logits, scores, targets, valid = scene
        logits.requires_grad_()
        parts = compute_losses(MaskPrediction(logits, scores), targets, valid, weights())
        parts.total.sum().backward()
        reached = logits.grad.abs().amax((2, 3)) > 0
        assert torch.equal(reached.nonzero()[:, 1], parts.best)

    @pytest.mark.parametrize("of_all", [True, False])
    def test_all_scores_or_only_the_best_one_s_get_a_gradient(self, scene, of_all):
        logits, scores, targets, valid = scene
        scores.requires_grad_()
        prediction = MaskPrediction(logits, scores)
        parts = compute_losses(prediction, targets, valid, weights(of_all=of_all))
        parts.total.sum().backward()
        best = F.one_hot(parts.best, 3).bool()
        assert torch.equal(scores.grad != 0, torch.ones_like(best) if of_all else best)

    @pytest.mark.parametrize("pixel_loss", ["focal", "bce", "balanced_bce"])
    def test_an_object_s_loss_does_not_depend_on_its_batch(self, scene, pixel_loss):
        logits, scores, targets, valid = scene
        setting = weights(pixel_loss)
        whole = compute_losses(MaskPrediction(logits, scores), targets, valid, setting)
        for k in range(5):
            part = slice(k, k + 1)
            alone = compute_losses(
                MaskPrediction(logits[part], scores[part]), targets[part], valid[part], setting
            )
            for name in ("total", "pixel", "dice", "iou", "ious", "best"):
                found, expected = getattr(alone, name), getattr(whole, name)[part]
                assert torch.allclose(found, expected, atol=1e-6), name

    def test_a_large_object_does_not_weigh_more_than_a_small_one(self):
        targets = torch.zeros(2, 8, 8)
        targets[0, :6], targets[1, 0, 0] = 1, 1
        prediction = MaskPrediction(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1))
        setting = weights("balanced_bce", pixel=1.0, dice=0.0, iou=0.0)
        parts = compute_losses(prediction, targets, torch.ones(2, 8, 8), setting)
        assert parts.total.tolist() == pytest.approx([LN2, LN2])

    def test_smaller_logits_are_enlarged_to_the_targets(self, scene):
        logits, scores, targets, valid = scene
        small = logits[..., ::2, ::2]
        full = F.interpolate(small, (8, 8), mode="bilinear", align_corners=False)
        found = compute_losses(MaskPrediction(small, scores), targets, valid, weights())
        expected = compute_losses(MaskPrediction(full, scores), targets, valid, weights())
        assert torch.equal(found.total, expected.total)

    def test_half_precision_logits_are_measured_in_single(self, scene):
        logits, scores, targets, valid = scene
        prediction = MaskPrediction(logits.half(), scores.half())
        parts = compute_losses(prediction, targets, valid, weights())
        expected = compute_losses(
            MaskPrediction(logits.half().float(), scores.half().float()), targets, valid, weights()
        )
        assert parts.total.dtype == torch.float32
        assert torch.equal(parts.total, expected.total)


class TestWeights:
    @pytest.mark.parametrize(
        ("recipe", "expected"),
        [
            ("sam", weights("focal", "mse", 20.0, 1.0, 1.0)),
            ("sam2", weights("focal", "l1", 20.0, 1.0, 1.0)),
            ("medsam", weights("bce", "mse", 1.0, 1.0, 1.0)),
        ],
    )
    def test_they_are_the_recipe_s_unless_set(self, recipe, expected):
        assert LossWeights.from_settings(LossSettings(), RECIPES[recipe]) == expected

    def test_what_is_set_wins_also_when_it_is_zero(self):
        settings = LossSettings("balanced_bce", pixel=0.0, dice=2.0, iou=0.0, iou_loss="l1")
        found = LossWeights.from_settings(settings, RECIPES["sam"])
        assert found == weights("balanced_bce", "l1", 0.0, 2.0, 0.0)

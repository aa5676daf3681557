import pytest
import torch

from samtune.errors import UserError
from samtune.models.pretraining.extents import ExtentHead, extent_loss, extent_targets
from samtune.training.settings import ModelSettings

SIDE = 16


def masks(*windows):
    """(K, 16, 16) targets, each a rectangle (top, bottom, left, right), ends excluded."""
    targets = torch.zeros(len(windows), SIDE, SIDE, dtype=torch.uint8)
    for number, (top, bottom, left, right) in enumerate(windows):
        targets[number, top:bottom, left:right] = 255
    return targets


class TestTargets:
    def test_a_cell_knows_how_far_its_object_reaches(self):
        maps = extent_targets(masks((2, 10, 4, 8)), torch.tensor([0]), 1)
        left, top, right, bottom = (maps[0, 2:, 3, 5] ** 2 * SIDE - 0.5).tolist()
        assert (left, top) == pytest.approx((1, 1), abs=1e-4)
        assert (right, bottom) == pytest.approx((2, 6), abs=1e-4)

    def test_cells_outside_have_no_distances(self):
        maps = extent_targets(masks((2, 10, 4, 8)), torch.tensor([0]), 1)
        assert maps[0, 0].sum() == 32
        assert not maps[0, 2:, maps[0, 0] == 0].any()

    def test_a_part_lies_on_its_whole_in_whatever_order_they_come(self):
        whole, part = (0, 12, 0, 12), (4, 8, 4, 8)
        first = extent_targets(masks(whole, part), torch.tensor([0, 0]), 1)
        second = extent_targets(masks(part, whole), torch.tensor([0, 0]), 1)
        assert torch.equal(first, second)
        assert (first[0, 2, 5, 5] ** 2 * SIDE).item() == pytest.approx(1.5)

    def test_edges_lie_between_objects_and_around_them(self):
        maps = extent_targets(masks((0, 16, 0, 8), (0, 16, 8, 16)), torch.tensor([0, 0]), 1)
        assert maps[0, 1].sum() == 16
        assert maps[0, 1, :, 7].all()

    def test_objects_stay_on_their_own_images(self):
        maps = extent_targets(masks((0, 4, 0, 4), (8, 12, 8, 12)), torch.tensor([2, 0]), 3)
        assert maps[:, 0].sum((1, 2)).tolist() == [16, 0, 16]
        assert maps[0, 0, 9, 9] == maps[2, 0, 1, 1] == 1

    def test_an_object_without_a_whole_cell_is_passed_over(self):
        targets = masks((0, 4, 0, 4)) // 4
        assert not extent_targets(targets, torch.tensor([0]), 1).any()


class TestLoss:
    def test_the_truth_costs_next_to_nothing(self):
        targets = extent_targets(masks((2, 10, 4, 8)), torch.tensor([0]), 1)
        perfect = targets.clone()
        perfect[:, :2] = (targets[:, :2] - 0.5) * 100
        valid = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
        assert extent_loss(perfect, targets, valid) < 1e-6
        assert extent_loss(torch.zeros_like(perfect), targets, valid) > 1

    def test_distances_count_within_objects_only(self):
        targets = extent_targets(masks((2, 10, 4, 8)), torch.tensor([0]), 1)
        valid = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
        maps = targets.clone()
        maps[:, 2:, 12:] = 5
        assert extent_loss(maps, targets, valid) == extent_loss(targets, targets, valid)

    def test_padding_does_not_count(self):
        targets = extent_targets(masks((2, 10, 4, 8)), torch.tensor([0]), 1)
        valid = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
        valid[:, :, 8:] = False
        maps = targets.clone()
        maps[..., 8:] = 9
        assert extent_loss(maps, targets, valid) == extent_loss(targets, targets, valid)

    def test_an_image_without_objects_has_a_finite_loss(self):
        targets = extent_targets(torch.zeros(0, SIDE, SIDE, dtype=torch.uint8), torch.zeros(0), 1)
        valid = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
        assert extent_loss(torch.zeros_like(targets), targets, valid).isfinite()

    def test_maps_of_another_side_are_brought_to_the_targets(self):
        targets = extent_targets(masks((2, 10, 4, 8)), torch.tensor([0]), 1)
        valid = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
        assert extent_loss(torch.zeros(1, 6, 4, 4), targets, valid).isfinite()


def test_the_head_reads_four_by_four_cells_off_each_embedding():
    maps = ExtentHead(8)(torch.randn(2, 8, 3, 3))
    assert maps.shape == (2, 6, 12, 12)


def test_the_head_starts_with_the_usual_answer_and_does_not_see_what_is_the_same_everywhere():
    head = ExtentHead(8)
    embeddings = torch.randn(2, 8, 3, 3)
    assert torch.equal(head(embeddings), head(torch.zeros(2, 8, 3, 3)))
    torch.nn.init.normal_(head.read.weight)
    assert torch.allclose(head(embeddings + 5), head(embeddings), atol=1e-4)


def test_the_warm_up_needs_the_encoder_to_be_trained():
    with pytest.raises(UserError, match=r"set model\.mode full"):
        ModelSettings(mode="lora", with_encoder_warmup=True)

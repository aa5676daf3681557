import numpy as np
import pytest
import torch

from samtune.heads.instances import USUAL, InstanceHead, flattened, objects_of
from samtune.heads.network import Encoded

ENCODED = Encoded(64, 8)


def perfect_maps(labels):
    """What a head would say that knows the truth."""
    targets = InstanceHead.targets(labels[None], {}, {})
    there = (targets["objects"] > 0).astype(np.float32)
    return np.stack([there, targets["depth"], targets["centre"]])


def same_objects(found, labels):
    """Whether two label maps have the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([found.ravel(), labels.ravel()]), axis=1).T
    return len(pairs) == len(np.unique(found)) == len(np.unique(labels))


def squares(side, size, step):
    """Squares in rows, a gap between them where `step` is larger than `size`."""
    labels = np.zeros((side, side), np.int32)
    places = range(2, side - size, step)
    for number, (y, x) in enumerate(((y, x) for y in places for x in places), start=1):
        labels[y : y + size, x : x + size] = number
    return labels


class TestTargets:
    def test_of_a_square_of_seven(self):
        labels = np.zeros((1, 20, 20), np.int32)
        labels[0, 5:12, 5:12] = 7
        found = InstanceHead.targets(labels, {}, {})
        depth, centre = found["depth"], found["centre"]
        assert depth[8, 8] == 1
        assert depth[5, 8] == 0.25  # one of four pixels deep
        assert centre[8, 8] == 1
        assert centre[5, 5] == pytest.approx(0)  # the farthest from the middle
        assert centre[8, 5] == pytest.approx(1 - 3 / np.hypot(3, 3))
        assert depth[0, 0] == centre[0, 0] == 0
        assert found["is_whole"].all()

    def test_touching_objects_are_shallow_where_they_touch(self):
        labels = np.zeros((1, 20, 30), np.int32)
        labels[0, 5:14, 5:14], labels[0, 5:14, 14:23] = 1, 2
        depth = InstanceHead.targets(labels, {}, {})["depth"]
        assert depth[9, 13] == depth[9, 14] == pytest.approx(0.2)
        assert depth[9, 9] == depth[9, 18] == 1

    def test_an_object_at_the_edge_has_no_outline_there_and_no_known_middle(self):
        labels = np.zeros((1, 20, 20), np.int32)
        labels[0, 5:12, :6] = 1
        found = InstanceHead.targets(labels, {}, {})
        assert found["depth"][8, 0] == 1
        assert not found["is_whole"][8, 0]
        assert found["is_whole"][0, 0]

    def test_one_that_fills_the_view_is_deep_everywhere(self):
        found = InstanceHead.targets(np.ones((1, 9, 9), np.int32), {}, {})
        assert (found["depth"] == 1).all()

    def test_of_nothing(self):
        found = InstanceHead.targets(np.zeros((1, 9, 9), np.int32), {}, {})
        assert not found["objects"].any()
        assert not found["depth"].any()
        assert found["is_whole"].all()

    def test_the_smaller_of_two_that_overlap_is_seen(self):
        labels = np.zeros((2, 12, 12), np.int32)
        labels[0, 1:11, 1:11], labels[1, 4:7, 4:7] = 5, 9
        flat = flattened(labels)
        assert flat[5, 5] == 2
        assert flat[2, 2] == 1
        assert flat[0, 0] == 0

    def test_one_that_others_hide_is_not_there(self):
        labels = np.zeros((2, 12, 12), np.int32)
        labels[0, 1:5, 1:5], labels[1, 1:3, 1:5], labels[0, 8:10, 8:10] = 5, 9, 2
        hidden = labels[[0, 1, 1]].copy()
        hidden[2] = 0
        hidden[2, 3:5, 1:5] = 11
        found = InstanceHead.targets(hidden, {}, {})
        assert len(np.unique(found["objects"])) == 4  # the background and three
        assert found["depth"].max() == 1

    def test_objects_that_cover_all_are_not_taken_for_background(self):
        assert (flattened(np.full((1, 4, 4), 3, np.int32)) == 1).all()


class TestObjects:
    def test_nothing(self):
        labels, scores = objects_of(np.zeros((3, 32, 32), np.float32), USUAL)
        assert not labels.any()
        assert len(scores) == 0

    def test_one(self):
        truth = squares(32, 12, 40)
        labels, scores = objects_of(perfect_maps(truth), USUAL)
        assert same_objects(labels, truth)
        assert scores.shape == (1,)
        assert 0.8 < scores[0] <= 1

    def test_five_hundred(self):
        truth = squares(340, 11, 14)
        assert truth.max() > 500
        labels, scores = objects_of(perfect_maps(truth), USUAL)
        assert same_objects(labels, truth)
        assert len(scores) == truth.max()

    def test_those_that_touch_stay_apart(self):
        truth = squares(100, 16, 16)
        labels, _ = objects_of(perfect_maps(truth), USUAL)
        assert labels.max() == truth.max()
        assert (labels > 0).sum() == (truth > 0).sum()

    def test_a_piece_without_a_seed_is_an_object(self):
        maps = np.zeros((3, 32, 32), np.float32)
        maps[0, 4:9, 4:9] = 0.9
        labels, scores = objects_of(maps, USUAL)
        assert labels.max() == 1
        assert scores[0] < 0.1  # nobody is sure of it

    def test_what_is_too_small_goes(self):
        maps = np.zeros((3, 32, 32), np.float32)
        maps[0, 4:7, 4:7] = 0.9
        assert not objects_of(maps, USUAL)[0].any()
        assert objects_of(maps, USUAL | {"min_area": 9})[0].max() == 1


class TestLoss:
    def test_cells_that_do_not_count_change_nothing(self):
        torch.manual_seed(0)
        head = InstanceHead(ENCODED, {"tile": 0})
        labels = np.stack([squares(32, 8, 12)] * 2)
        parts = [InstanceHead.targets(each[None], {}, {}) for each in labels]
        targets = {k: torch.from_numpy(np.stack([p[k] for p in parts])) for k in parts[0]}
        valid = torch.ones(2, 32, 32, dtype=torch.bool)
        valid[:, 20:] = False
        maps = torch.randn(2, 3, 32, 32)
        changed = maps.clone()
        changed[:, :, 20:] += 5
        values = [head.loss(each, targets, valid)["loss"] for each in (maps, changed)]
        assert values[0] == values[1]
        nothing = head.loss(maps, targets, torch.zeros_like(valid))["loss"]
        assert torch.isfinite(nothing)

    def test_the_truth_has_less_loss_than_anything_else(self):
        head = InstanceHead(ENCODED, {"tile": 0})
        truth = squares(32, 8, 12)
        parts = InstanceHead.targets(truth[None], {}, {})
        targets = {k: torch.from_numpy(v[None]) for k, v in parts.items()}
        valid = torch.ones(1, 32, 32, dtype=torch.bool)
        right = torch.logit(torch.from_numpy(perfect_maps(truth))[None].clamp(1e-3, 1 - 1e-3))
        assert head.loss(right, targets, valid)["loss"] < 0.02
        assert head.loss(-right, targets, valid)["loss"] > 1

    def test_the_score_of_the_truth_is_one(self):
        head = InstanceHead(ENCODED, {"tile": 0})
        truth = squares(64, 12, 16)
        targets = InstanceHead.targets(truth[None], {}, {})
        assert head.score(perfect_maps(truth), targets, np.ones((64, 64), np.bool_)) == 1

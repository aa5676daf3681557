import numpy as np
import pytest
import torch

from samtune.heads.network import Encoded
from samtune.heads.semantic import SemanticHead, balanced_weights, class_map

NAMES = ["background", "crop", "road", "water"]
SETTINGS = {"tile": 0, "classes": NAMES, "weights": [1.0, 1.0, 1.0, 1.0]}
HEAD = SemanticHead(Encoded(64, 8), SETTINGS)


def three_classes():
    """Labels whose numbers are not those of the classes."""
    labels = np.zeros((1, 16, 16), np.int32)
    labels[0, :4], labels[0, 6:9], labels[0, 12:, :8] = 30, 7, 12
    return labels, {30: "water", 7: "crop", 12: "road"}


class TestClassMap:
    def test_of_three_classes(self):
        found = class_map(*three_classes(), NAMES)
        assert [found[0, 0], found[7, 0], found[13, 0], found[13, 9]] == [3, 1, 2, 0]

    def test_of_nothing(self):
        assert not class_map(np.zeros((1, 4, 4), np.int32), {}, NAMES).any()

    def test_objects_without_a_class_are_objects(self):
        labels = np.ones((1, 4, 4), np.int32)
        assert (class_map(labels, {}, ["background", "object"]) == 1).all()
        assert (class_map(labels, {1: ""}, ["background", "object"]) == 1).all()

    def test_a_class_that_training_did_not_know_is_background(self):
        assert not class_map(np.ones((1, 4, 4), np.int32), {1: "snow"}, NAMES).any()

    def test_a_later_layer_lies_on_top(self):
        labels = np.zeros((2, 4, 4), np.int32)
        labels[0], labels[1, :2] = 1, 2
        found = class_map(labels, {1: "crop", 2: "road"}, NAMES)
        assert (found[:2] == 2).all()
        assert (found[2:] == 1).all()


def batch(truth):
    return {"classes": torch.from_numpy(truth[None])}


class TestLoss:
    def test_the_truth_has_the_least(self):
        truth = class_map(*three_classes(), NAMES)
        right = 20 * torch.nn.functional.one_hot(torch.from_numpy(truth), 4).permute(2, 0, 1)[None]
        valid = torch.ones(1, 16, 16, dtype=torch.bool)
        assert HEAD.loss(right.float(), batch(truth), valid)["loss"] < 1e-3
        assert HEAD.loss(-right.float(), batch(truth), valid)["loss"] > 5

    def test_what_is_ignored_changes_nothing(self):
        truth, maps = class_map(*three_classes(), NAMES), torch.randn(1, 4, 16, 16)
        valid = torch.ones(1, 16, 16, dtype=torch.bool)
        valid[:, 6:] = False
        other = maps.clone()
        other[:, :, 6:] += torch.randn(4)[:, None, None]
        one, two = (HEAD.loss(each, batch(truth), valid)["loss"] for each in (maps, other))
        assert one == two

    def test_a_view_in_which_nothing_counts(self):
        maps = torch.randn(1, 4, 16, 16, requires_grad=True)
        nothing = torch.zeros(1, 16, 16, dtype=torch.bool)
        loss = HEAD.loss(maps, batch(np.zeros((16, 16), np.int64)), nothing)["loss"]
        loss.backward()
        assert loss == 0
        assert not maps.grad.any()


class TestScore:
    ALL = np.ones((16, 16), np.bool_)

    def of(self, truth, found):
        maps = np.eye(4, dtype=np.float32)[found].transpose(2, 0, 1)
        return HEAD.score(maps, {"classes": truth}, self.ALL)

    def test_is_the_mean_over_the_classes_that_are_there_or_found(self):
        truth = np.zeros((16, 16), np.int64)
        truth[:8], truth[8:12] = 1, 2
        found = truth.copy()
        found[:4] = 0
        assert self.of(truth, truth) == 1
        assert self.of(truth, found) == pytest.approx((0.5 + 1) / 2)
        found[15] = 3
        assert self.of(truth, found) == pytest.approx((0.5 + 1 + 0) / 3)

    def test_of_nothing(self):
        nothing = np.zeros((16, 16), np.int64)
        assert self.of(nothing, nothing) == 1


def test_weights_grow_with_the_root_of_how_rare_a_class_is():
    weights = balanced_weights([0.64, 0.16, 0.04])
    assert weights[1] / weights[0] == pytest.approx(2, rel=1e-3)
    assert weights[2] / weights[0] == pytest.approx(4, rel=1e-3)
    assert np.mean(weights) == pytest.approx(1, rel=1e-3)
    assert max(balanced_weights([1.0, 1e-9])) / min(balanced_weights([1.0, 1e-9])) < 10.1


def test_decoding_takes_the_likeliest_class():
    maps = np.array([[[0.2, 0.7]], [[0.5, 0.1]], [[0.2, 0.1]], [[0.1, 0.1]]], np.float32)
    labels, sure = HEAD.decode(maps)
    assert labels.tolist() == [[1, 0]]
    assert sure == pytest.approx(np.array([[0.5, 0.7]]))

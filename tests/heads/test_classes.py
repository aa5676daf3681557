import numpy as np
import pytest
import torch

from samtune.heads.classes import ClassHead, fitting_temperature, pool, softmax
from samtune.heads.network import Encoded

SETTINGS = {"tile": 0, "classes": ["cell", "debris", "egg"], "weights": [1.0, 1.0, 1.0]}
HEAD = ClassHead(Encoded(64, 8), SETTINGS)
VALID = np.ones((16, 16), np.bool_)


def labels_of_three():
    labels = np.zeros((1, 16, 16), np.int32)
    labels[0, :4, :4], labels[0, 6:9, 6:9], labels[0, 12:, 12:] = 5, 8, 2
    return labels, {5: "egg", 8: "cell", 2: "debris"}


def right_maps(targets):
    kinds = np.maximum(targets["kinds"] - 1, 0)
    return np.eye(3, dtype=np.float32)[kinds].transpose(2, 0, 1) * 9


def test_targets_tell_the_class_of_each_object():
    targets = ClassHead.targets(*labels_of_three(), SETTINGS)
    assert [targets["kinds"][0, 0], targets["kinds"][7, 7], targets["kinds"][13, 13]] == [3, 1, 2]
    assert targets["kinds"][10, 0] == 0
    unknown = ClassHead.targets(labels_of_three()[0], {5: "stone"}, SETTINGS)
    assert not unknown["kinds"].any()


def test_objects_are_pooled_within_their_image():
    maps = torch.arange(2 * 2 * 2 * 2, dtype=torch.float32).reshape(2, 2, 2, 2)
    objects = torch.tensor([[[1, 1], [0, 3]], [[1, 0], [0, 0]]])
    kinds = torch.tensor([[[2, 2], [0, 0]], [[1, 0], [0, 0]]])
    pooled, classes = pool(maps, objects, kinds)
    assert pooled.tolist() == [[0.5, 4.5], [3, 7], [8, 12]]
    assert classes.tolist() == [2, 0, 1]


def test_loss_of_the_truth_and_of_its_opposite():
    targets = ClassHead.targets(*labels_of_three(), SETTINGS)
    batch = {name: torch.from_numpy(each[None]) for name, each in targets.items()}
    maps, valid = torch.from_numpy(right_maps(targets))[None], torch.from_numpy(VALID[None])
    assert HEAD.loss(maps, batch, valid)["loss"] < 1e-3
    assert HEAD.loss(-maps, batch, valid)["loss"] > 4


@pytest.mark.parametrize("classes", [{}, {5: "stone"}])
def test_a_view_without_known_objects_costs_nothing(classes):
    targets = ClassHead.targets(labels_of_three()[0], classes, SETTINGS)
    batch = {name: torch.from_numpy(each[None]) for name, each in targets.items()}
    maps = torch.randn(1, 3, 16, 16, requires_grad=True)
    loss = HEAD.loss(maps, batch, torch.from_numpy(VALID[None]))["loss"]
    loss.backward()
    assert loss == 0
    assert np.isnan(HEAD.score(maps.detach()[0].numpy(), targets, VALID))


def test_score_is_the_share_of_objects_that_are_right():
    targets = ClassHead.targets(*labels_of_three(), SETTINGS)
    maps = right_maps(targets)
    assert HEAD.score(maps, targets, VALID) == 1
    maps[:, :4, :4] = -maps[:, :4, :4]
    assert HEAD.score(maps, targets, VALID) == pytest.approx(2 / 3)


class TestProbabilities:
    def test_three_classes_in_one_image_and_an_empty_mask(self):
        labels, classes = labels_of_three()
        maps = right_maps(ClassHead.targets(labels, classes, SETTINGS))
        masks = [labels[0] == number for number in (5, 8, 2)] + [labels[0] == 99]
        told = HEAD.probabilities(maps, masks)
        assert told.argmax(1)[:3].tolist() == [2, 0, 1]
        assert told[3] == pytest.approx([1 / 3] * 3)
        assert told.sum(1) == pytest.approx(1)

    def test_a_temperature_makes_them_less_sure_and_changes_no_class(self):
        maps = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
        cold = ClassHead(Encoded(64, 8), {**SETTINGS, "temperature": 4.0})
        one, other = (head.probabilities(maps, [VALID]) for head in (HEAD, cold))
        assert one.argmax() == other.argmax()
        assert other.max() < one.max()

    def test_of_no_masks(self):
        assert HEAD.probabilities(np.zeros((3, 4, 4), np.float32), []).shape == (0, 3)


def test_the_temperature_that_was_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    chances = softmax(logits)
    truth = np.array([rng.choice(3, p=each) for each in chances])
    assert fitting_temperature(logits * 3, truth) == pytest.approx(3, rel=0.15)

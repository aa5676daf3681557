"""What holds a network to the answers of its base on general pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samtune.data.dataset import PromptedDataset, PromptSettings
from samtune.data.drawn.source import DrawnPictures
from samtune.models.loading import load_model
from samtune.models.lora import base_beside, prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.prompts.protocols import RECIPES
from samtune.training.general import GeneralPictures, distance
from samtune.types import MaskPrediction


def prediction(logits, scores):
    return MaskPrediction(torch.tensor(logits), torch.tensor(scores), None)


@pytest.fixture
def sam():
    sam = load_model("nano", image_size=64)
    sam.with_multimask = True
    prepare_for_training(sam, "lora", LoraSettings(), "lora", False)
    return sam.train()


@pytest.fixture
def open_pictures(sam):
    def opened(batch_size, rank=0):
        settings = PromptSettings(sam.frame, sam.mask_side, 32, max_objects=2)
        pictures = DrawnPictures("train", num_pictures=8)
        dataset = PromptedDataset(pictures, settings, RECIPES["mixed"], True)
        return GeneralPictures(dataset, base_beside(sam), batch_size, 0, rank)

    return opened


def changed(sam):
    """The adapter moved away from the base, as by training."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in sam.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05, generator=generator)
    return sam


def test_the_distance_of_equal_answers_is_zero_and_of_opposite_ones_large():
    logits = [[[[-8.0, 8.0], [8.0, -8.0]], [[3.0, -3.0], [0.5, 0.1]]]]
    wanted = prediction(logits, [[0.9, 0.4]])
    valid = torch.ones(1, 2, 2)
    np.testing.assert_allclose(distance(wanted, wanted, valid), [0.0], atol=1e-6)
    opposite = prediction(np.negative(logits).tolist(), [[0.9, 0.4]])
    assert distance(opposite, wanted, valid)[0] > 1
    scored = prediction(logits, [[0.5, 0.4]])
    np.testing.assert_allclose(distance(scored, wanted, valid), [0.08], atol=1e-6)  # half of 0.4²


def test_padding_does_not_count():
    wanted = prediction([[[[-4.0, 4.0], [4.0, -4.0]]]], [[0.5]])
    found = prediction([[[[-4.0, 4.0], [-9.0, 9.0]]]], [[0.5]])
    above = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    np.testing.assert_allclose(distance(found, wanted, above), [0.0], atol=1e-6)


def test_an_untrained_adapter_answers_as_its_base(sam, open_pictures):
    loss = open_pictures(8).loss(sam, (0, 0))
    assert float(loss) == pytest.approx(0, abs=1e-5)


def test_a_step_along_the_loss_brings_the_answers_back(sam, open_pictures):
    pictures = open_pictures(4)
    changed(sam)
    before = pictures.loss(sam, (0, 0))
    assert before > 0.01
    before.backward()
    trained = [p for p in sam.parameters() if p.grad is not None]
    assert trained, "adapter layers have gradients"
    torch.optim.SGD(trained, lr=0.01).step()
    assert pictures.loss(sam, (0, 0)) < before
    assert sam.training, "the base's answer leaves the network as it was"
    assert all(p.requires_grad for p in trained)


def test_the_same_place_asks_the_same_and_each_process_asks_something_else(sam, open_pictures):
    changed(sam)
    first = float(open_pictures(8).loss(sam, (1, 3)))
    assert first == float(open_pictures(8).loss(sam, (1, 3)))
    assert first != float(open_pictures(8).loss(sam, (1, 4)))
    assert first != float(open_pictures(8, rank=1).loss(sam, (1, 3)))


@pytest.mark.parametrize(
    ("batch_size", "every", "num_each"), [(1, 8, 1), (4, 2, 1), (8, 1, 1), (16, 1, 2)]
)
def test_there_is_one_picture_for_about_eight_images(open_pictures, batch_size, every, num_each):
    pictures = open_pictures(batch_size)
    assert (pictures.every, pictures.num_each) == (every, num_each)


def test_not_every_small_step_has_a_picture(open_pictures):
    pictures = open_pictures(1)
    assert [pictures.is_due(step) for step in range(9)] == [True, *[False] * 7, True]


def test_pictures_in_which_nothing_can_be_asked_are_passed_over(sam, open_pictures):
    pictures = open_pictures(4)
    pictures.dataset.settings = replace(pictures.dataset.settings, min_area=10**6)
    assert pictures.loss(sam, (0, 0)) is None

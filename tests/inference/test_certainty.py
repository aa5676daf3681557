"""How certain a model is of its masks."""

import math

import pytest
import torch

from samtune.inference.certainty import certainty
from samtune.models.loading import load_model


@pytest.fixture(scope="module")
def sam():
    return load_model("nano").eval()


def test_it_is_how_far_probabilities_lie_above_a_half_in_the_mask(sam):
    logits = torch.full((4, 6, 7), -20.0)
    logits[0, :3] = 30.0
    logits[1, :3] = math.log(3)  # a probability of 0.75
    logits[2, 0, :2] = torch.tensor([math.log(3), 30.0])
    # what is outside of the mask has no say, and an empty mask nothing that speaks for it
    assert certainty(sam, logits) == pytest.approx([1.0, 0.5, 0.75, 0.0])


def test_logits_that_sam_has_drawn_alone_say_too_little(sam):
    sharpeners = sam.base_sharpeners
    try:
        sam.base_sharpeners = torch.nn.ModuleList()
        assert certainty(sam, torch.full((2, 3, 3), 9.0)) == [None, None]
    finally:
        sam.base_sharpeners = sharpeners


def test_half_precision_is_no_less_certain(sam):
    logits = torch.full((1, 300, 300), 30.0, dtype=torch.float16)
    assert certainty(sam, logits) == [1.0]

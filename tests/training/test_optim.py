"""Who learns how fast, who decays, and how the learning rate moves."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from samtune.errors import UserError
from samtune.models import encoder_steps
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.training.optim import build_optimizer, build_schedule, parameter_groups
from samtune.training.settings import OptimSettings


def blocks_after(name):
    """Of a network with two blocks."""
    places = {"layers.1": 1, "layers.0": 2, "pos_embed": 3}
    return next((depth for part, depth in places.items() if part in name), 0)


def factors(settings, num_steps, count):
    """The learning rate of the first `count` steps, as a share of its peak."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = build_schedule(optimizer, settings, num_steps)
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"] / 2.0)
        optimizer.step()
        schedule.step()
    return rates


class TestGroups:
    def named(self):
        return [
            ("mask_decoder.a.weight", nn.Parameter(torch.zeros(2, 2))),
            ("mask_decoder.a.bias", nn.Parameter(torch.zeros(2))),
            ("vision_encoder.layers.1.b.weight", nn.Parameter(torch.zeros(2, 2))),
            ("vision_encoder.layers.0.b.weight", nn.Parameter(torch.zeros(2, 2))),
            ("vision_encoder.layers.0.b.bias", nn.Parameter(torch.zeros(2))),
            ("vision_encoder.layers.0.c.weight", nn.Parameter(torch.zeros(2, 2, 2))),
            ("vision_encoder.pos_embed", nn.Parameter(torch.zeros(1, 2, 2, 2))),
            ("vision_encoder.frozen", nn.Parameter(torch.zeros(2, 2), requires_grad=False)),
        ]

    def test_the_rate_falls_with_depth_and_vectors_do_not_decay(self):
        named = self.named()
        settings = OptimSettings(lr=0.1, weight_decay=0.05, layer_decay=0.5)
        names = {id(parameter): name for name, parameter in named}
        found = {
            names[id(parameter)]: (group["lr"], group["weight_decay"])
            for group in parameter_groups(named, settings, blocks_after)
            for parameter in group["params"]
        }
        assert found == {
            "mask_decoder.a.weight": (0.1, 0.05),
            "mask_decoder.a.bias": (0.1, 0.0),
            "vision_encoder.layers.1.b.weight": (0.05, 0.05),
            "vision_encoder.layers.0.b.weight": (0.025, 0.05),
            "vision_encoder.layers.0.b.bias": (0.025, 0.0),
            "vision_encoder.layers.0.c.weight": (0.025, 0.05),
            "vision_encoder.pos_embed": (0.0125, 0.05),
        }

    def test_parameters_alike_share_a_group(self):
        groups = parameter_groups(self.named(), OptimSettings(layer_decay=0.5), blocks_after)
        assert sorted(len(group["params"]) for group in groups) == [1, 1, 1, 1, 1, 2]

    def test_without_layer_decay_all_have_the_same_rate(self):
        groups = parameter_groups(self.named(), OptimSettings(lr=0.1), blocks_after)
        assert {group["lr"] for group in groups} == {0.1}

    def test_every_trainable_parameter_of_a_tuned_network_is_in_exactly_one_group(self):
        sam = load_model("nano", image_size=64)
        prepare_for_training(sam, "lora", LoraSettings(rank=2), "full")
        optimizer = build_optimizer(
            sam, OptimSettings(layer_decay=0.8), partial(encoder_steps.blocks_after, sam)
        )
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert len(held) == len(set(held))
        assert set(held) == {id(p) for p in sam.parameters() if p.requires_grad}
        rates = {round(group["lr"] / 1e-4, 6) for group in optimizer.param_groups}
        assert rates == {round(0.8**depth, 6) for depth in range(7)}


class TestOptimizer:
    def test_it_is_adamw_with_the_given_betas(self):
        optimizer = build_optimizer(
            nn.Linear(2, 2), OptimSettings(beta1=0.8, beta2=0.9), blocks_after
        )
        assert isinstance(optimizer, torch.optim.AdamW)
        assert optimizer.defaults["betas"] == (0.8, 0.9)

    @pytest.mark.parametrize("lr", [0.0, -1e-4, float("nan")])
    def test_a_learning_rate_that_is_not_positive_is_refused(self, lr):
        with pytest.raises(UserError, match=r"optim\.lr is .*above 0"):
            build_optimizer(nn.Linear(2, 2), OptimSettings(lr=lr), blocks_after)


class TestSchedule:
    def test_it_warms_up_linearly_and_then_stands_at_the_peak(self):
        rates = factors(OptimSettings(warmup_steps=4), num_steps=100, count=5)
        assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])

    def test_it_falls_as_a_cosine_to_the_final_share(self):
        settings = OptimSettings(warmup_steps=4, final_lr=0.1)
        rates = factors(settings, num_steps=44, count=50)
        for step, progress in ((4, 0.0), (14, 0.25), (24, 0.5), (34, 0.75), (44, 1.0)):
            expected = 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
            assert rates[step] == pytest.approx(expected)
        assert rates[24] == pytest.approx(0.55)

    def test_it_stays_at_the_final_share_afterwards(self):
        rates = factors(OptimSettings(warmup_steps=2, final_lr=0.1), num_steps=20, count=30)
        assert rates[20:] == pytest.approx([0.1] * 10)

    def test_it_never_rises_after_the_warm_up(self):
        rates = factors(OptimSettings(warmup_steps=5), num_steps=60, count=60)
        assert rates[5:] == sorted(rates[5:], reverse=True)

    def test_the_warm_up_takes_at_most_a_tenth_of_all_steps(self):
        rates = factors(OptimSettings(warmup_steps=50), num_steps=40, count=5)
        assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
        assert factors(OptimSettings(warmup_steps=50), num_steps=5, count=1) == [1.0]

    def test_without_a_warm_up_it_starts_at_the_peak(self):
        assert factors(OptimSettings(warmup_steps=0), num_steps=100, count=1) == [1.0]

    def test_groups_keep_their_ratio(self):
        groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.5)]
        optimizer = torch.optim.SGD(groups)
        schedule = build_schedule(optimizer, OptimSettings(warmup_steps=4), 100)
        for _ in range(30):
            first, second = (group["lr"] for group in optimizer.param_groups)
            assert second == pytest.approx(0.5 * first)
            optimizer.step()
            schedule.step()

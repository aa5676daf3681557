"""Muon and AdamW as one optimizer: each steps its own groups as torch's own would."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from samtune.errors import UserError
from samtune.heads.instances import InstanceHead
from samtune.heads.network import Encoded
from samtune.models import encoder_steps
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.training import muon as muon_module
from samtune.training.muon import MuonAdamW, orthogonal
from samtune.training.optim import build_optimizer, build_schedule, is_block_matrix
from samtune.training.settings import OptimSettings


def none_after(name):
    return 0


SETTINGS = OptimSettings(lr=1e-2, muon_lr=5e-2, weight_decay=0.1, warmup_steps=0)


class Network(nn.Module):
    """A block with a matrix and a bias, and an embedding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(4, 6)])
        self.token = nn.Embedding(3, 4)

    def forward(self):
        return self.layers[0](self.token.weight).square().sum()


def take_steps(network, optimizer, count):
    for _ in range(count):
        optimizer.zero_grad()
        network().backward()
        optimizer.step()


@pytest.fixture
def network():
    return Network()


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("sam.network.vision_encoder.layers.0.attn.qkv.weight", (6, 2), True),
        ("sam.network.mask_decoder.transformer.layers.1.mlp.lin1.weight", (6, 2), True),
        ("sam.network.vision_encoder.layers.0.attn.qkv.bias", (6,), False),
        ("sam.network.vision_encoder.layers.0.attn.rel_pos_h", (6, 2), False),
        ("sam.network.vision_encoder.neck.conv1.weight", (6, 2, 1, 1), False),
        ("sam.network.mask_decoder.iou_token.weight", (1, 6), False),
        ("base_model.vision_encoder.layers.0.attn.qkv.lora_A.default.weight", (6, 2), False),
    ],
)
def test_only_full_matrices_of_blocks_are_for_muon(name, shape, expected):
    assert is_block_matrix(name, nn.Parameter(torch.zeros(shape))) == expected


def test_each_group_moves_as_with_torchs_own_optimizer(network, monkeypatch):
    # torch's own turns matrices in bfloat16 on every device
    monkeypatch.setattr(muon_module, "precision_of", lambda _: torch.bfloat16)
    apart = copy.deepcopy(network)
    optimizer = build_optimizer(network, SETTINGS, none_after)
    muon = torch.optim.Muon([apart.layers[0].weight], lr=5e-2, weight_decay=0.1)
    adamw = torch.optim.AdamW(
        [
            {"params": [apart.layers[0].bias], "weight_decay": 0.0},
            {"params": [apart.token.weight], "weight_decay": 0.1},
        ],
        lr=1e-2,
    )
    take_steps(network, optimizer, 5)
    for _ in range(5):
        apart.zero_grad()
        apart().backward()
        muon.step()
        adamw.step()
    for ours, theirs in zip(network.parameters(), apart.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_without_muon_lr_it_is_plain_adamw(network):
    assert type(build_optimizer(network, OptimSettings(), none_after)) is torch.optim.AdamW


def test_lora_layers_are_left_to_adamw():
    sam = load_model("nano", image_size=64)
    prepare_for_training(sam, "lora", LoraSettings(rank=2), "frozen")
    assert (
        type(build_optimizer(sam, SETTINGS, partial(encoder_steps.blocks_after, sam)))
        is torch.optim.AdamW
    )


def test_the_schedule_reaches_both(network):
    optimizer = build_optimizer(network, SETTINGS, none_after)
    schedule = build_schedule(optimizer, SETTINGS, num_steps=10)
    for _ in range(5):
        take_steps(network, optimizer, 1)
        schedule.step()
    share = optimizer.adamw.param_groups[0]["lr"] / 1e-2
    assert share == pytest.approx(0.505)
    (turned,) = (group for group in optimizer.param_groups if group["with_muon"])
    assert turned["lr"] == pytest.approx(share * 5e-2)


def test_a_resumed_run_goes_on_as_if_undisturbed(network):
    optimizer = build_optimizer(network, SETTINGS, none_after)
    take_steps(network, optimizer, 3)
    saved = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    take_steps(network, optimizer, 3)
    resumed = Network()
    resumed.load_state_dict(saved[0])
    again = build_optimizer(resumed, SETTINGS, none_after)
    again.load_state_dict(saved[1])
    take_steps(resumed, again, 3)
    for ours, theirs in zip(network.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_kernel_is_a_matrix_of_outputs_by_all_that_each_sees(network):
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    groups = [
        {"params": list(network.parameters()), "lr": 0.0, "weight_decay": 0.0},
        {"params": [kernel, matrix], "lr": 0.1, "weight_decay": 0.1, "with_muon": True},
    ]
    optimizer = MuonAdamW(groups, (0.9, 0.999))
    for _ in range(3):
        kernel.grad = torch.randn_like(kernel)
        matrix.grad = kernel.grad.flatten(1)
        optimizer.step()
    assert torch.equal(kernel.flatten(1), matrix)


@pytest.mark.parametrize("shape", [(8, 50), (50, 8), (16, 16)])
def test_all_directions_of_a_step_are_alike(shape):
    torch.manual_seed(0)
    found = torch.linalg.svdvals(orthogonal(torch.randn(shape) * 100).float())
    assert found.min() > 0.4
    assert found.max() < 1.5


def test_a_head_learns_its_hidden_convolutions_by_muon():
    head = InstanceHead(Encoded(64, 8, (4, 6)), {"tile": 64})
    names = [n for n, parameter in head.named_parameters() if is_block_matrix(n, parameter)]
    others = {n for n, parameter in head.named_parameters() if parameter.ndim == 4} - set(names)
    assert len(names) == 15
    assert others == {
        "network.stem.0.0.weight", "network.last.weight",
        "network.details.0.weight", "network.details.1.weight",
    }  # fmt: skip


@pytest.mark.parametrize("lr", [-1.0, float("nan")])
def test_a_negative_rate_is_refused(network, lr):
    with pytest.raises(UserError, match=r"optim\.muon_lr is"):
        build_optimizer(network, OptimSettings(muon_lr=lr), none_after)

"""Networks small enough to build in every test: 64 pixels, four blocks, 32 channels.

Blocks 0 and 2 are windowed, blocks 1 and 3 global, so that both kinds are always there.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from samtune.models.backend import BaseIdentity, Sam
from samtune.models.pretraining.initialise import build_random
from samtune.models.registry import REGISTRY
from samtune.models.saving import save_official, save_transformers
from samtune.types import Prompts


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """Whatever a test does, no hub is asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def tiny_spec():
    return replace(
        REGISTRY["nano"],
        name="tiny",
        image_size=64,
        vision={
            "hidden_size": 48,
            "output_channels": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "window_size": 2,
            "global_attn_indexes": [1, 3],
            "num_pos_feats": 16,
        },
        prompt_encoder={"hidden_size": 32},
        mask_decoder={"hidden_size": 32, "mlp_dim": 64, "iou_head_hidden_dim": 24},
    )


@pytest.fixture(scope="session")
def make_sam(tiny_spec):
    """A function that builds a fresh tiny base from a seed."""

    def make(seed=0):
        identity = BaseIdentity("tiny", "", 64, "", is_random=True)
        return Sam(build_random(tiny_spec, seed), identity).eval()

    return make


@pytest.fixture(scope="session")
def base(make_sam):
    """A tiny base that no test may change."""
    return make_sam()


@pytest.fixture(scope="session")
def pixels():
    """Two images as the network takes them, (2, 3, 64, 64)."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def prompts():
    """Five objects prompted in every way; `image_index` says which of two images each is on."""
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(5, 2, 2, generator=generator) * 63
    labels = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 1], [1, 0]])
    corners = torch.rand(5, 2, 2, generator=generator).sort(dim=1).values * 63
    masks = torch.randn(5, 1, 16, 16, generator=generator) * 4
    return SimpleNamespace(
        image_index=torch.tensor([1, 0, 0, 1, 0]),
        kinds={
            "points": Prompts(points, labels),
            "boxes": Prompts(boxes_xyxy=corners.reshape(5, 4)),
            "both": Prompts(points, labels, corners.reshape(5, 4)),
            "points and masks": Prompts(points, labels, None, masks),
            "masks alone": Prompts(mask_inputs=masks),
        },
    )


@pytest.fixture(scope="session")
def answer(pixels, prompts):
    """A function that gives a network's logits and scores for every kind of prompt, joined."""

    @torch.no_grad()
    def ask(sam):
        features = sam.encode(pixels)
        parts = [features.main.flatten()]
        for kind in prompts.kinds.values():
            found = sam.decode(features, prompts.image_index, kind, multimask_output=True)
            parts += [found.low_res_logits.flatten(), found.iou_scores.flatten()]
        return torch.cat(parts)

    return ask


@pytest.fixture(scope="session")
def shake():
    """A function that moves every trainable parameter of a network, as training would."""

    @torch.no_grad()
    def move(sam, seed=3):
        generator = torch.Generator().manual_seed(seed)
        for parameter in sam.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.03 * noise)

    return move


@pytest.fixture(scope="session")
def base_folder(base, tmp_path_factory):
    """The tiny base as a transformers folder."""
    return save_transformers(base, tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def official_file(base, tmp_path_factory):
    """The tiny base as an official file."""
    path = tmp_path_factory.mktemp("official") / "tiny.pth"
    save_official(base, path)
    return path

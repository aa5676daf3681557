"""Tiny tuned models of every family, each with its base in a folder."""

import pytest
import torch

from samtune.data.readers.mask_folder import MaskFolder
from samtune.exports.exported import ExportSettings
from samtune.models.families.edgetam import EdgeTamFamily
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.saving import save_transformers
from samtune.models.settings import LoraSettings
from samtune.reading import Reading
from tests.models.families.tiny import FAMILY_NAMES, build_member


@pytest.fixture(autouse=True)
def _edgetam_needs_no_timm_here(monkeypatch):
    monkeypatch.setattr(EdgeTamFamily, "require", classmethod(lambda cls: None))


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """Whatever a test does, no hub is asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(params=FAMILY_NAMES)
def family_name(request):
    return request.param


@pytest.fixture(scope="session")
def settings(discs):
    return ExportSettings("tiny", source=MaskFolder(discs / "val"), max_images=1)


@torch.no_grad()
def shake(sam, seed=3):
    """Move every trainable parameter, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in sam.parameters():
        if parameter.requires_grad:
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture(scope="session")
def make_tuned(tmp_path_factory):
    """A function that gives a tuned network of a family, whose base is a folder."""

    def make(name="sam", **lora):
        folder = tmp_path_factory.mktemp("bases") / f"base_{name}"
        save_transformers(build_member(name), folder)
        sam = load_model(folder)
        torch.manual_seed(0)
        encoder = "none" if name == "edgetam" else "all"
        prepare_for_training(sam, "lora", LoraSettings(rank=2, encoder=encoder, **lora), "full")
        shake(sam)
        sam.reading = Reading(stretch="auto")
        return sam.eval()

    return make


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder

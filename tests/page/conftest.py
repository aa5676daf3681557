"""A tuned nano whose adapter changes its answers, and folders of pictures with discs."""

import numpy as np
import pytest
import torch
from PIL import Image

from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.saving import save_tuned
from samtune.models.settings import LoraSettings
from samtune.page.images import open_images
from samtune.page.session import Session
from tests.conftest import draw_discs


@pytest.fixture(scope="session")
def tuned_run(tmp_path_factory):
    """A folder with an adapter on nano, drawn at random: tuned and base differ."""
    sam = load_model("nano")
    prepare_for_training(sam, "lora", LoraSettings(encoder="last", last_blocks=2), "lora")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sam.network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05, generator=generator)
    folder = tmp_path_factory.mktemp("page") / "run"
    save_tuned(sam, folder)
    return folder


@pytest.fixture(scope="session")
def tuned(tuned_run):
    return load_model(tuned_run)


@pytest.fixture
def pictures(tmp_path):
    """A folder with three pictures, without labels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        image, _ = draw_discs((90, 120), 3, number)
        Image.fromarray(image).save(folder / f"p{number}.png")
    return folder


@pytest.fixture
def open_it(tuned, pictures, tmp_path):
    """Opens a session of the pictures, the same folder of annotations each time."""

    def opened(images=None, **more):
        found = open_images([images or pictures], tuned.reading)
        return Session(tuned, True, found, tmp_path / "kept", **more)

    return opened


@pytest.fixture
def square():
    """A mask by hand: 4 rows from 10 on, 6 columns from 20 on."""
    from samtune.inference.prelabel.placed_mask import PlacedMask

    return PlacedMask(10, 20, np.ones((4, 6), np.bool_))

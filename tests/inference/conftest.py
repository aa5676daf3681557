"""A network of nano's size with random weights, as an official file and as transformers' own."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from samtune.models.backend import BaseIdentity, Sam
from samtune.models.loading import load_model
from samtune.models.pretraining.initialise import build_random
from samtune.models.registry import REGISTRY
from samtune.models.saving import save_official


@pytest.fixture(scope="session")
def nano(tmp_path_factory):
    """`plain` is transformers' network, `sam` what `load_model` makes of its official file."""
    plain = build_random(REGISTRY["nano"], seed=2).eval()
    path = tmp_path_factory.mktemp("weights") / "nano.pth"
    save_official(Sam(plain, BaseIdentity("nano", "", 256, "")), path)
    return SimpleNamespace(plain=plain, sam=load_model(path), path=path)


@pytest.fixture(scope="session")
def image():
    """A smooth picture of 150 x 200 pixels."""
    coarse = np.random.default_rng(0).integers(0, 256, (10, 13, 3), dtype=np.uint8)
    return cv2.resize(coarse, (200, 150), interpolation=cv2.INTER_CUBIC)

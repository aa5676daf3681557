"""The small CNN on crops that a class head is compared with."""

import re

import numpy as np
import pytest
from PIL import Image

from samtune.commands.flags import parse


@pytest.fixture(scope="module")
def classifier(load_script):
    return load_script("crop_classifier")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Dark and bright squares, with their class as value."""
    folder = tmp_path_factory.mktemp("squares")
    for number, split in enumerate(["train"] * 4 + ["val", "test"]):
        image, labels = np.full((48, 64, 3), 120, np.uint8), np.zeros((48, 64), np.uint8)
        for value, x in ((1, 6), (2, 36)):
            labels[10 + number : 26 + number, x : x + 16] = value
            image[labels == value] = 220 if value == 1 else 30
        for kind, content in (("images", image), ("masks", labels)):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(folder / split / kind / f"{number}.png")
    return folder


@pytest.mark.slow
def test_it_tells_bright_from_dark(classifier, folder, capsys):
    arguments = ["--data.path", str(folder), "--data.labels", "semantic", "--minutes", "0.1"]
    assert classifier.main(**parse(classifier.main, "crop_classifier", arguments, {})) == 0
    told = capsys.readouterr().out
    assert "of 2 test objects of 2 classes" in told
    assert float(re.search(r"macro-F1 (\d\.\d+)", told)[1]) == 1

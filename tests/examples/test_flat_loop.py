"""The flat loop tunes: it learns what an object is in these pictures, and what it leaves is a model."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import samtune
from tests.conftest import draw_discs

FILE = Path(__file__).parents[2] / "examples" / "loop.py"


@pytest.fixture
def loop():
    spec = importlib.util.spec_from_file_location("loop", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_squares(folder, count, seed):
    """Pictures with a disc, where the object is the square around it: no base can know that."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        image, discs = draw_discs((96, 96), 1, seed + number)
        rows, columns = np.nonzero(discs)
        labels = np.zeros_like(discs)
        labels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")


@pytest.mark.slow
def test_the_loop_learns_and_leaves_an_adapter(loop, tmp_path, capsys):
    for offset, (split, count) in enumerate((("train", 6), ("val", 1), ("test", 4))):
        write_squares(tmp_path / "data" / split, count, seed=100 * offset)
    out = str(tmp_path / "run")
    scores = loop.main([str(tmp_path / "data"), "--steps", "20", "--out", out])
    assert scores["tuned"]["box"] > scores["base"]["box"] + 0.05
    assert scores["base"].keys() == {"box", "point"}
    sam = samtune.load_model(out)
    assert sam.is_adapted
    told = capsys.readouterr().out
    assert "step 0: loss" in told
    assert f"tuned {scores['tuned']['point']:.3f} mIoU" in told

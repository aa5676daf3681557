"""The base that ships: what it knows without tuning, and that tuning it pays."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from samtune.cli import main
from samtune.models.loading import load_model
from samtune.models.weights import ASSETS

NUM_PICTURES = 24


def draw_cells(seed, side=128):
    """Bright nuclei in faint cells: what is wanted is the cell, what is seen is the nucleus."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    image = rng.normal(60, 5, (side, side))
    labels = np.zeros((side, side), np.uint16)
    for number, (y, x) in enumerate(((32, 32), (32, 96), (96, 32), (96, 96)), start=1):
        y, x, radius = y + rng.integers(-6, 7), x + rng.integers(-6, 7), rng.integers(17, 25)
        distance = np.hypot(rows - y, columns - x)
        labels[distance <= radius] = number
        image[distance <= radius] += 14
        image[distance <= 0.5 * radius] += 110
    grey = np.clip(image, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2), labels


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    for offset, (split, count) in enumerate((("train", 8), ("val", 2), ("test", 5))):
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(count):
            image, labels = draw_cells(100 * offset + number)
            Image.fromarray(image).save(folder / split / "images" / f"{number}.png")
            Image.fromarray(labels).save(folder / split / "labels" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def tuned(cells, tmp_path_factory):
    """A run of 28 steps on the cells."""
    run = tmp_path_factory.mktemp("runs") / "cells"
    arguments = ["fit", "--data.path", str(cells), "--run", str(run), "--base", "nano"]
    arguments += ["--data.batch_size", "2", "--data.num_workers", "0", "--data.target_side", "64"]
    arguments += ["--model.num_corrections", "1", "--model.optim.lr", "1e-3"]
    arguments += ["--trainer.max_epochs", "7", "--trainer.check_val_every_n_epoch", "7"]
    arguments += ["--data.windows", "0", "--choose", "false", "--model.decoder", "full"]
    assert main([*arguments, "--trainer.accelerator", "cpu"]) == 0
    return run


def evaluate(model, folder, *arguments):
    command = [
        "evaluate",
        str(model),
        "--general",
        "none",
        "--out",
        str(folder),
        "--device",
        "cpu",
        *arguments,
    ]
    assert main([*command, "--data.num_workers", "0"]) == 0
    return json.loads((folder / "results.json").read_text())["protocols"]


@pytest.fixture(scope="module")
def on_scenes(tmp_path_factory):
    """The base on drawn pictures of a seed that it was not trained on."""
    arguments = ["--data.format", "drawn", "--data.seed", "7", "--data.min_area", "100"]
    return evaluate(
        "nano", tmp_path_factory.mktemp("scenes"), *arguments, "--max_images", str(NUM_PICTURES),
        "--protocols", "box", "point", "clicks_5",
    )  # fmt: skip


def test_the_file_is_small_and_in_half_precision():
    path = ASSETS / "nano.safetensors"
    assert path.stat().st_size <= 8_000_000
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}


def test_it_is_loaded_as_a_trained_base():
    sam = load_model("nano")
    assert not sam.base.is_random
    assert load_model("nano_random").base.is_random
    assert {parameter.dtype for parameter in sam.parameters()} == {torch.float32}


def test_log_curve_and_card_come_with_it():
    rows = (ASSETS / "nano_training.csv").read_text().splitlines()
    assert rows[0] == "step,train/loss,train/miou,val/box_miou,val/point_miou"
    assert len(rows) > 300
    assert (ASSETS / "nano_training.svg").read_text().startswith("<svg")
    card = (ASSETS / "README.md").read_text()
    for word in ("Apache-2.0", "configs/pretraining/encoder.yaml", "seed", "zero-shot"):
        assert word in card


@pytest.mark.slow
def test_it_sees_more_than_what_needs_no_network(on_scenes):
    for protocol in ("box", "point"):
        floor = on_scenes[protocol]["trivial"]["miou"]
        assert on_scenes[protocol]["base"]["miou"] > floor + 0.01


@pytest.mark.slow
def test_a_box_says_more_than_a_point(on_scenes):
    assert on_scenes["box"]["base"]["miou"] > on_scenes["point"]["base"]["miou"] + 0.05


@pytest.mark.slow
def test_more_clicks_do_not_hurt(on_scenes):
    assert on_scenes["clicks_5"]["base"]["miou"] > on_scenes["point"]["base"]["miou"]


@pytest.mark.slow
def test_tuning_beats_the_base_on_a_small_task(tuned, tmp_path):
    results = evaluate(tuned, tmp_path, "--protocols", "box", "point")
    # a box shows the cell, which leaves little to gain; a point in the nucleus does not
    assert results["box"]["base"]["miou"] > 0.9
    assert results["box"]["delta"]["miou"] > 0
    assert results["point"]["delta"]["ci95"][0] > 0.3
    assert results["point"]["tuned"]["miou"] > 0.8


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(tuned, cells, tmp_path):
    arguments = ["--protocols", "box_jitter", "points_3", "clicks_5", "--max_images", "2"]
    first = evaluate(tuned, tmp_path / "a", *arguments)
    assert evaluate(tuned, tmp_path / "b", *arguments) == first


@pytest.mark.slow
def test_other_seeds_give_other_prompts(tuned, tmp_path):
    arguments = ["--protocols", "box_jitter", "--max_images", "2"]
    first = evaluate(tuned, tmp_path / "a", *arguments, "--seed", "1")
    assert evaluate(tuned, tmp_path / "b", *arguments, "--seed", "2") != first

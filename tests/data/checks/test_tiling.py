"""`data.tile: auto` becomes the number that init would propose; without a model it is refused."""

import logging

import numpy as np
import pytest
import yaml
from PIL import Image

import samtune
from samtune.cli import main
from samtune.data.checks.tiling import with_tile
from samtune.data.datamodule import SamDataModule
from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.tasks.opening import input_side


@pytest.fixture
def specks(tmp_path):
    """Images of 400 pixels with squares of 12, which cover less than a token of an input of 256."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1), ("test", 1)):
        for number in range(count):
            labels = np.zeros((400, 400), np.uint16)
            for place in range(9):
                y, x = 20 + 120 * (place // 3), 20 + 120 * (place % 3)
                labels[y : y + 12, x : x + 12] = place + 1
            image = rng.integers(0, 60, (400, 400, 3)) + 150 * (labels[..., None] > 0)
            for kind, picture in (("images", image.astype(np.uint8)), ("labels", labels)):
                folder = tmp_path / "specks" / split / kind
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(folder / f"{number}.png")
    return tmp_path / "specks"


def test_auto_is_what_init_proposes_and_says_why(specks, tmp_path, caplog):
    samtune.init(specks, out=tmp_path / "config.yaml", base="nano", ask=None)
    proposed = yaml.safe_load((tmp_path / "config.yaml").read_text())["data"]
    with caplog.at_level(logging.INFO):
        found = with_tile(DataSettings(path=str(specks), tile="auto"), 256)
    assert (found.tile, found.overlap) == (proposed["tile"], 20) == (80, 20)
    assert "data.tile auto: 80 pixels; objects are about 14 pixels across, 43 at the" in caplog.text


def test_large_objects_are_seen_in_whole_images(discs):
    found = with_tile(DataSettings(path=str(discs), tile="auto", train_images=1), 256)
    assert (found.tile, found.overlap, found.train_images) == (0, 64, 1)


def test_a_run_holds_the_number(specks, tmp_path, fast):
    flags = [*fast, "--data.tile", "auto", "--check", "false", "--trainer.max_steps", "1"]
    assert main(["fit", "--data.path", str(specks), *flags, "--run", str(tmp_path / "run")]) == 0
    settings = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    side = settings["image_size"]
    assert settings["data"]["tile"] == with_tile(DataSettings(str(specks), tile="auto"), side).tile
    assert (input_side("nano"), input_side(str(tmp_path / "run"))) == (256, side)


def test_scenes_are_refused_in_one_line(tmp_path, write_scene):
    values = np.random.default_rng(0).integers(1, 255, (3, 80, 80)).astype(np.uint8)
    write_scene("scene.tif", values)
    labels = np.zeros((1, 80, 80), np.uint8)
    labels[:, 20:40, 20:40] = 1
    write_scene("scene_labels.tif", labels)
    with pytest.raises(UserError, match="windows of scenes a side in pixels"):
        with_tile(DataSettings(path=str(tmp_path), tile="auto"), 256)


def test_where_no_model_is_known_it_is_refused(specks):
    with pytest.raises(UserError, match=r"data.tile is auto: here no model .* give pixels"):
        SamDataModule(DataSettings(path=str(specks), tile="auto"))


def test_what_is_neither_is_told_what_can_be(specks, capsys):
    for value in ("-5", "blue"):
        assert main(["check", str(specks), "--data.tile", value]) == 2
        assert "choose from auto, a whole number of at least 0" in capsys.readouterr().err


def test_evaluation_of_a_base_takes_it(specks, tmp_path, capsys):
    flags = [
        "--protocols",
        "box",
        "--gallery",
        "0",
        "--data.num_workers",
        "0",
        "--data.tile",
        "auto",
    ]
    assert (
        main(["evaluate", "nano", "--data.path", str(specks), *flags, "--out", str(tmp_path)]) == 0
    )
    assert "data.tile auto: 80 pixels" in capsys.readouterr().out

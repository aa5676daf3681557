"""What ships is what was trained: the merged weights in half precision, the log and its curve."""

import csv
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samtune.models.loading import load_model


@pytest.fixture(scope="module")
def ship(load_script):
    return load_script("ship_nano")


def write_run(folder, rows):
    folder.mkdir()
    columns = ["step", "train/loss", "train/miou", "val/box_miou", "val/point_miou"]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.slow
def test_the_weights_are_those_of_the_run_with_its_adapter_merged(
    ship, lora_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(ship, "ASSETS", tmp_path)
    state = load_file(ship.write_weights(lora_run))
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert not any("lora" in name for name in state)
    before = load_model("nano").core.state_dict()
    assert state.keys() == before.keys()
    name = "vision_encoder.layers.5.attn.qkv.weight"
    assert not torch.equal(state[name].float(), before[name])
    frozen = "vision_encoder.patch_embed.projection.weight"
    assert torch.equal(state[frozen].float(), before[frozen])


@pytest.mark.slow
def test_a_weight_that_does_not_fit_half_precision_is_refused(ship, lora_run, monkeypatch):
    sam = load_model("nano")
    sam.core.mask_decoder.iou_token.weight.data[0, 0] = 1e6
    monkeypatch.setattr(ship, "load_model", lambda run: sam)
    with pytest.raises(SystemExit, match="does not fit half precision"):
        ship.write_weights(lora_run)


def test_the_log_counts_steps_on_from_run_to_run(ship, tmp_path):
    runs = [
        write_run(tmp_path / "a", [{"step": 9, "train/loss": 2}, {"step": 19, "train/loss": 1}]),
        write_run(tmp_path / "b", [{"step": 9, "val/box_miou": 0.5}]),
    ]
    rows = ship.read_log(runs)
    assert rows == [
        {"step": 9, "train/loss": 2.0},
        {"step": 19, "train/loss": 1.0},
        {"step": 29, "val/box_miou": 0.5},
    ]
    ship.write_log(rows, tmp_path / "log.csv")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "step,train/loss,train/miou,val/box_miou,val/point_miou"
    assert lines[1:] == ["9,2.0000,,,", "19,1.0000,,,", "29,,,0.5000,"]


def test_the_curve_is_a_picture_of_the_means(ship, tmp_path):
    rows = [{"step": step, "train/miou": 0.5 + 0.1 * (-1) ** step} for step in range(30)]
    rows += [{"step": 29, "val/box_miou": 0.25, "val/point_miou": 1.0}]
    ship.write_curve(rows, tmp_path / "curve.svg")
    picture = ElementTree.parse(tmp_path / "curve.svg").getroot()  # noqa: S314
    lines = picture.findall("{*}polyline")
    heights = [[float(p.split(",")[1]) for p in line.get("points").split()] for line in lines]
    assert [len(line) for line in heights] == [2, 1, 1]
    bottom, top = ship.HEIGHT - ship.MARGIN, ship.MARGIN
    assert np.mean(heights[0]) == pytest.approx((top + bottom) / 2, abs=2)
    assert heights[1] == [pytest.approx(bottom - (bottom - top) / 4)]
    assert heights[2] == [pytest.approx(top)]

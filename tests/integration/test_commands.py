"""The other commands on a finished run: evaluate, predict, export, models."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from samtune.cli import main
from samtune.masks import rle_to_mask
from samtune.models.loading import load_model


@pytest.fixture(scope="module")
def evaluation(lora_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    assert main(["evaluate", str(lora_run), "--general", "none", "--out", str(out)]) == 0
    return out


def test_results_have_a_block_for_each_protocol(evaluation):
    protocols = json.loads((evaluation / "results.json").read_text())["protocols"]
    assert list(protocols) == ["box", "box_jitter", "point", "points_3", "clicks_5"]
    for block in protocols.values():
        assert block["delta"]["miou"] == pytest.approx(
            block["tuned"]["miou"] - block["base"]["miou"]
        )
        low, high = block["delta"]["ci95"]
        assert low <= block["delta"]["miou"] <= high
        assert (block["num_objects"], block["num_images"]) == (6, 2)


def test_objects_csv_has_a_row_for_each_object_and_protocol(evaluation):
    with (evaluation / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 6
    assert len({(r["protocol"], r["image_id"], r["object_id"]) for r in rows}) == 30


def test_evaluation_is_the_same_again(lora_run, evaluation, tmp_path):
    assert main(["evaluate", str(lora_run), "--general", "none", "--out", str(tmp_path)]) == 0
    first = json.loads((evaluation / "results.json").read_text())["protocols"]
    assert json.loads((tmp_path / "results.json").read_text())["protocols"] == first


def test_a_base_alone_is_evaluated_without_an_opponent(discs, tmp_path):
    arguments = ["evaluate", "nano", "--data.path", str(discs), "--protocols", "box"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    block = json.loads((tmp_path / "results.json").read_text())["protocols"]["box"]
    assert block["tuned"] is None
    assert block["delta"] is None


def test_a_base_is_evaluated_on_drawn_scenes_without_a_path(tmp_path):
    arguments = ["evaluate", "nano", "--data.format", "drawn", "--protocols", "box"]
    arguments += ["--max_images", "2", "--image_size", "128"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    block = json.loads((tmp_path / "results.json").read_text())["protocols"]["box"]
    assert block["num_images"] == 2


def test_a_path_wins_over_the_drawn_scenes_of_a_config(discs, tmp_path):
    config = tmp_path / "drawn.yaml"
    config.write_text("data: {format: drawn}")
    arguments = ["evaluate", "nano", "--config", str(config), "--data.path", str(discs)]
    assert main([*arguments, "--protocols", "box", "--out", str(tmp_path / "out")]) == 0
    rows = (tmp_path / "out" / "objects.csv").read_text()
    assert "test/0" in rows


def test_a_checkpoint_is_evaluated_with_the_data_of_its_run(lora_run, tmp_path):
    checkpoint = lora_run / "checkpoints" / "last.ckpt"
    arguments = [
        "evaluate",
        str(checkpoint),
        "--general",
        "none",
        "--protocols",
        "point",
        "--out",
        str(tmp_path),
    ]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "results.json").read_text())["protocols"]["point"]["delta"]


def test_predict_writes_masks_coco_cutouts_and_overlays(lora_run, discs, tmp_path):
    image = discs / "test" / "images" / "0.png"
    arguments = ["predict", str(lora_run), str(image), "--points", "30,30", "--points", "5,5,0"]
    arguments += ["--boxes", "10,10,50,50", "--save", "masks", "coco", "cutouts", "overlays"]
    out = tmp_path / "out"
    assert main([*arguments, "--out", str(out)]) == 0
    coco = json.loads((out / "predictions.json").read_text())
    assert len(coco["annotations"]) == 2
    for number, annotation in enumerate(coco["annotations"], start=1):
        mask = np.asarray(Image.open(out / f"0_{number}.png")) > 0
        assert np.array_equal(rle_to_mask(annotation["segmentation"]), mask)
        assert annotation["area"] == mask.sum()
    assert Image.open(out / "0_overlay.png").size == (64, 64)


def test_predictions_that_are_there_are_replaced_only_with_overwrite(
    lora_run, discs, tmp_path, capsys
):
    image, out = discs / "test" / "images" / "0.png", tmp_path / "out"
    arguments = ["predict", str(lora_run), str(image), "--out", str(out), "--points"]
    assert main([*arguments, "30,30"]) == 0
    before = (out / "predictions.json").read_bytes()
    assert main([*arguments, "5,5"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (out / "predictions.json").read_bytes() == before
    assert main([*arguments, "5,5", "--overwrite"]) == 0
    assert (out / "predictions.json").read_bytes() != before


def test_predict_takes_prompts_for_many_images_from_a_file(lora_run, discs, tmp_path):
    prompts = [{"image": f"{n}.png", "box": [5, 5, 40, 40], "name": "disc"} for n in range(2)] + [
        {"image": "1.png", "points": [[20, 20], [60, 60]], "labels": [1, 0]}
    ]
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps(prompts))
    folder = str(discs / "test" / "images")
    arguments = ["predict", str(lora_run), folder, "--prompts", str(file)]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    coco = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [a["image_id"] for a in coco["annotations"]] == [1, 2, 2]


@pytest.mark.parametrize(("target", "name"), [("official", "mine.pth"), ("hf", "")])
def test_export_gives_a_plain_model_with_the_same_answers(lora_run, tmp_path, target, name):
    out = ["--out", str(tmp_path / "out"), "--name", "mine"]
    assert main(["export", str(lora_run), "--to", target, *out]) == 0
    tuned, plain = load_model(lora_run), load_model(tmp_path / "out" / name)
    side = tuned.image_size
    pixel_values = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert not plain.is_adapted
    with torch.no_grad():
        assert torch.allclose(
            tuned.encode(pixel_values).main, plain.encode(pixel_values).main, atol=1e-5
        )


def test_models_prints_every_model(capsys):
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    for name in ("vit_b", "vit_l", "vit_h", "medsam", "nano"):
        assert f"| {name} |" in table

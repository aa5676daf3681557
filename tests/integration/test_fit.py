"""`samtune fit` from the command line to the run folder."""

import csv

import pytest
import torch
import yaml
from peft import PeftModel
from transformers import SamModel

from samtune.cli import main
from samtune.models.encoder_steps import frozen_depth
from samtune.models.loading import load_model
from samtune.models.saving import save_transformers, save_tuned
from samtune.parsing import read_csv
from samtune.reading import Reading
from samtune.training.module import SamTuner
from samtune.training.record import read_record
from samtune.types import Prompts
from tests.commands.planning import planned
from tests.conftest import SIDE, write_discs


def read_metrics(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def losses(run):
    return {int(r["step"]): float(r["train/loss"]) for r in read_metrics(run) if r["train/loss"]}


def decode_box(network, pixel_values):
    box = torch.tensor([[[10.0, 15.0, 60.0, 70.0]]])
    with torch.no_grad():
        return network(pixel_values, input_boxes=box, multimask_output=True).pred_masks


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--base", "nanoo"], "there is no model 'nanoo'"),
        (["--base", "nano", "--start", "runs/none"], "there is no run runs/none to start from"),
        (["--base", "vit_b", "--checkpoint", "none.pth"], "there is no checkpoint none.pth"),
        (["--base", "nano", "--data.augment", "areal"], "unknown augmentation 'areal'"),
    ],
)
def test_what_is_not_there_is_said_before_the_run_is_written(flags, told, discs, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags]) == 2
    assert told in capsys.readouterr().err
    assert not (run / "config.yaml").exists()


def test_a_run_is_a_folder_with_its_parts(lora_run):
    for name in ("config.yaml", "metrics.csv", "adapter/adapter_model.safetensors",
                 "checkpoints/best.ckpt", "checkpoints/last.ckpt"):  # fmt: skip
        assert (lora_run / name).is_file()
    # PEFT's empty form of a model card
    assert not (lora_run / "adapter" / "README.md").exists()


def test_validation_is_logged_beside_the_base(lora_run):
    row = read_metrics(lora_run)[-1]
    for name in ("miou", "box_miou", "point_miou", "base_miou", "base_box_miou"):
        assert 0 <= float(row[f"val/{name}"]) <= 1


def test_the_loss_falls(lora_run):
    values = list(losses(lora_run).values())
    assert values[-1] < values[0]


def test_config_of_the_run_holds_what_was_set(lora_run, discs):
    settings = yaml.safe_load((lora_run / "config.yaml").read_text())
    assert settings["data"]["path"] == str(discs)
    assert settings["base"] == "nano"
    assert settings["model"]["lora"]["rank"] == 8


def test_adapter_loads_with_peft_alone_to_the_same_logits(discs, tmp_path, fast):
    base = save_transformers(load_model("nano", image_size=SIDE), tmp_path / "base")
    run = tmp_path / "run"
    arguments = ["fit", "--data.path", str(discs), "--run", str(run), "--trainer.max_epochs", "1"]
    assert main([*arguments, *fast, "--base", str(base), "--model.optim.lr", "0.01"]) == 0
    ours = load_model(run)
    plain = PeftModel.from_pretrained(SamModel.from_pretrained(base), run / "adapter").eval()
    pixel_values = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    box = Prompts(boxes_xyxy=torch.tensor([[10.0, 15.0, 60.0, 70.0]]))
    with torch.no_grad():
        expected = ours.decode(ours.encode(pixel_values), torch.tensor([0]), box, True)
    found = decode_box(plain, pixel_values)[:, 0]
    assert torch.allclose(found, expected.low_res_logits, atol=1e-5)
    assert not torch.allclose(decode_box(SamModel.from_pretrained(base), pixel_values)[:, 0], found)


def test_a_run_that_ends_before_its_first_validation_keeps_its_weights(
    discs, tmp_path, fast, capsys
):
    arguments = ["fit", "--data.path", str(discs), "--run", str(tmp_path / "run"), *fast]
    arguments += ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "5"]
    assert main(arguments) == 0
    assert "no validation was run" in capsys.readouterr().out
    assert load_model(tmp_path / "run").is_adapted


@pytest.mark.slow
def test_a_warm_up_trains_the_encoder_alone_and_goes_on_after_a_break(discs, tmp_path, fast):
    arguments = ["fit", "--data.path", str(discs), *fast, "--model.mode", "full",
                 "--model.with_encoder_warmup", "true", "--checkpoint_steps", "2",
                 "--data.val_objects", "1"]  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*arguments, "--run", str(whole), "--trainer.max_epochs", "2"]) == 0
    before = load_model("nano", image_size=SIDE).core.state_dict()
    after = load_model(whole).core.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"vision_encoder"}
    assert "extent_head" in torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    assert main([*arguments, "--run", str(parts), "--trainer.max_epochs", "1"]) == 0
    assert main(["resume", str(parts), "--trainer.max_epochs", "2"]) == 0
    assert len(losses(parts)) == len(losses(whole)) == 8


def test_same_seed_same_losses(discs, tmp_path, fast):
    for name in ("a", "b"):
        arguments = ["fit", "--data.path", str(discs), "--run", str(tmp_path / name)]
        assert main([*arguments, *fast, "--trainer.max_epochs", "1"]) == 0
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_that_broke_off_goes_on_as_if_it_had_not(
    discs, tmp_path, fast, lora_run, monkeypatch, workers
):
    """Broken in the middle of the second epoch, one step after the last checkpoint."""
    arguments = ["fit", "--data.path", str(discs), *fast, "--trainer.max_epochs", "2",
                 "--checkpoint_steps", "3", "--model.lora.dropout", "0.1",
                 "--data.num_workers", workers]  # fmt: skip
    assert main([*arguments, "--run", str(tmp_path / "whole")]) == 0
    broken = [*arguments, "--run", str(tmp_path / "broken")]
    step = SamTuner.training_step

    def fail_at_seven(self, batch, batch_idx):
        if self.global_step == 7:
            raise RuntimeError("power cut")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SamTuner, "training_step", fail_at_seven)
        with pytest.raises(RuntimeError, match="power cut"):
            main(broken)
    assert main(["resume", str(tmp_path / "broken")]) == 0
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(discs, tmp_path, fast, capsys):
    arguments = ["fit", "--data.path", str(discs), "--run", str(tmp_path / "run"), *fast]
    assert main([*arguments, "--model.optim.lr", "1e14", "--trainer.gradient_clip_val", "0"]) == 2
    message = capsys.readouterr().err
    assert "the loss is nan" in message
    assert "train/" in message


def test_decoder_mode_moves_only_the_decoder(discs, tmp_path, fast):
    run = tmp_path / "run"
    arguments = ["fit", "--data.path", str(discs), "--run", str(run), *fast]
    assert main([*arguments, "--model.mode", "decoder", "--trainer.max_epochs", "1"]) == 0
    before, after = load_model("nano", image_size=SIDE).core.state_dict(), load_model(run)
    changed = [
        name
        for name, value in after.core.state_dict().items()
        if "modules_to_save" not in name
        and "original_module" not in name
        and not torch.equal(value, before[name])
    ]
    assert changed == []
    assert frozen_depth(after) == after.depth


def test_full_mode_writes_a_plain_model(discs, tmp_path, fast):
    run = tmp_path / "run"
    arguments = ["fit", "--data.path", str(discs), "--run", str(run), *fast]
    assert main([*arguments, "--model.mode", "full", "--trainer.max_epochs", "1"]) == 0
    assert SamModel.from_pretrained(run / "model").config.mask_decoder_config.layer_norm_eps == 1e-5
    assert (
        main(
            [
                "evaluate",
                str(run),
                "--general",
                "none",
                "--protocols",
                "box",
                "--data.num_workers",
                "0",
            ]
        )
        == 0
    )


def test_parsing_loads_no_weights(discs, tmp_path):
    training = planned("--data.path", discs, "--base", "vit_h", "--run", tmp_path / "r")
    assert training.model.sam is None


def test_flags_before_the_config_are_not_overruled_by_it(tmp_path, discs):
    config = tmp_path / "c.yaml"
    config.write_text("base: nano\ntrainer: {max_epochs: 9}\n")
    words = ["--trainer.max_epochs", "3", "--config", config, "--run", tmp_path / "r"]
    assert planned(*words).trainer.max_epochs == 3


def test_a_run_is_never_overwritten(lora_run, discs, fast, capsys):
    before = (lora_run / "metrics.csv").read_text()
    assert main(["fit", "--data.path", str(discs), "--run", str(lora_run), *fast]) == 2
    assert f"samtune resume {lora_run}" in capsys.readouterr().err
    assert (lora_run / "metrics.csv").read_text() == before


def test_checkpoint_holds_only_what_was_trained(lora_run):
    content = torch.load(lora_run / "checkpoints" / "last.ckpt", weights_only=True)
    assert all("lora_" in name or "mask_decoder" in name for name in content["state_dict"])
    assert len(content["state_dict"]) > 0


def test_any_step_can_be_loaded(lora_run):
    step, best = load_model(lora_run / "checkpoints" / "last.ckpt"), load_model(lora_run)
    assert step.base == best.base
    assert step.is_adapted


def test_an_image_without_objects_ends_no_run_with_a_frozen_encoder(tmp_path, fast):
    import numpy as np
    from PIL import Image

    write_discs(tmp_path, "train", 2)
    write_discs(tmp_path, "val", 1)
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(tmp_path / "train" / "labels" / "0.png")
    arguments = ["fit", "--data.path", str(tmp_path), "--run", str(tmp_path / "run"), *fast]
    # the splits hold the same disc, which the check would not let pass
    arguments += ["--check", "false", "--trainer.max_epochs", "1"]
    assert main([*arguments, "--model.mode", "decoder"]) == 0


@pytest.mark.parametrize(
    ("flag", "value"), [("--trainer.accelerator", "gpu"), ("--trainer.strategy", "nothing_known")]
)
def test_what_lightning_cannot_do_is_told_in_a_line(discs, tmp_path, capsys, flag, value):
    if value == "gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["fit", "--data.path", str(discs), "--base", "nano", flag, value]) == 2
    assert capsys.readouterr().err.startswith("samtune: ")


def test_a_run_says_what_it_took(lora_run):
    record = read_record(lora_run)
    assert record.is_finished
    took = record.took
    assert took["seconds"] > 0
    # loading and two epochs alone take more than a tenth of a second
    assert took["cpu_seconds"] > 0.1
    steps = max(int(row["step"]) for row in read_csv(lora_run / "metrics.csv") if row["step"])
    assert took["steps"] == steps + 1


def test_the_model_says_how_its_images_were_seen(discs, tmp_path):
    arguments = ["--data.path", str(discs), "--run", str(tmp_path / "run"), "--data.tile", "40"]
    arguments += ["--base", "nano"]
    tuner = planned(*arguments, "--data.tile_overlap", "8", "--data.window", "lung").model
    tuner.configure_model()
    expected = Reading(tile=40, window="lung")
    assert tuner.network.reading == expected
    assert load_model(str(save_tuned(tuner.network, tmp_path))).reading == expected


def test_a_run_that_came_to_its_end_is_not_gone_on_with(lora_run, capsys):
    before = (lora_run / "run.json").read_bytes()
    assert main(["resume", str(lora_run)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "came to its end: there is nothing left to do" in told
    assert "--trainer.max_epochs" in told
    assert (lora_run / "run.json").read_bytes() == before

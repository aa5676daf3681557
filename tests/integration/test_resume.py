"""A run that was ended anywhere goes on to what it would have become; what it rests on is kept."""

import csv
import os
import shutil
import signal

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from samtune.cli import main
from samtune.training.module import SamTuner
from tests.conftest import draw_discs


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def weights(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


def end_at(patch, kind, number, action):
    """Let something happen before a step, or in the first batch of a validation."""
    method = getattr(SamTuner, f"{kind}_step")
    seen = []

    def instead(self, batch, batch_idx):
        is_here = self.global_step == number and not self.trainer.sanity_checking
        if is_here and not (kind == "validation" and batch_idx) and not seen:
            seen.append(number)
            action()
        return method(self, batch, batch_idx)

    patch.setattr(SamTuner, f"{kind}_step", instead)


def power_cut():
    raise SystemError("power cut")


@pytest.fixture
def fit(discs, tmp_path, fast):
    """A function that fits into a run of that name as `lora_run` was: four steps an epoch."""
    arguments = ["fit", "--data.path", str(discs), *fast, "--trainer.max_epochs", "2"]
    return lambda name, *more: main([*arguments, "--run", str(tmp_path / name), *more])


LIMIT = ["--trainer.limit_train_batches", "2"]
STEPS = ["--trainer.max_epochs", "-1", "--trainer.max_steps", "10"]
GENERAL = ["--model.loss.general", "0.5", "--data.batch_size", "2", "--checkpoint_steps", "1"]
CASES = [
    ("a validation that was cut off", "validation", 4, ["--checkpoint_steps", "4"], False),
    ("epochs cut short", "training", 3, LIMIT, True),
    ("general pictures, in the middle of an epoch", "training", 3, GENERAL, True),
    ("steps instead of epochs", "training", 6, STEPS, True),
    ("validations within epochs", "validation", 6, ["--trainer.val_check_interval", "2"], True),
    ("accumulated batches", "training", 3,
     ["--trainer.accumulate_grad_batches", "2", "--checkpoint_steps", "1"], True),
    ("epochs without a validation", "training", 5, ["--trainer.check_val_every_n_epoch", "2"], True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "number", "flags"),
    [pytest.param(k, n, f, id=i, marks=[pytest.mark.slow] * s) for i, k, n, f, s in CASES],
)
def test_resumed_equals_undisturbed(fit, lora_run, tmp_path, kind, number, flags):
    whole = lora_run
    if flags[0] != "--checkpoint_steps":  # how often states are kept changes nothing else
        whole = tmp_path / "whole"
        assert fit("whole", *flags) == 0
    with pytest.MonkeyPatch.context() as patch:
        end_at(patch, kind, number, power_cut)
        with pytest.raises(SystemError, match="power cut"):
            fit("broken", *flags)
    assert main(["resume", str(tmp_path / "broken")]) == 0
    assert rows(tmp_path / "broken") == rows(whole)
    expected, found = weights(whole), weights(tmp_path / "broken")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_saves_the_state_and_says_how_to_go_on(fit, lora_run, tmp_path, capsys, number):
    with pytest.MonkeyPatch.context() as patch:
        end_at(patch, "training", 5, lambda: os.kill(os.getpid(), number))
        assert fit("broken") == 2
    told = capsys.readouterr().err
    assert f"stopped at step 6, the state is saved: samtune resume {tmp_path / 'broken'}" in told
    assert len(rows(tmp_path / "broken")) == 6
    assert main(["resume", str(tmp_path / "broken")]) == 0
    assert rows(tmp_path / "broken") == rows(lora_run)


def test_a_fit_without_a_state_is_begun_anew_by_the_same_command(fit, tmp_path, capsys):
    flags = ["--trainer.max_epochs", "1"]
    with pytest.MonkeyPatch.context() as patch:
        end_at(patch, "training", 1, power_cut)
        with pytest.raises(SystemError):
            fit("run", *flags)
    assert (tmp_path / "run" / "config.yaml").exists()
    assert fit("run", *flags) == 0
    assert len(rows(tmp_path / "run")) == 4
    assert fit("run", *flags) == 2
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "name", "value"), [("optim", "lr", 0.01), ("optim", "weight_decay", 0.5)]
)
def test_settings_that_cannot_change_on_the_way_are_refused(
    lora_run, tmp_path, capsys, section, name, value
):
    run = shutil.copytree(lora_run, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"][section][name] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["resume", str(run), "--trainer.max_epochs", "3"]) == 2
    assert f"model.{section}.{name}" in capsys.readouterr().err
    assert rows(run) == rows(lora_run)


def test_splits_are_those_of_the_run_though_images_were_added(tmp_path, fast, capsys):
    def write(*numbers):
        for number in numbers:
            image, labels = draw_discs((64, 64), 3, number)
            for kind, picture in (("images", image), ("labels", labels.astype(np.uint16))):
                (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(tmp_path / "data" / kind / f"s{number}.png")

    def asked(*more):
        run = ["evaluate", str(tmp_path / "run"), "--protocols", "box", "--general", "none"]
        assert main([*run, "--gallery", "0", "--data.num_workers", "0", *more]) == 0
        with (tmp_path / "run" / "evaluation" / "objects.csv").open() as file:
            return {row["image_id"] for row in csv.DictReader(file)}

    write(*range(8))
    arguments = ["--data.path", str(tmp_path / "data"), "--run", str(tmp_path / "run"), *fast]
    assert main(["fit", *arguments, "--trainer.max_epochs", "1", "--check", "false"]) == 0
    before = asked()
    write(*range(8, 12))
    capsys.readouterr()
    assert asked() == before
    assert "4 images were added" in capsys.readouterr().err
    assert main(["resume", str(tmp_path / "run"), "--trainer.max_epochs", "2"]) == 0
    assert len(rows(tmp_path / "run")) == 2 * (8 - 2 * len(before))
    other = next(seed for seed in range(1, 9) if asked("--data.split_seed", str(seed)) - before)
    assert other
    assert "not held out" in capsys.readouterr().out

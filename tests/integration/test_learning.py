"""That training learns, and moves exactly what it should."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from PIL import Image

from samtune.cli import main
from samtune.data.dataset import PromptedDataset, PromptSettings
from samtune.data.loader import collate
from samtune.data.readers.mask_folder import MaskFolder
from samtune.models.encoder_steps import blocks_after
from samtune.models.settings import LoraSettings
from samtune.prompts.protocols import RECIPES
from samtune.training.module import SamTuner
from samtune.training.optim import build_optimizer
from samtune.training.rounds import run_rounds
from samtune.training.settings import ModelSettings, OptimSettings
from tests.conftest import SIDE

FROM_NOTHING = [
    "--model.mode", "full", "--model.loss.pixel_loss", "balanced_bce", "--model.loss.pixel", "1",
    "--model.loss.iou", "0.1", "--model.optim.lr", "1e-3",
]  # fmt: skip


def fixed_batch(folder, tuner):
    settings = PromptSettings(tuner.frame, tuner.mask_side, max_objects=3)
    data = PromptedDataset(MaskFolder(folder), settings, RECIPES["boxes"], is_training=True)
    return collate([data[index, 0] for index in range(4)], seed=0)


@pytest.mark.parametrize(
    "decoder",
    [
        "full",
        pytest.param("lora", marks=pytest.mark.slow),
        pytest.param("frozen", marks=pytest.mark.slow),
    ],
)
def test_loss_on_a_fixed_batch_falls_and_only_the_intended_parameters_move(discs, decoder):
    settings = ModelSettings(lora=LoraSettings(rank=4), decoder=decoder)
    tuner = SamTuner("nano", settings, recipe="boxes", image_size=SIDE)
    tuner.configure_model()
    batch, network = fixed_batch(discs, tuner), tuner.network
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    intended = {name for name, p in network.named_parameters() if p.requires_grad}
    optimizer = build_optimizer(network, OptimSettings(lr=5e-4), partial(blocks_after, network))
    losses = []
    for _ in range(8):
        rounds = run_rounds(
            network, network.encode(batch.pixel_values), batch, tuner.recipe, tuner.loss_weights, 32
        )
        losses.append(rounds[0].parts.total.mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert losses[-1] < losses[0]
    assert moved <= intended
    # a decoder with one mask leaves the heads of the other three tokens without a gradient
    still = {name for name in intended - moved if "hypernetworks" not in name}
    assert still == set()


def copy_four(source, target):
    """Four small fluorescence images, the same ones for training and validation."""
    with (source / "manifest.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == "train" and r["height"] == "256"]
    chosen = [r["id"] for r in rows if r["width"] == "256" and 8 <= int(r["n_objects"]) <= 40][:4]
    for split in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (target / split / kind).mkdir(parents=True)
            for name in chosen:
                shutil.copy(next((source / kind).glob(f"{name}.*")), target / split / kind)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.timeout(3600)
def test_four_real_images_are_overfitted_from_nothing(real_data, tmp_path):
    copy_four(real_data / "nuclei", tmp_path / "four")
    arguments = ["fit", "--data.path", str(tmp_path / "four"), "--data.stretch", "auto"]
    arguments += ["--run", str(tmp_path / "run"), "--base", "nano_random", *FROM_NOTHING]
    arguments += ["--model.optim.warmup_steps", "100", "--data.batch_size", "4"]
    arguments += ["--data.max_objects", "16", "--data.val_objects", "0"]
    arguments += ["--trainer.max_epochs", "300", "--trainer.check_val_every_n_epoch", "100"]
    arguments += ["--check", "false"]  # which refuses the same images in two splits, as it should
    assert main(arguments) == 0
    with (tmp_path / "run" / "metrics.csv").open() as file:
        scores = [float(r["val/box_miou"]) for r in csv.DictReader(file) if r["val/box_miou"]]
    assert scores[-1] > 0.8


def start(*arguments):
    """`samtune` in a process of its own; all have as many threads, and so the same rounding."""
    command = [sys.executable, "-m", "samtune.cli", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_process_goes_on_to_the_same_losses(discs, tmp_path, fast):
    arguments = ["--data.path", str(discs), *fast, "--trainer.max_epochs", "4"]
    arguments += ["--checkpoint_steps", "3", "--model.lora.dropout", "0.1"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start("fit", *arguments, "--run", str(whole)).wait() == 0
    process = start("fit", *arguments, "--run", str(killed))
    while process.poll() is None and not (killed / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    checkpoint = shutil.copy(killed / "checkpoints" / "last.ckpt", tmp_path)
    assert start("resume", str(killed)).wait() == 0
    expected = (whole / "metrics.csv").read_text().splitlines()
    found = (killed / "metrics.csv").read_text().splitlines()
    # the row of the last step before a kill may not have been written yet
    resumed_at = torch.load(checkpoint, weights_only=True)["global_step"]
    assert [row for row in expected if row not in found] in ([], [expected[resumed_at]])
    assert set(found) <= set(expected)


@pytest.mark.slow
def test_tuning_goes_on_from_the_result_of_a_run(lora_run, discs, tmp_path, fast):
    run = tmp_path / "second"
    arguments = ["fit", "--data.path", str(discs), "--run", str(run), *fast]
    arguments += ["--base", str(lora_run), "--trainer.max_epochs", "1"]
    assert main(arguments) == 0
    assert (
        main(
            [
                "evaluate",
                str(run),
                "--general",
                "none",
                "--protocols",
                "box",
                "--out",
                str(tmp_path / "e"),
            ]
        )
        == 0
    )


def test_images_of_all_sizes_and_object_counts_train_together(tmp_path, fast):
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number, (size, count) in enumerate([((40, 90), 0), ((90, 40), 1), ((64, 64), 5)]):
            image, labels = Image.new("RGB", size, (9, 9, 9)), Image.new("L", size)
            for index in range(count):
                labels.paste(index + 1, (6 * index, 4, 6 * index + 5, 20))
            image.save(tmp_path / "data" / split / "images" / f"{number}.png")
            labels.save(tmp_path / "data" / split / "labels" / f"{number}.png")
    arguments = [
        "fit",
        "--data.path",
        str(tmp_path / "data"),
        "--run",
        str(tmp_path / "run"),
        *fast,
    ]
    assert main([*arguments, "--trainer.max_epochs", "2", "--data.batch_size", "3"]) == 0

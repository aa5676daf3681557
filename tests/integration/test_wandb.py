"""Weights & Biases without a network: it logs into the run folder and never asks."""

import time

import pytest

from samtune.cli import main
from samtune.training.loggers import is_offline


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A home without any login."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path


def is_logged(run, name, seconds=30):
    """W&B's service writes its file in the background: on a busy machine `finish` is earlier."""
    for _ in range(10 * seconds):
        files = run.glob("wandb/offline-run-*/*.wandb")
        if name in b"".join(file.read_bytes() for file in files):
            return True
        time.sleep(0.1)
    return False


def test_auto_is_offline_without_a_login(nobody):
    assert is_offline("auto")


def test_auto_is_online_with_a_key(nobody, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert not is_offline("auto")


def test_auto_is_online_with_a_netrc_entry(nobody):
    (nobody / "netrc").write_text("machine api.wandb.ai login user password key\n")
    assert not is_offline("auto")


def test_auto_obeys_the_environment(nobody, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert is_offline("auto")


def test_a_run_logs_metrics_panels_and_the_adapter_offline(nobody, discs, fast):
    pytest.importorskip("wandb")
    run = nobody / "run"
    arguments = ["fit", "--data.path", str(discs), "--run", str(run), *fast]
    arguments += ["--logging.wandb", "auto", "--logging.with_tensorboard", "true"]
    assert main([*arguments, "--trainer.max_epochs", "1"]) == 0
    (logged,) = run.glob("wandb/offline-run-*")
    content = next(logged.glob("*.wandb")).read_bytes()
    for name in (b"train/loss", b"val/base_miou", b"panels/box_0", b"run-adapter"):
        assert name in content
    assert list(logged.rglob("media/images/panels/*.png"))
    assert list(run.rglob("events.out.tfevents*"))


@pytest.mark.slow
def test_evaluation_is_logged_to_the_same_run(nobody, discs, fast):
    pytest.importorskip("wandb")
    run = nobody / "run"
    arguments = ["fit", "--data.path", str(discs), "--run", str(run), *fast]
    assert main([*arguments, "--logging.wandb", "offline", "--trainer.max_epochs", "1"]) == 0
    assert main(["evaluate", str(run), "--general", "none", "--protocols", "box"]) == 0
    assert is_logged(run, b"evaluation/box/delta_miou")
    ids = {folder.name.rpartition("-")[2] for folder in run.glob("wandb/offline-run-*")}
    assert ids == {(run / "wandb_id.txt").read_text()}

"""The state of a run on disk: whole, kept twice, and damaged ones told."""

import pickle
import shutil

import pytest
import torch

from samtune.cli import main
from samtune.errors import UserError
from samtune.training import checkpoints
from samtune.training.checkpoints import WholeCheckpoints, find_checkpoint, read_checkpoint


def state(step):
    return {
        "state_dict": {"w": torch.full((64,), float(step))}, "optimizer_states": [],
        "lr_schedulers": [], "loops": {}, "callbacks": {}, "global_step": step, "epoch": 0,
        "samtune": {}, "base_scores": {}, "SamDataModule": {},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run with the states of steps 1 and 2."""
    for step in (1, 2):
        WholeCheckpoints().save_checkpoint(state(step), tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path


def damage(path, kind):
    content = path.read_bytes()
    if kind == "flipped":
        middle = content.index(torch.full((64,), 2.0).numpy().tobytes()) + 8
        content = content[:middle] + b"\xff" + content[middle + 1 :]
    written = {
        "empty": b"", "truncated": content[:1000], "text": b"no checkpoint",
        "pickle": pickle.dumps({"a": 1}), "flipped": content,
    }  # fmt: skip
    if kind in written:
        path.write_bytes(written[kind])
    elif kind == "gone":
        path.unlink()
    else:
        torch.save([1] if kind == "list" else {"state_dict": {}}, path)


KINDS = ["empty", "truncated", "text", "pickle", "flipped", "gone", "list", "no keys"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_before_is_taken_where_the_last_one_is_damaged(run, kind, caplog):
    assert read_checkpoint(find_checkpoint(run))["global_step"] == 2
    damage(run / "checkpoints" / "last.ckpt", kind)
    assert read_checkpoint(find_checkpoint(run))["global_step"] == 1
    assert "it goes on from the one before, of step 1" in caplog.text
    (run / "checkpoints" / "previous.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match="nothing to go on from"):
        find_checkpoint(run)


def test_a_state_is_written_beside_its_place_and_a_kill_on_the_way_leaves_the_old_one(
    run, monkeypatch
):
    def die(content, place):
        assert place.parent == run / "checkpoints"  # not in the folder of temporary files
        place.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.torch, "save", die)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint(state(3), run / "checkpoints" / "last.ckpt")
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == ["last.ckpt", "previous.ckpt"]
    assert read_checkpoint(find_checkpoint(run))["global_step"] == 2


def test_a_full_disk_is_told_and_the_old_state_stays(run, monkeypatch):
    def refuse(content, place):
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(checkpoints.torch, "save", refuse)
    with pytest.raises(UserError, match=r"cannot be written.*samtune resume .* goes on"):
        WholeCheckpoints().save_checkpoint(state(3), run / "checkpoints" / "last.ckpt")
    assert read_checkpoint(find_checkpoint(run))["global_step"] == 2


def test_a_whole_state_that_does_not_fit_is_a_line(lora_run, tmp_path, capsys):
    run = shutil.copytree(lora_run, tmp_path / "run")
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save(content | {"loops": {"fit_loop": 3}}, run / "checkpoints" / "last.ckpt")
    assert main(["resume", str(run), "--trainer.max_epochs", "3"]) == 2
    assert "cannot be resumed from" in capsys.readouterr().err

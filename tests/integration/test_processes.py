"""Several processes are one run: the same losses, the same scores, nothing twice."""

import csv
import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from samtune.cli import main
from samtune.errors import UserError
from tests.conftest import FAST, write_discs

# Time limits are guards: processes that wait for each other would wait forever.
LIMIT = 150


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Five training images, three to validate, three to test: none divides by two."""
    folder = tmp_path_factory.mktemp("uneven")
    for offset, (split, count) in enumerate((("train", 5), ("val", 3), ("test", 3))):
        write_discs(folder, split, count, seed=100 * offset)
    return folder


@pytest.fixture(scope="module")
def alone(uneven, tmp_path_factory):
    """A run of one process with four images at a time."""
    run = tmp_path_factory.mktemp("runs") / "alone"
    assert main(["fit", *arguments(uneven, run, 4)]) == 0
    return run


def arguments(data, run, batch_size):
    return [
        "--data.path", str(data), "--run", str(run), "--trainer.max_epochs", "2",
        "--data.batch_size", str(batch_size), *FAST,
    ]  # fmt: skip


def start(command, **environment):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def metrics(run):
    with (run / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def together(uneven, tmp_path_factory):
    """The same run by two processes with two images each."""
    run = tmp_path_factory.mktemp("runs") / "together"
    more = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [sys.executable, "-m", "samtune.cli", "fit", *arguments(uneven, run, 2), *more]
    return run, start(command)


@pytest.mark.slow
class TestTraining:
    def test_losses_and_scores_are_those_of_one_process(self, alone, together):
        expected, found = metrics(alone), metrics(together[0])
        assert len(found) == len(expected) == 4  # steps of 4 and 1 images, twice
        for ours, theirs in zip(found, expected, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)

    def test_the_tuned_weights_are_the_same(self, alone, together):
        from safetensors.torch import load_file

        expected, found = (
            load_file(run / "adapter" / "adapter_model.safetensors") for run in (alone, together[0])
        )
        assert found.keys() == expected.keys()
        gaps = [(found[name] - expected[name]).abs().max().item() for name in found]
        assert max(gaps) < 1e-4

    def test_each_thing_is_said_once(self, together):
        assert together[1].count("measuring the base") == 1
        assert together[1].count("epoch 1/2") == 1
        assert together[1].count("the run is in") == 1

    def test_the_run_may_be_used_by_one_process(self, together):
        asked = ["--general", "none", "--protocols", "box", "--device", "cpu"]
        assert main(["evaluate", str(together[0]), *asked]) == 0

    def test_one_process_does_not_go_on_where_two_have_stopped(self, together, capsys):
        """Batches are counted, and those of one process are other images than those of two."""
        before = (together[0] / "checkpoints" / "last.ckpt").read_bytes()
        alone = ["--trainer.devices", "1", "--trainer.strategy", "auto"]
        assert main(["resume", str(together[0]), *alone, "--trainer.max_epochs", "3"]) == 2
        told = capsys.readouterr().err
        assert "was saved by 2 training processes, and now there are 1" in told
        assert (together[0] / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_small_network_learns_the_same_in_copies_of_its_process(
    uneven, alone, tmp_path, monkeypatch
):
    from samtune import side_by_side
    from samtune.training.copies import Copies

    asked = []
    ask = Copies.ask
    monkeypatch.setattr(side_by_side, "num_side_by_side", lambda: 2)
    monkeypatch.setattr(
        Copies, "ask", lambda self, pieces: [asked.append(pieces), ask(self, pieces)]
    )
    run = tmp_path / "run"
    assert main(["fit", *arguments(uneven, run, 4)]) == 0
    assert [len(pieces) for pieces in asked] == [1, 0, 1, 0]  # steps of 4 and 1 images, twice
    expected = metrics(alone)
    assert len(expected) == 4
    for ours, theirs in zip(metrics(run), expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_no_copy_is_left_where_a_training_ends_early(uneven, tmp_path, monkeypatch):
    from samtune import side_by_side
    from samtune.training.module import SamTuner

    def fail(self):
        raise UserError("the second part is wrong")

    before = multiprocessing.active_children()
    monkeypatch.setattr(side_by_side, "num_side_by_side", lambda: 2)
    monkeypatch.setattr(SamTuner, "on_after_backward", fail)
    assert main(["fit", *arguments(uneven, tmp_path / "run", 4)]) == 2
    # one that another test left may end meanwhile: only new ones are counted
    started = [p for p in multiprocessing.active_children() if p not in before]
    for process in started:
        process.join(10)
    assert not any(process.is_alive() for process in started)


def test_several_processes_must_be_told_the_folder(uneven, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main(["fit", "--data.path", str(uneven), *FAST]) == 2
    assert "name the folder of the run with --run" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluation_is_shared_and_gathered_without_duplicates(alone, tmp_path, capsys):
    command = [
        "evaluate",
        str(alone),
        "--general",
        "none",
        "--device",
        "cpu",
        "--protocols",
        "box",
        "clicks_5",
    ]
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    told = start([*launcher, "-m", "samtune.cli", *command, "--out", str(tmp_path / "two")])
    assert told.count("report:") == 1
    one, two = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two")
    )
    commands = [results["about"].pop("command") for results in (one, two)]
    assert "samtune evaluate" in commands[0]
    assert one == two


def test_the_sbatch_file_starts_what_the_readme_says():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "scripts" / "fit.sbatch").read_text()
    assert "#SBATCH --ntasks-per-node" in text
    assert "srun" in text
    assert 'command=(fit --config "$config" --run "$run" "$@")' in text
    assert 'command=(resume "$run")' in text
    assert 'samtune "${command[@]}"' in text
    done = subprocess.run(["bash", "-n", "scripts/fit.sbatch"], check=False, capture_output=True)
    assert done.returncode == 0

"""`samtune bench`: a row for each model, measured apart."""

import json
import subprocess
import sys
import threading

import pytest

from samtune.cli import main
from samtune.tasks import benching
from samtune.tasks.bench import advice
from samtune.tasks.benching import extra_memory


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """What would have a process of its own, without the seconds that it takes to start one."""

    def run(command, **_):
        assert command[:3] == [sys.executable, "-m", "samtune.tasks.benching"]
        code = benching._measure_alone(*command[3:])
        return subprocess.CompletedProcess(command, code, *capsys.readouterr())

    monkeypatch.setattr("samtune.tasks.bench.subprocess.run", run)


@pytest.mark.slow
def test_a_model_is_measured_in_a_process_of_its_own(discs, capsys):
    image = discs / "test" / "images" / "0.png"
    assert (
        main(["bench", "nano", "--images", str(image), "--num_prompts", "1", "--device", "cpu"])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[2].startswith("| nano | 3806080 | 256 |")


@pytest.mark.usefixtures("in_this_process")
def test_each_model_has_a_row_and_its_figures(discs, lora_run, tmp_path, capsys):
    out = tmp_path / "figures.json"
    arguments = ["bench", "nano", str(lora_run), "--images", str(discs / "test" / "images")]
    assert main([*arguments, "--num_prompts", "2", "--device", "cpu", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| model | parameters | input |")
    assert lines[2].startswith("| nano | 3806080 | 256 |")
    assert len(lines) == 5
    assert lines[4].startswith("Take nano, the largest")
    figures = json.loads(out.read_text())
    for values in figures.values():
        assert values["images_per_second"] > 0
        whole = values["encode_seconds"] + values["decode_seconds"]
        assert 0 < whole < 2 / values["images_per_second"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nano", "--images", "/no/such/folder"], "there is no image /no/such/folder"),
        (["nano"], "--images"),
        (["no_model", "--images", "."], "there are no images"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_a_model_that_is_not_there_is_named(discs, capsys):
    assert main(["bench", "no_model", "--images", str(discs / "test" / "images")]) == 2
    assert "no_model: there is no model 'no_model'" in capsys.readouterr().err


MEASURE = """
import time
from samtune.tasks.benching import extra_memory

def take():
    block = bytearray(200 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(0.05)  # or the block may be gone before anybody looks

print(extra_memory(take, "cpu"))
"""


def test_memory_is_what_a_call_takes():
    # in a process of its own: one that has freed memory may take it again
    told = subprocess.run(
        [sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True, timeout=120
    )
    assert float(told.stdout) == pytest.approx(200, abs=40)


def test_a_call_that_fails_leaves_no_thread_behind():
    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        extra_memory(fail, "cpu")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("Thread-")]


def figures(**seconds):
    return {
        model: {
            "step_seconds": value, "step_mb": 2048.0, "parameters": float(len(model)),
            "encode_seconds": 0.5, "click_seconds": 0.04,
        }
        for model, value in seconds.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (
            {"a": 0.1, "large": 1.0, "largest": 10.0},
            "Take large, the largest of these that tunes within an hour here: a tuning on 100 "
            "images, each seen 20 times, takes about 33 min and 2.0 GB beyond the model; opening an "
            "image takes "
            "0.5 s, a click in it 0.04 s.",
        ),
        ({"a": 0.01}, "With a, a tuning on 100 images, each seen 20 times, takes about 20 s and"),
        (
            {"a": 9.0, "b": 4.0},
            "None of these tunes 100 images within an hour here: with b, the quickest, a tuning",
        ),
        ({"a": None}, "A training step fits with none of these models"),
    ],
)
def test_it_ends_in_advice(seconds, text):
    assert advice(figures(**seconds), 100).startswith(text)

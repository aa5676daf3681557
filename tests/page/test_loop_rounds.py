import os
import subprocess
import sys
import time

import msgspec
import pytest

import samtune
from samtune.commands.flags import parse
from samtune.errors import UserError
from samtune.page.rounds import (
    Reached,
    Round,
    Start,
    Tuning,
    present_model,
    read_rounds,
    write_rounds,
)

NANO = Start("nano")


def made(number, is_used, model="nano", start=NANO):
    new = Reached(0.7, (0.6, 0.8))
    return Round(
        number, f"runs/{number}", model, is_used, "said", 1.0, ["a"], ["b"], Reached(0.6, None), new,
        start,
    )  # fmt: skip


def test_rounds_are_read_back(tmp_path):
    assert read_rounds(tmp_path) == []
    rounds = [made(1, True), made(2, False)]
    write_rounds(tmp_path, rounds)
    assert read_rounds(tmp_path) == rounds
    (tmp_path / "rounds.json").write_text('[{"number": 1}]')
    with pytest.raises(UserError, match="delete it to begin anew"):
        read_rounds(tmp_path)


def test_the_last_round_that_helped_is_used():
    rounds = [made(1, True), made(2, True, "runs/1"), made(3, False, "runs/2")]
    assert present_model(NANO, rounds) == "runs/2"
    assert present_model(NANO, rounds[2:]) == "nano"
    assert present_model(NANO, []) == "nano"
    # another model, or other weights of it, are not what the rounds went on from
    assert present_model(Start("vit_b"), rounds) == "vit_b"
    assert present_model(Start("nano", "/weights.pth"), rounds) == "nano"
    both = [*rounds, made(4, True, "nano", Start("nano", "/weights.pth"))]
    assert present_model(NANO, both) == "runs/2"
    assert present_model(Start("nano", "/weights.pth"), both) == "runs/4"


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Starts a round whose process runs some code instead, and waits for its end."""
    real, found = subprocess.Popen, []

    def tuned(code):
        command = [sys.executable, "-c", code, str(tmp_path)]
        monkeypatch.setattr(subprocess, "Popen", lambda _, **more: real(command, **more))
        tuning = Tuning(tmp_path, NANO, 60, found.append)
        tuning.start()
        return tuning

    return tuned, found


def wait(tuning):
    for _ in range(500):
        if not tuning.is_running:
            return tuning.told()
        time.sleep(0.02)
    raise AssertionError("the round does not end")


def test_a_round_that_fails_says_why_and_ends_nothing(tune):
    begin, found = tune
    tuning = begin("raise SystemExit('samtune: too little was accepted')")
    told = wait(tuning)
    assert told["failed"] == "too little was accepted"
    assert found == []


def test_a_round_that_is_over_is_told(tune, tmp_path):
    begin, found = tune
    text = msgspec.json.encode([made(1, True)]).decode()
    code = f"import sys, pathlib; pathlib.Path(sys.argv[1], 'rounds.json').write_text({text!r})"
    told = wait(begin(code))
    assert told["failed"] == ""
    assert found == [made(1, True)]


@pytest.mark.skipif(not hasattr(os, "nice"), reason="processes have no priorities here")
def test_clicks_come_before_a_round(tune, tmp_path):
    tuned, _ = tune
    code = "import os, sys, pathlib, time; time.sleep(0.5)\n"
    code += "pathlib.Path(sys.argv[1], 'nice').write_text(str(os.nice(0))); sys.exit(1)"
    wait(tuned(code))
    assert int((tmp_path / "nice").read_text()) > os.nice(0)


def test_one_round_runs_at_a_time_and_can_be_stopped(tune):
    begin, found = tune
    tuning = begin("import time; time.sleep(60)")
    with pytest.raises(UserError, match="running already"):
        tuning.start()
    tuning.stop()
    assert wait(tuning)["failed"] == "the round was stopped"
    assert found == []


def test_a_round_is_told_the_weights_and_the_size_of_its_base(tmp_path, monkeypatch):
    real, asked = subprocess.Popen, []

    def popen(command, **more):
        asked.append(command)
        return real([sys.executable, "-c", "raise SystemExit(1)"], **more)

    monkeypatch.setattr(subprocess, "Popen", popen)
    tuning = Tuning(tmp_path, Start("mobile_sam", "/weights.pt", 512), 60, lambda _: None)
    tuning.start()
    wait(tuning)
    arguments = parse(samtune.loop, "loop", asked[0][4:], {})
    assert arguments == {
        "annotations": str(tmp_path), "model": "mobile_sam", "budget": "60s",
        "checkpoint": "/weights.pt", "image_size": 512,
    }  # fmt: skip

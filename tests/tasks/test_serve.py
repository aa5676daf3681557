"""`samtune serve`: what is told, and what is refused before a model is asked."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

import samtune
from samtune.errors import UserError

pytest.importorskip("uvicorn")


def test_the_token_of_the_environment_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMTUNE_TOKEN", "sixteen_letters-")
    served = samtune.serve("nano", images=[tmp_path])
    assert {row["address"] for row in served.tables["tools"]} == {
        "/sixteen_letters-", "/sixteen_letters-/cvat"
    }  # fmt: skip
    monkeypatch.delenv("SAMTUNE_TOKEN")
    tokens = {samtune.serve("nano").token for _ in range(2)}
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 16
    for bad in ("short", "x" * 15, "with/slash/in/it/xxxx", "ä" * 20):
        monkeypatch.setenv("SAMTUNE_TOKEN", bad)
        with pytest.raises(UserError, match="SAMTUNE_TOKEN"):
            samtune.serve("nano")


def test_folders_and_addresses_are_looked_at_first(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        samtune.serve("nano", images=[tmp_path / "gone"])
    with pytest.raises(UserError, match="no address"):
        samtune.serve("nano", label_studio="localhost:8080")


@pytest.mark.slow
def test_it_answers_until_it_is_interrupted(tmp_path):
    command = [sys.executable, "-u", "-m", "samtune.cli", "serve", "nano", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        address = re.fullmatch(r"Label Studio: (http://127\.0\.0\.1:\d+/\S+)\n", line)[1]
        told = urllib.request.urlopen(f"{address}/health", timeout=30).read()  # noqa: S310
        assert b"UP" in told
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == "nano was served to labelling tools"
    assert "Traceback" not in err

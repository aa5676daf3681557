"""The killer finds what it is there for; and a short run of it finds nothing."""

from typing import get_args

import pytest

from samtune.tasks.export import ExportTarget
from tests.faults import kills
from tests.faults.__main__ import main
from tests.faults.kills import KILLED, Killing, Undisturbed


def test_what_differs_in_the_end_is_found():
    expected = Undisturbed(1.0, {"out/a": b"1", "out/b": b"2"}, {"out/a", "out/b", "out/log"})
    found = {"out/a": b"1", "out/b": b"3", "out/.c.12345678.tmp": b"", "out/d": b""}
    told = Killing._differences(expected, found)
    assert told == (
        "left behind: out/.c.12345678.tmp; missing: out/log; more: out/d; other bytes: out/b"
    )
    assert Killing._differences(expected, expected.same | {"out/log": b"later"}) == ""


@pytest.mark.slow
def test_a_process_is_killed_at_work_and_started_again(tmp_path, monkeypatch):
    """A call that takes a second and says how often it was begun."""
    script = "import pathlib, time; f = pathlib.Path('out/times'); f.parent.mkdir(exist_ok=True); "
    script += "f.write_text(f.read_text() + 'x' if f.exists() else 'x'); time.sleep(1)"
    monkeypatch.setattr(kills, "COMMAND", ["-c", script])
    (tmp_path / "inputs").mkdir()
    killing = Killing(tmp_path / "inputs", tmp_path, 0)
    monkeypatch.setattr(killing.rng, "uniform", lambda least, most: 0.5)
    assert killing.kill("convert", times=2) == (2, "other bytes: out/times")


def test_every_target_of_an_export_is_killed():
    assert {f"export {target}" for target in get_args(ExportTarget)} - {"export adapter"} <= set(
        KILLED
    )
    assert "export" in KILLED  # as an adapter


@pytest.mark.parametrize("call", KILLED)
def test_what_is_killed_can_be_called(call, tmp_path):
    assert kills._command(call, tmp_path)


@pytest.mark.slow
def test_a_short_run_finds_nothing(capsys):
    assert main(["--kills", "4", "--minutes", "4", "--only", "convert", "prelabel"]) == 0, (
        capsys.readouterr().out
    )

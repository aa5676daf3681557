"""Help is printed at once: nothing of the network is imported for it."""

import subprocess
import sys

import pytest

from samtune.cli import COMMANDS, main

HEAVY = ("torch", "transformers", "peft", "pytorch_lightning")
SCRIPT = f"""
import sys
from samtune.cli import COMMANDS, main

for command in ([], *([name] for name in COMMANDS)):
    for flag in ("--help", "--help-all") if command else ("--help",):
        assert main([*command, flag]) == 0, command
        heavy = [name for name in {HEAVY!r} if name in sys.modules]
        assert not heavy, (command, heavy)
"""


def test_help_of_every_command_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    for name in COMMANDS:
        assert done.stdout.count(f"usage: samtune {name} ") == 2


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_without_a_command_the_commands_are_listed(words, capsys):
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = {line.split()[0]: line for line in told.out.splitlines() if line.startswith("  ")}
    assert lines.keys() == COMMANDS.keys()
    assert all(command.text in lines[name] for name, command in COMMANDS.items())


@pytest.mark.parametrize("flag", ["-h", "--help", "--help-all"])
def test_help_goes_before_all_else(flag, capsys):
    assert main(["segment", "--no_such_flag", flag]) == 0
    assert capsys.readouterr().out.startswith("usage: samtune segment MODEL IMAGES ...")


def test_names_of_commands_may_have_underscores(capsys):
    assert main(["learning_curve", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: samtune learning-curve")


def test_the_version(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("samtune")


def test_an_unknown_command_lists_the_known_ones(capsys):
    assert main(["fitt"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "there is no command 'fitt'" in told.err
    assert all(name in told.err for name in COMMANDS)


def test_what_moved_says_where(capsys):
    assert main(["data", "check", "x"]) == 2
    assert "samtune check" in capsys.readouterr().err

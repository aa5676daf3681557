"""Command lines that are wrong in every way, and what must come of each: a line, never a traceback."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from unittest.mock import patch

from samtune.cli import COMMANDS, main
from samtune.commands.flags import flags_of
from tests.fuzzing.damage import ABSURD_TEXTS

# Nothing here is written to but the folder that they are called in
_PATHS = (
    "missing", "missing.pth", ".", "images", "images/a.png", "labels/a.png", "fit.yaml", "augment.json",
    "/proc/nothing/x", "/dev/null/x", "x" * 300, "images/a.png/x", "hf:../x", "a.gpkg", "a.nii.gz",
    "[", "a,b", "1,2,3,4", "5,5,1,1", "nan,nan", "inf,0,0,1", "-1,-1", "1e30,1e30,2e30,2e30",
)  # fmt: skip
_TEXTS = (*_PATHS, *(text for text in ABSURD_TEXTS if "/" not in text))
# They would train for long: their base is never there
_NOWHERE = ["--base", "missing.pth"]
_LONG = {"fit": _NOWHERE, "learning-curve": _NOWHERE, "loop": ["--model", "missing.pth"]}
_MODELS = ("missing", "missing.pth", "images", ".", "fit.yaml", "images/a.png", "")


def arguments_of(rng):
    """A command with words that make no sense, or hardly any."""
    name = rng.choice(list(COMMANDS))
    module, _, function = COMMANDS[name].task.partition(":")
    flags = flags_of(getattr(import_module(f"samtune.tasks.{module}"), function or module))
    words = [name]
    for flag in flags:
        if flag.is_positional and rng.random() < 0.9:
            words.append(_positional(flag.name, rng))
        elif flag.is_required and rng.random() < 0.9:
            words += [f"--{flag.name}", rng.choice(("out", "out.json", *_PATHS))]
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        flag = rng.choice(flags).name
        words.append(rng.choice((f"--{flag}", f"--{flag}", f"--{flag}x", "--", "-", "-o", flag)))
        words += [rng.choice(_TEXTS) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    return [*words, *(["--yes"] if name in ("init", "fetch") else []), *_LONG.get(name, [])]


def _positional(name, rng):
    """Models are often there, small ones; what they are given is mostly something else."""
    if name in ("model", "models", "run"):
        return rng.choice(("adapter", "base", rng.choice(_MODELS)))
    return rng.choice((".", "images", "images/a.png", "volume.nii.gz", "a.tif", *_PATHS))


def call(folder, words):
    """Call a command in a folder.

    Raises:
        AssertionError: it ends with another code than it may, or tells more than a line.
    """
    os.chdir(folder)
    told = io.StringIO()
    # what was opened would be served until somebody closes it
    page, tools = (
        patch("samtune.tasks.open.Opened.serve"),
        patch("samtune.tasks.serve.Served.serve"),
    )
    with redirect_stdout(io.StringIO()), redirect_stderr(told), page, tools:
        code = main(words)
    last = told.getvalue().strip().rpartition("\n")[2]
    assert code in (0, 1, 2), f"code {code}"
    assert code != 2 or (last.startswith("samtune: ") and len(last) <= 1100), last
    assert "Traceback" not in told.getvalue(), last

"""A full disk in every command: one line, nothing half written, and the same call then ends well."""

import io
import json
import resource
import shutil
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

from samtune.cli import COMMANDS, main
from tests.faults.calls import CALLS, OUT, words_of, write_inputs, written

_WORDS = ("full", "cannot be written", "make room", "temporary directory")
_SETTLED = ("done", "wrote ", "saved", "the run is in", "report:", "page:", "objects in")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    place = tmp_path_factory.mktemp("calls") / "place"
    write_inputs(place)
    return place


@contextmanager
def files_end_at(size):
    """In this block no file grows beyond so many bytes, whoever writes it: the system refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def call(command):
    out, err = io.StringIO(), io.StringIO()
    # what was opened would be served until somebody closes it
    page = patch("samtune.tasks.open.Opened.serve")
    tools = patch("samtune.tasks.serve.Served.serve")
    with redirect_stdout(out), redirect_stderr(err), page, tools:
        code = main(words_of(command))
    return code, out.getvalue(), err.getvalue()


def require_whole(place):
    """Every file under its own name is whole: what can be parsed is."""
    for name in written(place):
        file = place / name
        assert not name.endswith(".tmp"), f"{name} is left behind"
        if name.endswith(".json"):
            json.loads(file.read_text())
        if name.endswith(".png"):
            with Image.open(file) as image:
                image.load()
        if name.endswith(".html"):
            assert file.read_text().rstrip().endswith("</html>"), name


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("size", [0, 20_000])
def test_is_told_in_a_line_and_nothing_is_half_written(
    inputs, tmp_path, monkeypatch, command, size
):
    place = shutil.copytree(inputs, tmp_path / "place")
    monkeypatch.chdir(place)
    before = written(place)
    with files_end_at(size):
        code, out, err = call(command)
    require_whole(place)
    if code == 0:  # nothing that it wrote is larger
        assert all(len(content) <= size for n, content in written(place).items() if n not in before)
        return
    last = err.strip().rpartition("\n")[2]
    assert code == 2, err
    assert last.startswith("samtune: "), err
    assert "Traceback" not in err
    assert any(word in last for word in _WORDS), last
    last_news = out.strip().rpartition("\n")[2]
    assert not any(word in last_news for word in _SETTLED), last_news
    code, _, err = call(command)
    assert code == 0, err
    require_whole(place)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_call(command):
    assert words_of(command)[0] == command


@pytest.mark.slow
@pytest.mark.parametrize("command", [name for name in COMMANDS if OUT in str(CALLS.get(name))])
def test_a_folder_that_vanishes_is_told(inputs, tmp_path, monkeypatch, command):
    """It is removed once, when the first file in it has been written."""
    place = shutil.copytree(inputs, tmp_path / "place")
    monkeypatch.chdir(place)
    replace, gone = Path.replace, []

    def replace_and_lose(self, target):
        found = replace(self, target)
        if not gone and OUT in Path(target).absolute().relative_to(tmp_path).parts:
            gone.append(target)
            shutil.rmtree(place / OUT)
        return found

    monkeypatch.setattr(Path, "replace", replace_and_lose)
    code, out, err = call(command)
    if not gone:  # it writes a whole folder at once, or nothing before it is asked to
        assert code == 0
        return
    assert code == 2, (gone, out[-300:])
    last = err.strip().rpartition("\n")[2]
    assert last.startswith("samtune: ")
    assert "Traceback" not in err

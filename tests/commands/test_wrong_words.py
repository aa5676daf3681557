"""Three hundred command lines that make no sense: each ends in a line or does what it says."""

import random
import shlex

import pytest

from tests.fuzzing import files
from tests.fuzzing.commands import arguments_of, call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everything") / "data"
    folder.mkdir()
    files.of_everything(folder)
    return folder


@pytest.mark.parametrize("part", range(6))
def test_no_command_ends_in_a_traceback(folder, part, monkeypatch):
    monkeypatch.chdir(folder)
    for seed in range(50 * part, 50 * part + 50):
        words = arguments_of(random.Random(seed))  # noqa: S311
        try:
            call(folder, words)
        except BaseException as error:
            pytest.fail(f"{error!r} of {shlex.join(['samtune', *words])}")

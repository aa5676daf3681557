"""Command lines that make no sense, three hundred with the slow ones: each ends in a line."""

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


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0, 20),
        *(pytest.param(each, each + 56, marks=pytest.mark.slow) for each in range(20, 300, 56)),
    ],
)
def test_no_command_ends_in_a_traceback(folder, first, last, monkeypatch):
    monkeypatch.chdir(folder)
    for seed in range(first, last):
        words = arguments_of(random.Random(seed))  # noqa: S311
        try:
            call(folder, words)
        except BaseException as error:
            pytest.fail(f"{error!r} of {shlex.join(['samtune', *words])}")

"""The fuzzer finds what it is there for; and a short run of it finds nothing."""

import os
import signal

import numpy as np
import pytest

from samtune.errors import UserError
from tests.fuzzing.__main__ import main
from tests.fuzzing.cases import Cases
from tests.fuzzing.subjects import SUBJECTS, Subject


def refuse(folder):
    raise UserError(f"{folder} is wrong")


def endless(folder):
    while True:
        pass


def greedy(folder):
    return np.ones(2**36, np.uint8)


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (refuse, ""),
        (lambda folder: [1.5, {"a": np.ones(2)}, None], ""),
        (lambda folder: [1.5, {"a": np.array([1, np.nan])}], "NaN or infinite"),
        (lambda folder: 1 / 0, "ZeroDivisionError at test_fuzzing.py"),
        (greedy, "MemoryError"),
        pytest.param(endless, "no answer within 1 s", marks=pytest.mark.slow),
        (lambda folder: os.kill(os.getpid(), signal.SIGSEGV), "the process ended with -11"),
    ],
    ids=["refused", "read", "nan", "traceback", "memory", "hang", "abort"],
)
def test_what_is_neither_read_nor_refused_is_found(read, told):
    subject = Subject(lambda folder: (folder / "a.txt").write_text("1 2 3"), read)
    with Cases({"it": subject}, seconds=1) as cases:
        for seed in (0, 1):  # the second, where a new child may have to be begun
            problem, _ = cases.run("it", seed)
            assert told in problem
            assert bool(problem) == bool(told)


def test_a_case_is_repeated_by_its_seed():
    def read(folder):
        raise ValueError((folder / "a.txt").read_bytes().hex()[:80])

    subject = Subject(lambda folder: (folder / "a.txt").write_text("1 2 3" * 20), read)
    with Cases({"it": subject}) as cases:
        found = [cases.run("it", seed) for seed in (3, 4, 3)]
    assert found[0] == found[2] != found[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_short_run_finds_nothing(name, capsys):
    code = main(["--only", name, "--seconds", "5", "--seed", "7"])
    assert code == 0, capsys.readouterr().out

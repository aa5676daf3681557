"""On how many cores a network computes, and how its threads wait for each other."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from samtune.tasks.opening import bound_threads

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}


@pytest.mark.parametrize(
    ("before", "given", "told"),
    [
        ("", {}, "5000"),
        ("", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("", {"OMP_WAIT_POLICY": "active"}, "None"),
        ("import torch", {}, "None"),
    ],
)
def test_threads_wait_briefly_unless_told_otherwise_or_it_is_too_late(before, given, told):
    code = f"{before}\nimport samtune, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=CLEAN | given, check=True
    )
    assert found.stdout.strip() == told


@pytest.mark.parametrize(
    ("cores", "given", "wanted"),
    [
        (1, {"GOMP_SPINCOUNT": "5000"}, 1),
        (2, {"GOMP_SPINCOUNT": "5000"}, 2),
        (2, {"OMP_WAIT_POLICY": "PASSIVE"}, 2),
        (8, {"GOMP_SPINCOUNT": "5000"}, 4),
        (2, {}, 1),
        (8, {"OMP_WAIT_POLICY": "active"}, 4),
    ],
)
def test_a_small_network_computes_on_half_of_the_cores(monkeypatch, cores, given, wanted):
    seen = []
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    weights = [torch.zeros(3)]
    bound_threads(SimpleNamespace(parameters=lambda: iter(weights)))
    assert seen == [wanted]


def test_who_says_how_many_threads_is_obeyed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: pytest.fail(str(number)))
    bound_threads(SimpleNamespace(parameters=lambda: pytest.fail("asked")))

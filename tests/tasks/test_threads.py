"""On how many cores a network computes, and how its threads wait for each other."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from samtune.tasks.opening import bound_threads

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}


@pytest.mark.parametrize(
    ("before", "given", "told"),
    [
        ("", {}, "passive"),
        ("", {"OMP_WAIT_POLICY": "active"}, "active"),
        ("import torch", {}, "None"),
    ],
)
def test_threads_sleep_while_they_wait_unless_it_is_too_late_to_ask(before, given, told):
    code = f"{before}\nimport samtune, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    environment = {**CLEAN, **given}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert found.stdout.strip() == told


@pytest.mark.parametrize(
    ("cores", "policy", "wanted"),
    [(1, "passive", 1), (2, "passive", 2), (8, "passive", 4), (2, "", 1), (8, "ACTIVE", 4)],
)
def test_a_small_network_computes_on_half_of_the_cores(monkeypatch, cores, policy, wanted):
    seen = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    weights = [torch.zeros(3)]
    bound_threads(SimpleNamespace(parameters=lambda: iter(weights)))
    assert seen == [wanted]


def test_who_says_how_many_threads_is_obeyed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: pytest.fail(str(number)))
    bound_threads(SimpleNamespace(parameters=lambda: pytest.fail("asked")))

"""Copies of a process: gradients as of one process alone, mistakes that are told, no one left over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from samtune.errors import UserError
from samtune.training.copies import Copies, num_copies

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be copied here")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))


@pytest.fixture
def rows():
    return torch.randn(12, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def copied(network):
    """The network with two copies that learn rows; a piece that is a word fails."""

    def learn(piece):
        if piece == "user":
            raise UserError("this image cannot be read")
        if piece == "defect":
            raise ZeroDivisionError("division by zero")
        network(piece).square().sum().backward()
        return len(piece), os.getpid()

    copies = Copies(network, learn, 2)
    yield copies, learn
    copies.close()


def gradients(network):
    return [p.grad.clone() for p in network.parameters()]


def test_gradients_are_those_of_one_process_after_each_step(network, rows, copied):
    copies, learn = copied
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        learn(rows)
        expected = gradients(network)
        optimizer.zero_grad()
        copies.ask([rows[4:8], rows[8:]])
        learn(rows[:4])
        found = copies.gather()
        torch.testing.assert_close(gradients(network), expected)
        optimizer.step()
    assert [size for size, _ in found] == [4, 4]
    assert len({os.getpid(), *(process for _, process in found)}) == 3


def test_fewer_pieces_than_copies_leave_the_others_idle(network, rows, copied):
    copies, _ = copied
    copies.ask([rows])
    assert len(copies.gather()) == 1
    assert all(p.grad is not None for p in network.parameters())
    copies.ask([])
    assert copies.gather() == []


def test_a_mistake_in_a_copy_is_raised_here_and_the_next_step_is_whole(network, rows, copied):
    copies, _ = copied
    copies.ask(["user", rows[:2]])
    with pytest.raises(UserError, match="this image cannot be read"):
        copies.gather()
    copies.ask([rows[:2], "defect"])
    with pytest.raises(ZeroDivisionError):
        copies.gather()
    copies.ask(["user", rows])  # and this process fails before it gathers
    copies.ask([rows[:2], rows[:3]])
    assert [size for size, _ in copies.gather()] == [2, 3]


def test_an_error_that_cannot_be_sent_is_told_by_its_words():
    class OwnError(Exception):
        def __init__(self, one, other):
            super().__init__(f"{one} and {other}")

    def fail(piece):
        raise OwnError(1, 2)

    copies = Copies(nn.Linear(2, 2), fail, 1)
    copies.ask([0])
    with pytest.raises(RuntimeError, match="OwnError: 1 and 2"):
        copies.gather()
    copies.close()


def test_a_copy_that_has_ended_is_told(copied, rows):
    copies, _ = copied
    copies.ask([rows, rows])
    process = copies.gather()[0][1]
    os.kill(process, signal.SIGKILL)
    copies.ask([rows])
    with pytest.raises(UserError, match="OMP_NUM_THREADS=1"):
        copies.gather()


def test_weights_are_this_process_s_own_again_after_the_end(network, rows, copied):
    copies, learn = copied
    torch.set_num_threads(1)
    before = network(rows)
    copies.close()
    copies.close()
    torch.testing.assert_close(network(rows), before)
    learn(rows)
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert not torch.equal(network(rows), before)


def test_without_copies_nothing_is_changed(network):
    weights = [p.data_ptr() for p in network.parameters()]
    copies = Copies(network, print, 0)
    copies.ask([])
    assert len(copies) == 0
    assert copies.gather() == []
    copies.close()
    assert [p.data_ptr() for p in network.parameters()] == weights


def test_there_are_no_copies_beside_a_gpu(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [num_copies(number, cpu) for number in (0, 1, 4)] == [0, 0, 3]
    assert num_copies(4, gpu) == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert num_copies(4, cpu) == 0


PARENT = """
import os, time, torch
from samtune.training.copies import Copies
copies = Copies(torch.nn.Linear(2, 2), lambda piece: os.getpid(), 2)
copies.ask([0, 0])
print(*copies.gather(), flush=True)
time.sleep(60)
"""


def test_no_copy_outlives_a_process_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        processes = [int(number) for number in parent.stdout.readline().split()]
        parent.kill()
    assert len(processes) == 2
    for _ in range(100):
        alive = [process for process in processes if is_alive(process)]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

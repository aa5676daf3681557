"""Work in several processes: the same answers, in order, and mistakes of users without a traceback."""

import os
import threading
import time

import pytest

from samtune.errors import UserError
from samtune.side_by_side import each_of, num_side_by_side


@pytest.mark.parametrize("num_processes", [0, 1, 3])
def test_answers_come_in_the_order_of_the_numbers(num_processes):
    def work(number):
        time.sleep(0.05 if number == 7 else 0)
        return number * number, os.getpid()

    found = list(each_of(work, [7, 1, 5, 2], num_processes))
    assert [square for square, _ in found] == [49, 1, 25, 4]
    are_here = {pid == os.getpid() for _, pid in found}
    assert are_here == {num_processes == 0}


@pytest.mark.parametrize("num_processes", [0, 2])
def test_a_mistake_of_the_user_is_told_as_it_is(num_processes):
    def work(number):
        if number == 2:
            raise UserError("image 2 is not there: put it back")
        return number

    answers = each_of(work, range(4), num_processes)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(UserError) as told:
        list(answers)
    assert str(told.value) == "image 2 is not there: put it back"


def test_a_thread_beside_others_works_in_its_own_process():
    found = []
    numbers = range(3)
    thread = threading.Thread(
        target=lambda: found.extend(each_of(lambda _: os.getpid(), numbers, 2))
    )
    thread.start()
    thread.join()
    assert found == [os.getpid()] * 3


def test_threads_that_were_asked_for_are_not_exceeded(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert num_side_by_side() == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no cores to count")
def test_a_machine_with_several_cores_uses_them(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert num_side_by_side() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert num_side_by_side() == 0

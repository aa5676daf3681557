"""One process at a time writes a result; the lock of a killed one holds nobody up."""

import os
import signal
import subprocess
import sys

import pytest

from samtune.errors import UserError
from samtune.files import require_new
from samtune.locks import claim, claiming, locked

HOLD = """
import sys, time
from pathlib import Path
from samtune.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked `out`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.usefixtures("holder")
def test_the_second_process_is_refused_in_a_line(tmp_path):
    with (
        pytest.raises(UserError, match=r"another process is writing .*out at"),
        locked(tmp_path / "out"),
    ):
        pass
    with claiming(), pytest.raises(UserError, match="another process"):
        require_new(tmp_path / "out", is_replaced=True)


def test_a_killed_process_leaves_no_lock_behind(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "out"):
        assert (tmp_path / ".out.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_task_within_a_task_may_write_what_the_outer_one_has_claimed(tmp_path):
    with claiming():
        claim(tmp_path / "out")
        with claiming(), locked(tmp_path / "out"):
            claim(tmp_path / "out")
        assert (tmp_path / ".out.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_only_the_lock_was_in_go_with_it(tmp_path):
    with locked(tmp_path / "a" / "b" / "out"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b" / "out"):
        (tmp_path / "a" / "b" / "out").write_text("x")
    assert (tmp_path / "a" / "b" / "out").exists()

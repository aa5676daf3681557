"""Cases are run by a child, many each, for one may hang it, end it or fill its memory."""

import faulthandler
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzzing.subjects import SUBJECTS

# Of a case: seconds of computing, and memory that it may take beyond what the child has already
SECONDS, BYTES = 30, 4 * 2**30
# It may wait for so many times as long: for a pipe that nobody writes to, or a machine with other work
_WAITING = 6
# After so many cases a child is replaced, so that what they leave behind does not add up
_CASES = 300


class Cases:
    """Runs cases one after another, in a child that is replaced when it ends.

    Args:
        subjects: by name.
        seconds: of computing that a case may take.
    """

    def __init__(self, subjects=SUBJECTS, seconds=SECONDS):
        self._subjects, self._seconds = subjects, seconds
        self._child = self._pipe = None
        self._left = 0

    def __enter__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz_"))
        return self

    def __exit__(self, *_):
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, name, seed):
        """Run a case.

        Returns:
            What is wrong (empty if nothing is), and what was done to the input.
        """
        if self._left == 0:
            self._end()
            self._start()
        self._left -= 1
        self._pipe.send((name, seed))
        try:
            if self._is_answered():
                return self._pipe.recv()
            problem = f"{name}: no answer within {self._seconds} s"
        except EOFError:
            self._child.join()
            problem = f"{name}: the process ended with {self._child.exitcode}"
        self._end()
        return problem, "repeat it to see"

    def _is_answered(self):
        """Whether the child answers in time."""
        began, computed = time.monotonic(), _computed(self._child.pid)
        while not self._pipe.poll(0.5):
            waited = time.monotonic() - began
            if waited > _WAITING * self._seconds:
                return False
            if _computed(self._child.pid) - computed > self._seconds:
                return False
        return True

    def _start(self):
        # a fork has all imports already
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs, self._folder, self._subjects))
        self._child.start()
        theirs.close()
        self._left = _CASES

    def _end(self):
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._pipe.close()
        self._child, self._left = None, 0


def _computed(process):
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(pipe, folder, subjects):
    """Run cases that are asked for, with nothing said and little memory."""
    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.stdin = os.fdopen(0)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        name, seed = pipe.recv()
        pipe.send(_run(subjects[name], name, seed, folder))


def _run(subject, name, seed, folder):
    """Damage a copy of the valid input, which is made once, and read it."""
    valid, copy = folder / "valid" / name, folder / "copy"
    if not valid.exists():
        building = folder / f"building_{name}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        subject.build(building)
        valid.parent.mkdir(exist_ok=True)
        building.rename(valid)
    os.chdir(folder)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(valid, copy / "data")
    return subject.try_(copy / "data", random.Random(f"{name} {seed}"))  # noqa: S311

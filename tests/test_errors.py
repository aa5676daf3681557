import errno
import json
import multiprocessing.synchronize
import os

import pytest

from samtune.errors import UserError, as_fault, require, require_room


def test_an_installed_package_is_imported():
    assert require("json", "geo") is json


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    with pytest.raises(UserError, match=r"'no_such_package', .*pip install 'samtune\[geo\]'"):
        require("no_such_package", "geo")


def test_a_users_error_is_a_value_error():
    assert issubclass(UserError, ValueError)


def test_what_a_damaged_file_puts_into_it_is_cut():
    text = str(UserError("a.txt lists " + "x" * 10_000 + ": take it out"))
    assert len(text) < 1000
    assert text.startswith("a.txt lists x")
    assert text.endswith("x: take it out")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), "the disk is full"),
        (ValueError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (ValueError("I/O error: File too large (os error 27)"), "the disk is full"),
        (
            FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
            "the disk is full",
        ),
        (RuntimeError("unable to open shared memory object </torch_1>"), "--data.num_workers 0"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "num_workers 0"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory ran out"),
        (MemoryError(), "memory ran out"),
        (FileNotFoundError(2, "No such file or directory", "out/a.png"), "out/a.png: No such file"),
    ],
)
def test_what_the_machine_lacks_is_told_with_what_to_do(error, told):
    assert told in str(as_fault(error))


def test_a_full_disk_is_told_from_what_else_went_wrong():
    require_room(ValueError("No space left on device"))
    require_room(OSError(5, "Input/output error"))
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        with pytest.raises(UserError, match="the disk is full"):
            require_room(OSError(number, os.strerror(number)))


def test_locks_that_processes_cannot_share_are_told(monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "_make_name", refuse)
    with pytest.raises(OSError, match="Read-only") as found:
        multiprocessing.Lock()
    assert "--data.num_workers 0" in str(as_fault(found.value))


@pytest.mark.parametrize(
    "error", [KeyError("a"), RuntimeError("sizes differ"), ConnectionError(1, "x"), OSError("odd")]
)
def test_a_defect_is_no_fault_of_the_machine(error):
    assert as_fault(error) is None


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("two\n  lines\r\nand a third\n", "two lines and a third"),
        ("a\x1b[31m.png", r"a\x1b[31m.png"),
        ("\u202egnp.a", r"\u202egnp.a"),
        ("half \ud800 of one", r"half \ud800 of one"),
        ("drei Äpfel 苹果 🙂", "drei Äpfel 苹果 🙂"),
    ],
)
def test_it_is_one_line_of_what_can_be_seen(message, line):
    assert str(UserError(message)) == line
    line.encode()

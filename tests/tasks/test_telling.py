"""What tasks say: printed where nobody else listens, and once."""

import logging
from contextlib import contextmanager

import pytest

from samtune.tasks.arguments import task
from samtune.tasks.telling import told, told_if_nobody_listens

log = logging.getLogger("samtune.tasks.example")


@contextmanager
def nobody(*handlers):
    """A program that has set up no logging; pytest's own handlers would be somebody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", list(handlers))
        yield


@task
def say(word: str) -> str:
    """Say a word."""
    log.info("news: %s", word)
    log.warning("trouble: %s", word)
    log.debug("details: %s", word)
    return word


def test_a_task_in_python_says_what_the_command_says(capsys):
    with nobody():
        assert say("x") == "x"
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("news: x\n", "trouble: x\n")


def test_it_is_said_once(capsys):
    with nobody(), told(), told_if_nobody_listens():
        say("x")
    assert capsys.readouterr().out == "news: x\n"


def test_a_program_with_logging_of_its_own_gets_it_there_alone(capsys, caplog):
    with nobody(caplog.handler), caplog.at_level(logging.INFO, "samtune"):
        say("x")
    assert [record.getMessage() for record in caplog.records] == ["news: x", "trouble: x"]
    assert capsys.readouterr().out == ""


def test_afterwards_all_is_as_it_was():
    logger = logging.getLogger("samtune")
    before = logger.level, list(logger.handlers)
    with nobody():
        say("x")
    assert (logger.level, logger.handlers) == before

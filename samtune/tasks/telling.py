"""Where what tasks say goes: to the terminal, unless a program has ways of its own."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from samtune.bars import write_beside_bars

_LOGGER = "samtune"


class _Teller(logging.Handler):
    """What tasks say goes where a person looks: news to stdout, what failed to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        write_beside_bars(record.getMessage(), stream)


@contextmanager
def told() -> Iterator[None]:
    """Within this block what tasks say is printed."""
    logger, teller = logging.getLogger(_LOGGER), _Teller()
    level = logger.level
    logger.addHandler(teller)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(teller)
        logger.setLevel(level)


@contextmanager
def told_if_nobody_listens() -> Iterator[None]:
    """The same in a program that has set up no logging; one that has gets what is said by that."""
    if logging.getLogger(_LOGGER).hasHandlers():
        yield
        return
    with told():
        yield

"""Whose turn it is to use the network: a person's question goes before all that is made ahead."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Turns:
    """Lets one thread at a time in; of those that wait, the urgent ones first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_taken = False
        self._num_urgent = 0
        self._asked = -math.inf

    @property
    def seconds_idle(self) -> float:
        """How long ago a person's question was over; never asked is forever."""
        return time.monotonic() - self._asked

    @contextmanager
    def taken(self, is_urgent: bool) -> Iterator[None]:
        """Wait for the turn, and have it for the time of the block."""
        with self._changed:
            self._num_urgent += is_urgent
            try:
                self._changed.wait_for(
                    lambda: not self._is_taken and (is_urgent or not self._num_urgent)
                )
                self._is_taken = True
            finally:
                self._num_urgent -= is_urgent
        try:
            yield
        finally:
            if is_urgent:
                self._asked = time.monotonic()
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()

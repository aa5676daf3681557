"""Whose turn it is to use the network: a person's question goes before all that is made ahead."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Turns:
    """Lets one thread at a time in; of those that wait, the urgent ones first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_taken = False
        self._num_urgent = 0

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
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()

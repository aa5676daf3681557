"""One piece of work after the other, in several processes side by side, and in their order.

The processes are copies of this one, so that a network is there without being sent; each computes in
one thread. A small network leaves most of a machine idle otherwise: its steps are too short for many
threads.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from samtune.errors import UserError

Found = TypeVar("Found")
# Processes at most: each holds what an image takes
_MOST = 8


def num_side_by_side() -> int:
    """How many processes a small network is best asked in; 0 is this one alone.

    OMP_NUM_THREADS says otherwise where it is set: it bounds what this process computes in.
    """
    if not _can_be_copied() or "OMP_NUM_THREADS" in os.environ:
        return 0
    cores = len(os.sched_getaffinity(0))
    return min(_MOST, cores) if cores > 1 else 0


def _can_be_copied() -> bool:
    """Whether a copy would be whole: what other threads of a server hold would stay held in it."""
    is_main = threading.current_thread() is threading.main_thread()
    is_child = multiprocessing.current_process().daemon
    return sys.platform.startswith("linux") and is_main and not is_child


def each_of(
    work: Callable[[int], Found], numbers: Sequence[int], num_processes: int
) -> Iterator[Found]:
    """What work makes of each number, in their order.

    Args:
        work: whose answer can be pickled, where there are several processes.
        numbers: of the pieces.
        num_processes: 0 works in this one; so does a machine where it cannot be copied.

    Raises:
        UserError: as work raises it.
    """
    if num_processes < 1 or len(numbers) < 2 or not _can_be_copied():
        yield from map(work, numbers)
        return
    from torch.utils.data import DataLoader

    pieces: Any = _Pieces(work, numbers)
    loader: Any = DataLoader(
        pieces, batch_size=None, num_workers=min(num_processes, len(numbers)),
        collate_fn=_as_it_is, multiprocessing_context="fork",
    )  # fmt: skip
    for found in loader:
        if isinstance(found, _Failed):
            raise UserError(found.text)
        yield found


class _Failed:
    """A mistake of the user's, found in a process whose own errors would come with a traceback."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Pieces:
    """The work as a data set, in the order of the numbers."""

    def __init__(self, work: Callable[[int], Any], numbers: Sequence[int]) -> None:
        self.work, self.numbers = work, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> Any:
        try:
            return self.work(self.numbers[place])
        except UserError as error:
            return _Failed(str(error))


def _as_it_is(item: Any) -> Any:
    return item

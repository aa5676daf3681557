"""Copies of this process that work out a part of each step, on cores that would be idle.

The steps of a small network are too short for many threads: two bring next to nothing, where two
processes bring half as many steps again. Trained weights lie in memory that all share, so that a copy
sees what the optimizer did, and it leaves its gradients in such memory too: nothing else is exchanged
but what is asked and what was found.
"""

import mmap
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

from samtune.errors import UserError

Work = Callable[[Any], Any]


def num_copies(num_processes: int, device: torch.device) -> int:
    """How many copies make so many processes; none with a GPU, whose threads no copy has.

    Args:
        num_processes: that are wanted, this one among them.
        device: of the network.
    """
    is_able = device.type == "cpu" and not torch.cuda.is_available()
    return max(0, num_processes - 1) if is_able else 0


class Copies:
    """Processes beside this one, each with the same network, that add to its gradients.

    Args:
        network: in training, on the CPU. Its trained weights move to shared memory until `close`.
        work: what a copy does with a piece of a step: it ends with `backward`, and what it returns can
            be pickled.
        num: of copies; with 0 nothing is changed.
    """

    def __init__(self, network: nn.Module, work: Work, num: int) -> None:
        self._trained = [p for p in network.parameters() if p.requires_grad] if num else []
        for parameter in self._trained:
            parameter.data = _shared(parameter.detach())
        self._threads = torch.get_num_threads()
        if num:
            torch.set_num_threads(1)
        self._gradients = [
            [_shared(torch.zeros_like(p)) for p in self._trained] for _ in range(num)
        ]
        self._ends: list[Connection] = []
        self._asked: list[int] = []
        for own in self._gradients:
            self._start(work, own)

    def _start(self, work: Work, gradients: list[Tensor]) -> None:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        self._ends.append(here)
        # a copy holds the ends that it got from this process; were they open, it would never see it end
        arguments = (work, self._trained, gradients, there, list(self._ends))
        context.Process(target=_serve, args=arguments, daemon=True).start()
        there.close()

    def __len__(self) -> int:
        return len(self._ends)

    def ask(self, pieces: Sequence[Any]) -> None:
        """Let copies begin, the first with the first piece; `gather` waits for them."""
        for number in self._asked:  # of a step that has failed
            self._receive(number)
        self._asked = list(range(len(pieces)))
        for end, piece in zip(self._ends, pieces, strict=False):
            _send(end, piece)

    def gather(self) -> list[Any]:
        """Add the copies' gradients to those of this process.

        Returns:
            What each piece's work returned, in their order.

        Raises:
            UserError: as the work raises it, or a copy has ended.
        """
        asked = self._asked
        found = [self._receive(number) for number in asked]
        self._asked = []
        if errors := [each for each in found if isinstance(each, Exception)]:
            raise errors[0]
        for number in asked:
            for parameter, gradient in zip(self._trained, self._gradients[number], strict=True):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad += gradient
        return found

    def _receive(self, number: int) -> Any:
        try:
            return pickle.loads(self._ends[number].recv_bytes())  # noqa: S301  # from a copy of this one
        except (EOFError, OSError) as error:
            raise UserError(
                "a process that worked out a part of each step has ended, most likely for want of "
                "memory: set OMP_NUM_THREADS=1 to train in one process alone"
            ) from error

    def close(self) -> None:
        """End the copies, and take the weights back; twice does no harm."""
        for end in self._ends:
            end.close()
        if self._ends:
            torch.set_num_threads(self._threads)
            for parameter in self._trained:
                parameter.data = parameter.detach().clone()
        self._ends, self._asked = [], []


def _shared(tensor: Tensor) -> Tensor:
    """The same values in memory that copies of this process share, which no file system bounds."""
    memory = mmap.mmap(-1, max(1, tensor.numel() * tensor.element_size()))
    flat = torch.frombuffer(memory, dtype=tensor.dtype, count=tensor.numel())
    return flat.view(tensor.shape).copy_(tensor)


def _send(end: Connection, message: Any) -> None:
    with suppress(OSError):  # whoever has ended is missed when it is to answer
        end.send_bytes(pickle.dumps(message))


def _serve(
    work: Work, trained: list[Tensor], gradients: list[Tensor], end: Connection,
    others: list[Connection],
) -> None:  # fmt: skip
    """Work in a copy, until the process that it was made from ends or closes its end."""
    for other in others:
        other.close()
    # the process that it was made from decides what an interruption means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    for parameter, gradient in zip(trained, gradients, strict=True):
        parameter.grad = gradient
    while (piece := _next(end)) is not None:
        for gradient in gradients:
            gradient.zero_()
        try:
            found = work(piece)
        except Exception as error:  # the process that asked tells it
            found = _told(error)
        _send(end, found)
    os._exit(0)


def _next(end: Connection) -> Any:
    try:
        return pickle.loads(end.recv_bytes())  # noqa: S301  # from the process that it is a copy of
    except (EOFError, OSError):
        return None


def _told(error: Exception) -> Exception:
    """An error as it can be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

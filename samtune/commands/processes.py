"""Several processes at one command: torchrun's and SLURM's word on which of how many this one is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_utilities.core.rank_zero import rank_zero_only

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)


def place() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) for one alone."""
    for rank, world, _ in _LAUNCHERS:
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def is_first() -> bool:
    """Whether this process writes the files; also among processes that Lightning starts itself."""
    return not getattr(rank_zero_only, "rank", 0)


def own_device() -> str:
    """The device of this process: its own GPU, or the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    for rank, _, local in _LAUNCHERS:
        if rank in os.environ:
            return f"cuda:{os.environ.get(local, '0')}"
    return "cuda"


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Rank and number of processes, which can gather objects within the block."""
    rank, world = place()
    if world > 1:
        if "SLURM_PROCID" in os.environ:
            os.environ.setdefault("RANK", str(rank))
            os.environ.setdefault("WORLD_SIZE", str(world))
        torch.distributed.init_process_group("gloo")
    try:
        yield rank, world
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()

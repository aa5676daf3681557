"""Several processes at one command: torchrun's and SLURM's word on which of how many this one is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_utilities.core.rank_zero import rank_zero_only

from samtune.errors import UserError

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)


def place() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) for one alone."""
    if "SLURM_PROCID" in os.environ and "SLURM_STEP_NUM_TASKS" not in os.environ:
        return 0, 1  # within an allocation, but not started by srun
    for rank, world, _ in _LAUNCHERS:
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def is_first() -> bool:
    """Whether this process writes the files; also among processes that Lightning starts itself."""
    rank = getattr(rank_zero_only, "rank", None)
    if rank is not None:
        return not rank
    # before Lightning is there to say it: what it starts itself has a local rank and no other
    return place()[0] == 0 and os.environ.get("LOCAL_RANK", "0") == "0"


def own_device() -> str:
    """The device of this process: its own GPU, or the CPU."""
    if not torch.cuda.is_available():
        return "cpu"
    for rank, _, local in _LAUNCHERS:
        if rank in os.environ:
            # a process to which SLURM gave one GPU sees no other
            return f"cuda:{int(os.environ.get(local, '0')) % torch.cuda.device_count()}"
    return "cuda"


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Rank and number of processes, which can gather objects within the block."""
    rank, world = place()
    if world > 1:
        if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
            raise UserError(
                f"{world} processes are to work together, but MASTER_ADDR and MASTER_PORT do not say "
                "where they meet: start them with torchrun, or see scripts/fit.sbatch"
            )
        if "SLURM_PROCID" in os.environ:
            os.environ.setdefault("RANK", str(rank))
            os.environ.setdefault("WORLD_SIZE", str(world))
        torch.distributed.init_process_group("gloo")
    try:
        yield rank, world
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()

"""What a training does where memory runs out: it goes on with less, once, to the same results."""

import logging
from abc import abstractmethod
from typing import Any

import pytorch_lightning as pl
import torch

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.training.memory import is_out_of_memory

log = logging.getLogger(__name__)


class LessMemory(pl.LightningModule):
    """A module whose network can decode fewer objects at once, and compute activations again."""

    # both change where memory runs out; 0 objects: the device chooses
    with_checkpointing = False
    objects_per_chunk = 0
    _has_saved_memory = False

    @property
    @abstractmethod
    def network(self) -> Sam:
        """What is in training."""

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, closure: Any = None
    ) -> None:
        try:
            super().optimizer_step(epoch, batch_idx, optimizer, closure)
            return
        except (RuntimeError, MemoryError) as error:
            # several processes are in the middle of exchanging gradients, and what was accumulated
            # before would be lost
            is_plain = self.trainer.world_size == self.trainer.accumulate_grad_batches == 1
            if not is_out_of_memory(error) or not is_plain:
                raise
        self.save_memory(0)
        optimizer.zero_grad()
        super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def save_memory(self, num_objects: int) -> None:
        """After running out of memory: half the objects at once, and checkpointing; once in a run.

        Args:
            num_objects: of the batch, where it is known.

        Raises:
            UserError: it was done before.
        """
        if self._has_saved_memory:
            raise UserError(
                "out of memory again, with checkpointing and fewer objects at once: lower "
                "data.batch_size (trainer.accumulate_grad_batches makes up for it), "
                "data.max_objects or image_size, or let --auto choose"
            )
        self._has_saved_memory = True
        self.objects_per_chunk = max(1, (self.objects_per_chunk or num_objects or 16) // 2)
        self.with_checkpointing = self.network.with_checkpointing = True
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.info(
            "out of memory at step %d: it goes on with checkpointing and %d objects at once (the "
            "results are the same)", self.global_step, self.objects_per_chunk,
        )  # fmt: skip

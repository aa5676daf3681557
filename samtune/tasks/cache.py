"""`cache`: compute what the frozen part of the encoder makes of every image, before training."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError
from samtune.files import sweep
from samtune.locks import claim
from samtune.ranges import Count
from samtune.tasks.arguments import task
from samtune.tasks.fit import gather
from samtune.tasks.results import Result
from samtune.tasks.settings import DataLike, Layer
from samtune.tasks.train import plan
from samtune.training.settings import ModelSettings, TrainerSettings

if TYPE_CHECKING:
    from samtune.data.dataset import PromptedDataset
    from samtune.types import Batch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheResult(Result):
    """What is kept now.

    Attributes:
        folder: where.
        made, were_there: answers of the encoder that are kept now.
        left_out: those for which the limit left no room.
    """

    folder: Path
    made: int
    were_there: int
    left_out: int = 0

    @property
    def headline(self) -> str:
        left = f", {self.left_out} NOT kept (data.cache.limit_gb)" if self.left_out else ""
        return f"cache: {self.made} made, {self.were_there} were there{left}, in {self.folder}"


@task
def cache(
    data: DataLike = None,
    *,
    base: str | Path | None = None,
    config: str | Path | None = None,
    model: Layer | ModelSettings | None = None,
    trainer: Layer | TrainerSettings | None = None,
    seed: int | None = None,
    checkpoint: str | Path | None = None,
    image_size: Count | None = None,
) -> CacheResult:
    """Compute the frozen part of the encoder for every image, before training.

    It takes the settings of `fit`, which would do the same during its first epoch. Several processes
    (torchrun, srun) share the images among them; what is there already is not made again.

    Args:
        data: folder or file with your images and masks, or settings of the data.
        base: as of `fit`.
        config: as of `fit`.
        model: what is trained, and how.
        trainer: Lightning's Trainer: precision.
        seed: as of `fit`.

    Raises:
        UserError: with these settings there is nothing to keep.
    """
    import torch

    from samtune.tasks.opening import quieten
    from samtune.tasks.processes import own_device, place
    from samtune.training.encoding import encode_batch

    quieten()
    torch.set_flush_denormal(True)
    given = {
        "data": data, "base": base, "model": model, "trainer": trainer, "seed": seed,
        "checkpoint": checkpoint, "image_size": image_size,
    }  # fmt: skip
    training = plan(gather(config, given))
    tuner, module, trained_by = training.model, training.data, training.trainer
    if module.cache.mode == "off":
        raise UserError("nothing would be kept: set data.cache.mode to fp16 or fp32")
    module.setup("fit")
    tuner.trainer = trained_by
    tuner.configure_model()
    rank, world = place()
    tuner.to(own_device()).eval()
    datasets = [(module.train_dataset(tuner), max(1, module.views)), (module.val_dataset(tuner), 1)]
    store = module.store
    if store is None:
        raise UserError("nothing would be kept: every part of the encoder is trained")
    if rank == 0:
        claim(store.folder)
        sweep(store.folder)
        log.info(store.tell(module.num_kept()))
    made = total = 0
    for batch in _batches(datasets, module.batch_size, module.num_workers, rank, world):
        missing = sum(kept is None for kept in batch.kept)
        made, total = made + missing, total + len(batch.kept)
        if missing:
            with torch.no_grad(), trained_by.precision_plugin.forward_context():
                encode_batch(tuner.network, batch.to(tuner.device), store)
    if store.trouble:
        raise UserError(
            f"{store.num_lost} of {total} answers of the encoder could not be kept in {store.folder} "
            f"({store.trouble}): make room, or give another data.cache.folder"
        )
    return CacheResult(store.folder, made - store.num_lost, total - made, store.num_lost)


def _batches(
    datasets: list[tuple[PromptedDataset, int]], batch_size: int, num_workers: int, rank: int,
    world: int,
) -> Iterator[Batch]:  # fmt: skip
    """This process's share of all images and views."""
    from torch.utils.data import DataLoader

    from samtune.bars import bar
    from samtune.data.dataset import Failure
    from samtune.data.loader import collate

    for dataset, views in datasets:
        places = [(index, view) for view in range(views) for index in range(len(dataset))]
        loader = DataLoader(
            dataset, batch_size, sampler=places[rank::world], num_workers=num_workers,
            collate_fn=partial(collate, seed=dataset.settings.seed),
        )  # fmt: skip
        split = "train" if dataset.is_training else "val"
        for batch in bar(loader, f"cache {split}", "batch"):
            if isinstance(batch, Failure):
                raise UserError(batch.message)
            yield batch

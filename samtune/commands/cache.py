"""`samtune cache`: compute what the frozen part of the encoder makes of every image, before training.

It takes the arguments of `samtune fit`, which would do the same during its first epoch. Several
processes (torchrun, srun) share the images among them; what is there already is not made again.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from samtune.commands.fit import parse
from samtune.commands.options import quieten
from samtune.commands.processes import own_device, place
from samtune.data.dataset import Failure, PromptedDataset
from samtune.data.loader import collate
from samtune.errors import UserError
from samtune.training.encoding import encode_batch
from samtune.types import Batch

_HELP = f"usage: samtune cache --config FILE [settings of samtune fit ...]\n\n{__doc__}"


def main(arguments: list[str]) -> None:
    if not arguments or "--help" in arguments or "-h" in arguments:
        print(_HELP)
        return
    quieten()
    print(fill_cache(arguments))


def fill_cache(arguments: list[str]) -> str:
    """Fill the cache for the run that these arguments of `samtune fit` describe.

    Returns:
        A line on what was made.

    Raises:
        UserError: the settings keep nothing.
    """
    torch.set_flush_denormal(True)
    cli = parse(arguments)
    model, data = cli.model, cli.datamodule
    if data.cache.mode == "off":
        raise UserError("nothing would be kept: set data.cache.mode to fp16 or fp32")
    data.setup("fit")
    model.trainer = cli.trainer
    model.configure_model()
    rank, world = place()
    model.to(own_device()).eval()
    datasets = [(data.train_dataset(model), max(1, data.views)), (data.val_dataset(model), 1)]
    if rank == 0:
        print(data.store.tell(data.num_kept()))
    made = total = 0
    for batch in _batches(datasets, data.batch_size, data.num_workers, rank, world):
        missing = sum(kept is None for kept in batch.kept)
        made, total = made + missing, total + len(batch.kept)
        if missing:
            with torch.no_grad(), cli.trainer.precision_plugin.forward_context():
                encode_batch(model.network, batch.to(model.device), data.store)
    return f"cache: {made} made, {total - made} were there, in {data.store.folder}"


def _batches(
    datasets: list[tuple[PromptedDataset, int]], batch_size: int, num_workers: int, rank: int,
    world: int,
) -> Iterator[Batch]:  # fmt: skip
    """This process's share of all images and views."""
    for dataset, views in datasets:
        places = [(index, view) for view in range(views) for index in range(len(dataset))]
        loader = DataLoader(
            dataset, batch_size, sampler=places[rank::world], num_workers=num_workers,
            collate_fn=partial(collate, seed=dataset.settings.seed),
        )  # fmt: skip
        split = "train" if dataset.is_training else "val"
        for batch in tqdm(loader, desc=f"cache {split}", unit="batch", disable=None):
            if isinstance(batch, Failure):
                raise UserError(batch.message)
            yield batch

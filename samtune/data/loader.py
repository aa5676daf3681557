"""Batches in a seeded order that can be taken up again in the middle of an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from samtune.data.dataset import Failure, Item
from samtune.errors import UserError
from samtune.prompts.seeding import object_rng
from samtune.types import Batch, Prompt


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (index, epoch), shuffled by (seed, epoch); Lightning calls `set_epoch`.

    Args:
        length: of the data set.
        seed: of the order; `None` keeps the order and the epoch at 0 (validation).
    """

    def __init__(self, length: int, seed: int | None) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch if self.seed is not None else 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = list(range(self.length))
        if self.seed is not None:
            order = object_rng(self.seed, self.epoch, "order").permutation(self.length).tolist()
        for index in order:
            yield index, self.epoch


class SharedBatches(Sampler[list[tuple[int, int]]]):
    """Batches of one process among several, which together go through the order once.

    Each step takes the next `batch_size` images for every process. Of the last, smaller step each
    process takes an equal share, which may be none: a step must count for all.

    Args:
        order: of the images; Lightning finds it under the name `sampler` and sets its epoch.
        batch_size: images of one process at a time.
        rank, world: which process of how many.
    """

    def __init__(self, order: EpochSampler, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.sampler = order
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.num_skipped = 0

    def __len__(self) -> int:
        return -(-len(self.sampler) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        places, step = list(self.sampler), self.batch_size * self.world
        for start in range(self.num_skipped * step, len(places), step):
            together = places[start : start + step]
            if len(together) == step:
                first = self.rank * self.batch_size
                yield together[first : first + self.batch_size]
            else:
                yield together[self.rank :: self.world]


def collate(items: list[Item | Failure | None], seed: int) -> Batch | Failure:
    """Pack items into a batch: objects are concatenated and know their image."""
    for item in items:
        if isinstance(item, Failure):
            return item
    good = [item for item in items if isinstance(item, Item)]
    counts = torch.tensor([len(item.keys) for item in good], dtype=torch.int64)
    prompts: dict[str, list[Prompt]] = {}
    for item in good:
        for key, values in item.prompts.items():
            prompts.setdefault(key, []).extend(values)
    pixels = [item.pixel_values for item in good if item.pixel_values.numel()]
    return Batch(
        pixel_values=torch.stack(pixels) if pixels else torch.empty(0),
        image_index=torch.repeat_interleave(torch.arange(len(good)), counts),
        targets=torch.cat([item.targets for item in good]) if good else torch.empty(0),
        valid=torch.stack([item.valid for item in good]) if good else torch.empty(0),
        prompts=prompts,
        keys=[key for item in good for key in item.keys],
        seed=(seed, good[0].epoch if good else 0),
        entries=[item.entry for item in good],
        kept=[item.kept for item in good],
    )


class BatchLoader(DataLoader[Any]):
    """A loader of `Batch`es that remembers how many it gave, so that a resumed run goes on there.

    Args:
        dataset: what to load; it is indexed by (index, epoch).
        batch_size: images at a time.
        seed: of the order (training), or `None` to keep the order (validation).
        num_workers: processes that read and prepare.
        rank, world: which of how many training processes this one is.
        collate: makes a batch of items; without it `collate`.
    """

    def __init__(
        self, dataset: Any, batch_size: int, seed: int | None, num_workers: int,
        rank: int = 0, world: int = 1, collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:  # fmt: skip
        self.order = EpochSampler(len(dataset), seed)
        self.batches = SharedBatches(self.order, batch_size, rank, world)
        self._num_given = 0
        self._num_to_skip = 0
        super().__init__(
            dataset,
            batch_sampler=self.batches,
            num_workers=num_workers,
            collate_fn=collate or _Collate(dataset.settings.seed),
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._num_given, self._num_to_skip = self._num_to_skip, 0
        self.batches.num_skipped = self._num_given
        for batch in super().__iter__():
            if isinstance(batch, Failure):
                raise UserError(batch.message)
            self._num_given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        given = (self._num_to_skip or self._num_given) % max(len(self), 1)
        return {"num_given": given, "num_processes": self.batches.world}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the batches that were given in this epoch.

        Raises:
            UserError: they were those of another number of processes. Of a batch each process takes a
                part, so as many of this number are other images, and Lightning, which counts batches,
                would not end the epoch where it ends.
        """
        world = self.batches.world
        before = state.get("num_processes", world)
        if before != world:
            raise UserError(
                f"the state was saved by {before} training processes, and now there are {world}: as "
                f"many batches would be other images; go on with {before} (--trainer.devices, "
                "--trainer.num_nodes), or train on from what it learned by samtune fit --start"
            )
        self._num_to_skip = state["num_given"]


class _Collate:
    """A picklable `collate` with its seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, items: list[Item | Failure | None]) -> Batch | Failure:
        return collate(items, self.seed)

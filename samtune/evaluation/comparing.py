"""Base against tuned on held-out images: the same prompts, paired by object.

Measured at the original resolution.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from samtune.bars import bar
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.evaluation.asking import Answer, AskedImage
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.row_store import RowStore
from samtune.evaluation.rows import Row
from samtune.evaluation.settings import EvaluationSettings
from samtune.types import Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        rows: of all processes, in the order of the images.
        data_sha256: over pixels and labels of all images, as they were read.
    """

    rows: list[Row]
    data_sha256: str

    @property
    def num_objects(self) -> int:
        return len({row.key for row in self.rows})


class _Images(Dataset[Sample | str]):
    """Samples; a string is the reason why an image could not be read."""

    def __init__(self, source: Source, count: int) -> None:
        self.source, self.count = source, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample | str:
        try:
            return self.source.read(index)
        except UserError as error:
            return str(error)


def compare(
    contestants: Contestants,
    source: Source,
    settings: EvaluationSettings,
    watch: Callable[[Answer], None] | None = None,
    what: str = "evaluate",
    store: RowStore | None = None,
) -> Comparison:
    """Evaluate the contestants on every object of a source.

    Args:
        contestants: base, and tuned if there is one.
        source: held-out images.
        settings: protocols and the rest.
        watch: is shown each answer (the report's gallery).
        what: stands before the progress bar.
        store: keeps the rows of each image that is done, and has those of an interrupted evaluation.

    Raises:
        UserError: an image cannot be read and `on_error` is `fail`, or there are no objects.
    """
    rows: list[tuple[int, Row]] = []
    digests: dict[int, str] = {}
    grid = contestants.sam.frame.grid(contestants.sam.mask_side)
    for number, sample in _read(source, settings, what):
        digests[number] = _digest(sample)
        image = AskedImage(sample, source.records[number], settings, grid)
        measured = partial(_measure, contestants, image)
        for row in measured() if store is None else store.rows(image, digests[number], measured):
            rows.append((number, row))
            if watch is not None:
                watch(image.answer(row))
    rows, digests = _gather(rows, digests, settings.world)
    if settings.own is not None and all(
        row.protocol != settings.own.protocol.name for _, row in rows
    ):
        raise UserError(
            "none of your own prompts is for an object of these images: their files must be those of "
            "the data, and points or boxes must lie on objects"
        )
    if not rows:
        raise UserError("there is no object to evaluate on: the masks are empty")
    together = "".join(digests[number] for number in sorted(digests))
    digest = hashlib.sha256(together.encode()).hexdigest()
    return Comparison([row for _, row in rows], digest)


def _measure(contestants: Contestants, image: AskedImage) -> list[Row]:
    settings = image.settings
    views = contestants.views(
        image.sample.image, settings.tile, settings.with_focus, settings.with_sharpening
    )
    return list(image.rows(contestants, views))


def _digest(sample: Sample) -> str:
    """Of pixels and labels as they were read: the same data give the same, wherever they lie."""
    digest = hashlib.sha256(repr((sample.image.shape, sample.labels.shape)).encode())
    digest.update(np.ascontiguousarray(sample.image).data)
    digest.update(np.ascontiguousarray(sample.labels).data)
    return digest.hexdigest()


def _gather(
    rows: list[tuple[int, Row]], digests: dict[int, str], world: int
) -> tuple[list[tuple[int, Row]], dict[int, str]]:
    """Rows of all processes, sorted by image."""
    if world == 1:
        return rows, digests
    parts: list[Any] = [None] * world
    torch.distributed.all_gather_object(parts, (rows, digests))
    everything = {number: text for _, part in parts for number, text in part.items()}
    return sorted((row for part, _ in parts for row in part), key=lambda pair: pair[0]), everything


def _read(source: Source, settings: EvaluationSettings, what: str) -> Iterator[tuple[int, Sample]]:
    count = source.num_of_first(settings.max_images)
    images = _Images(source, count)
    numbers = range(settings.rank, count, settings.world)
    loader = DataLoader(
        images, batch_size=None, sampler=numbers, num_workers=settings.num_workers,
        collate_fn=lambda item: item,
    )  # fmt: skip
    progress = bar(loader, what, "image")
    for number, item in zip(numbers, progress, strict=True):
        if not isinstance(item, str):
            yield number, item
        elif settings.on_error == "fail":
            raise UserError(f"{item} (data.on_error: skip leaves such images out)")
        else:
            log.warning("left out: %s", item)

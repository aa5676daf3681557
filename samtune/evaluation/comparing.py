"""Base against tuned on held-out images: the same prompts, paired by object.

Measured at the original resolution.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from samtune.bars import bar
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.evaluation.asking import Answer, AskedImage
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.row_store import RowStore
from samtune.evaluation.rows import Row
from samtune.evaluation.settings import EvaluationSettings
from samtune.side_by_side import each_of
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


@dataclass(frozen=True)
class Asked:
    """An image that was asked about.

    Attributes:
        number: of the image in its source.
        rows: one for each object, kind of prompt and draw.
        digest: of its pixels and labels, as they were read.
        sample: with what was read; `None` where nobody wants to see it.
    """

    number: int
    rows: list[Row]
    digest: str
    sample: Sample | None


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
    for asked in asked_of(contestants, source, settings, what, store, watch is not None):
        digests[asked.number] = asked.digest
        rows += [(asked.number, row) for row in asked.rows]
        if watch is not None and asked.sample is not None:
            image = _asked_image(contestants, source, settings, asked.number, asked.sample)
            for row in asked.rows:
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


def asked_of(
    contestants: Contestants, source: Source, settings: EvaluationSettings, what: str = "",
    store: RowStore | None = None, with_samples: bool = False, until: float = float("inf"),
    least: int = 0,
) -> Iterator[Asked]:  # fmt: skip
    """Ask about every image of a source, in processes side by side where the settings say so.

    Args:
        contestants, source, settings, what, store: see `compare`.
        with_samples: what was read is wanted too.
        until: `time.monotonic` at which no further image is begun, after the `least` first.

    Raises:
        UserError: an image cannot be read and `on_error` is `fail`.
    """

    def read(place: int) -> Sample | str | None:
        if place >= least and time.monotonic() > until:
            return None
        try:
            return source.read(numbers[place])
        except UserError as error:
            return str(error)

    def ask(place: int, sample: Sample | str | None) -> Asked | str | None:
        if not isinstance(sample, Sample):
            return sample
        number = numbers[place]
        image = _asked_image(contestants, source, settings, number, sample)
        digest, measured = _digest(sample), partial(_measure, contestants, image)
        rows = measured() if store is None else store.rows(image, digest, measured)
        return Asked(number, rows, digest, sample if with_samples else None)

    numbers = range(settings.rank, source.num_of_first(settings.max_images), settings.world)
    places = range(len(numbers))
    if settings.num_processes:
        found = each_of(lambda place: ask(place, read(place)), places, settings.num_processes)
    else:
        found = map(ask, places, each_of(read, places, settings.num_workers))
    for asked in bar(found, what, "image", total=len(numbers)):
        if isinstance(asked, Asked):
            yield asked
        elif asked is not None and settings.on_error == "fail":
            raise UserError(f"{asked} (data.on_error: skip leaves such images out)")
        elif asked is not None:
            log.warning("left out: %s", asked)


def _asked_image(
    contestants: Contestants, source: Source, settings: EvaluationSettings, number: int,
    sample: Sample,
) -> AskedImage:  # fmt: skip
    grid = contestants.sam.frame.grid(contestants.sam.mask_side)
    return AskedImage(sample, source.records[number], settings, grid)


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

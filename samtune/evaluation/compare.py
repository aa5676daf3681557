"""Base against tuned on held-out images: the same prompts, paired by object.

Measured at the original resolution.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from samtune.data.dataset import OnError
from samtune.data.objects import ObjectPlace, find_objects, object_key, object_mask
from samtune.data.preprocess import to_pixel_values
from samtune.data.source import SPACING_COLUMNS, Record, Source
from samtune.errors import UserError
from samtune.evaluation.contestants import TUNED, Contestants
from samtune.evaluation.measure import contrast, encode, measure
from samtune.evaluation.own_prompts import OwnPrompts
from samtune.evaluation.rows import Row
from samtune.evaluation.session import play, stack_truths
from samtune.prompts.protocols import Protocol
from samtune.prompts.seeding import object_rng
from samtune.types import Features, InputFrame, MaskArray, ObjectKey, Prompt, Sample

# Pixels of all masks that are held at once, for each of truth, base and tuned.
_PIXELS_PER_CHUNK = 200_000_000


@dataclass(frozen=True)
class EvaluationSettings:
    """How a comparison is run.

    Attributes:
        protocols: kinds of prompts.
        own: the user's own prompts, asked beside them.
        seed: of the prompts.
        repeats: how often random prompts are drawn.
        min_area: objects of fewer pixels are left out.
        max_images: 0 for all.
        with_multimask: single prompts are answered by three masks, the best by predicted IoU taken.
        tuned_multimask: the same for the tuned model, where it was trained otherwise than the base
            is used; `None` for no difference.
        spacing: distance between rows and between columns, for distances between outlines; `None`
            takes it from the manifest's columns `spacing_row` and `spacing_column`, or 1.
        tolerance: of surface Dice, in the unit of `spacing`.
        on_error: what an unreadable image does.
        num_workers: processes that read images.
        rank, world: which of how many processes this one is; they share the images.
    """

    protocols: tuple[Protocol, ...]
    own: OwnPrompts | None = None
    seed: int = 0
    repeats: int = 1
    min_area: int = 10
    max_images: int = 0
    with_multimask: bool = True
    tuned_multimask: bool | None = None
    spacing: tuple[float, float] | None = None
    tolerance: float = 2.0
    on_error: OnError = "fail"
    num_workers: int = 0
    rank: int = 0
    world: int = 1

    def multimask_of(self, contestant: str) -> bool:
        """Whether a contestant answers single prompts thrice."""
        if contestant == TUNED and self.tuned_multimask is not None:
            return self.tuned_multimask
        return self.with_multimask

    def spacing_of(self, record: Record) -> tuple[float, float]:
        """Distance between rows and between columns of an image.

        Raises:
            UserError: the manifest's columns hold something else than numbers above 0.
        """
        if self.spacing is not None:
            return self.spacing
        columns = dict(record.columns)
        texts = [columns.get(name, "").strip() or "1" for name in SPACING_COLUMNS[:2]]
        try:
            row, column = (float(text) for text in texts)
        except ValueError:
            row = column = 0.0
        if not (0 < row < np.inf and 0 < column < np.inf):
            raise UserError(
                f"the manifest gives {record.image_id} a spacing of {' and '.join(texts)}: numbers "
                "above 0 are needed"
            )
        return row, column


@dataclass(frozen=True)
class Answer:
    """A row with what is needed to draw it."""

    row: Row
    sample: Sample
    truth: MaskArray
    prompt: Prompt
    masks: dict[str, MaskArray]


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
class _Objects:
    """Some objects of one image."""

    sample: Sample
    record: Record
    keys: list[ObjectKey]
    truths: list[MaskArray]
    contrasts: list[float]
    rles: list[bytes]


class _Images(Dataset[tuple[Sample, Tensor] | str]):
    """Samples with their pixel values; a string is the reason why an image could not be read."""

    def __init__(self, source: Source, frame: InputFrame, count: int) -> None:
        self.source, self.frame, self.count = source, frame, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Sample, Tensor] | str:
        try:
            sample = self.source.read(index)
        except UserError as error:
            return str(error)
        return sample, to_pixel_values(sample.image, self.frame)


def compare(
    contestants: Contestants,
    source: Source,
    settings: EvaluationSettings,
    watch: Callable[[Answer], None] | None = None,
    what: str = "evaluate",
) -> Comparison:
    """Evaluate the contestants on every object of a source.

    Args:
        contestants: base, and tuned if there is one.
        source: held-out images.
        settings: protocols and the rest.
        watch: is shown each answer while its masks exist (the report's gallery).
        what: stands before the progress bar.

    Raises:
        UserError: an image cannot be read and `on_error` is `fail`, or there are no objects.
    """
    rows: list[tuple[int, Row]] = []
    digests: dict[int, str] = {}
    for number, sample, pixel_values in _read(contestants, source, settings, what):
        digests[number] = _digest(sample)
        features = contestants.encode(pixel_values[None].to(contestants.sam.device))
        everything, record = find_objects(sample.labels, settings.min_area), source.records[number]
        own: dict[int, Prompt] = {}
        if settings.own is not None:
            own = settings.own.of_image(record.path, sample.labels, everything)
        for places in _in_chunks(everything, sample):
            objects = _take_out(sample, record, places)
            for answer in _answers(contestants, features, objects, own, settings):
                rows.append((number, answer.row))
                if watch is not None:
                    watch(answer)
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


def _in_chunks(places: list[ObjectPlace], sample: Sample) -> list[list[ObjectPlace]]:
    """Objects of an image in parts whose masks fit `_PIXELS_PER_CHUNK`."""
    size = max(1, _PIXELS_PER_CHUNK // (sample.image.shape[0] * sample.image.shape[1]))
    return [places[start : start + size] for start in range(0, len(places), size)]


def _take_out(sample: Sample, record: Record, places: list[ObjectPlace]) -> _Objects:
    truths = [object_mask(sample.labels, place) for place in places]
    return _Objects(
        sample, record, [object_key(sample, place) for place in places], truths,
        [contrast(sample.image, truth) for truth in truths], [encode(truth) for truth in truths],
    )  # fmt: skip


def _read(
    contestants: Contestants, source: Source, settings: EvaluationSettings, what: str
) -> Iterator[tuple[int, Sample, Tensor]]:
    count = min(len(source), settings.max_images or len(source))
    images = _Images(source, contestants.sam.frame, count)
    numbers = range(settings.rank, count, settings.world)
    loader = DataLoader(
        images, batch_size=None, sampler=numbers, num_workers=settings.num_workers,
        collate_fn=lambda item: item,
    )  # fmt: skip
    progress = tqdm(loader, desc=what, unit="image", disable=None)
    for number, item in zip(numbers, progress, strict=True):
        if not isinstance(item, str):
            yield number, *item
        elif settings.on_error == "fail":
            raise UserError(f"{item} (data.on_error: skip leaves such images out)")
        else:
            tqdm.write(f"left out: {item}")


def _answers(
    contestants: Contestants, features: dict[str, Features], objects: _Objects,
    own: dict[int, Prompt], settings: EvaluationSettings,
) -> Iterator[Answer]:  # fmt: skip
    """Every protocol, each drawn as often as its randomness asks for."""
    grid = contestants.sam.frame.with_side(contestants.sam.mask_side)
    for protocol in settings.protocols:
        for repeat in range(settings.repeats if protocol.is_random else 1):
            # the first draw has the seed that a single one has
            parts = (protocol.name, repeat) if repeat else (protocol.name,)
            rngs = [
                object_rng(settings.seed, key.image_id, key.object_id, *parts)
                for key in objects.keys
            ]
            pairs = zip(objects.truths, rngs, strict=True)
            prompts: list[Prompt | None] = [protocol.draw(truth, rng, grid) for truth, rng in pairs]
            yield from _ask(contestants, features, objects, prompts, protocol, repeat, settings)
    if settings.own is not None:
        prompts = [own.get(key.object_id) for key in objects.keys]
        yield from _ask(contestants, features, objects, prompts, settings.own.protocol, 0, settings)


def _ask(
    contestants: Contestants, features: dict[str, Features], objects: _Objects,
    prompts: list[Prompt | None], protocol: Protocol, repeat: int, settings: EvaluationSettings,
) -> Iterator[Answer]:  # fmt: skip
    """The objects that have a prompt, under one protocol."""
    asked = [(index, prompt) for index, prompt in enumerate(prompts) if prompt is not None]
    if not asked:
        return
    indices, first = [index for index, _ in asked], [prompt for _, prompt in asked]
    truths = stack_truths([objects.truths[index] for index in indices])

    def rng(place: int, number: int) -> np.random.Generator:
        key, parts = objects.keys[indices[place]], (repeat,) if repeat else ()
        return object_rng(settings.seed, key.image_id, key.object_id, protocol.name, *parts, number)

    scores, masks = {}, {}
    for name in contestants.names:
        with contestants.playing(name) as sam:
            played = play(
                sam, features[name], truths, first, protocol, settings.multimask_of(name), rng
            )
        spacing = settings.spacing_of(objects.record)
        scores[name] = measure(played, truths, spacing, settings.tolerance)
        masks[name] = played.masks.numpy()
    sample, record = objects.sample, objects.record
    for place, (index, prompt) in enumerate(asked):
        row = Row(
            protocol.name, objects.keys[index], int(objects.truths[index].sum()),
            {name: values[place] for name, values in scores.items()},
            sample.group or sample.image_id, repeat, record.columns, objects.contrasts[index],
            objects.truths[index].shape, objects.rles[index],
        )  # fmt: skip
        shown = {name: values[place] for name, values in masks.items()}
        yield Answer(row, sample, objects.truths[index], prompt, shown)

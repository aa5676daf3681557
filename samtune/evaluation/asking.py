"""The objects of one image under every protocol: the same first prompts for all contestants."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from samtune.data.objects import ObjectPlace, find_objects, object_key, object_mask
from samtune.data.source import Record
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.measure import contrast, encode, measure
from samtune.evaluation.playing import play, stack_truths
from samtune.evaluation.rows import Row, Score
from samtune.evaluation.settings import EvaluationSettings
from samtune.evaluation.trivial import trivial_ious
from samtune.inference.views import ImageViews
from samtune.masks import rle_to_mask
from samtune.prompts.protocols import Protocol
from samtune.prompts.seeding import object_rng
from samtune.types import Grid, MaskArray, ObjectKey, Prompt, Sample

# Pixels of all masks that are held at once, for each of truth, base and tuned.
_PIXELS_PER_CHUNK = 200_000_000


@dataclass(frozen=True)
class Answer:
    """A row with what is needed to draw it, made when it is asked for.

    Attributes:
        row: what was measured.
        sample: the image.
        draw: makes the first prompt, original frame.
    """

    row: Row
    sample: Sample
    draw: Callable[[], Prompt]

    @property
    def prompt(self) -> Prompt:
        return self.draw()

    @property
    def truth(self) -> MaskArray:
        """(H, W)."""
        return _mask(self.row.rle, self.row)

    @property
    def masks(self) -> dict[str, MaskArray]:
        """(H, W) by contestant."""
        return {name: _mask(score.rle, self.row) for name, score in self.row.scores.items()}


class AskedImage:
    """One image, its objects, and how they are prompted.

    Args:
        sample: the image.
        record: what the source says of it.
        settings: of the comparison.
        grid: of mask prompts.
    """

    def __init__(
        self, sample: Sample, record: Record, settings: EvaluationSettings, grid: Grid
    ) -> None:
        self.sample, self.record, self.settings, self.grid = sample, record, settings, grid
        self.places = find_objects(sample.labels, settings.min_area)
        self.own: dict[int, Prompt] = {}
        if settings.own is not None:
            self.own = settings.own.of_image(record.path, sample.labels, self.places)

    def rows(self, contestants: Contestants, views: dict[str, ImageViews]) -> Iterator[Row]:
        """Ask every protocol, each as often as its randomness asks for.

        Args:
            contestants: who answers.
            views: of the image, by contestant.
        """
        for places in self._chunks():
            objects = _Objects(self, places)
            for protocol in self.settings.protocols:
                for repeat in range(self.settings.repeats if protocol.is_random else 1):
                    prompts = [
                        self._prompt(protocol, repeat, key, truth)
                        for key, truth in zip(objects.keys, objects.truths, strict=True)
                    ]
                    yield from objects.ask(contestants, views, prompts, protocol, repeat)
            if self.settings.own is not None:
                own = [self.own.get(key.object_id) for key in objects.keys]
                yield from objects.ask(contestants, views, own, self.settings.own.protocol, 0)

    def answer(self, row: Row) -> Answer:
        """With what is needed to draw a row of this image, now measured or kept from before."""
        return Answer(row, self.sample, partial(self._prompt_of, row))

    def _prompt_of(self, row: Row) -> Prompt:
        for protocol in self.settings.protocols:
            if protocol.name == row.protocol:
                return self._prompt(protocol, row.repeat, row.key, _mask(row.rle, row))
        return self.own[row.key.object_id]

    def _prompt(self, protocol: Protocol, repeat: int, key: ObjectKey, truth: MaskArray) -> Prompt:
        """The first prompt of an object, the same whenever it is drawn."""
        # the first draw has the seed that a single one has
        parts = (protocol.name, repeat) if repeat else (protocol.name,)
        rng = object_rng(self.settings.seed, key.image_id, key.object_id, *parts)
        return protocol.draw(truth, rng, self.grid)

    def _chunks(self) -> list[list[ObjectPlace]]:
        """Objects in parts whose masks fit `_PIXELS_PER_CHUNK`."""
        height, width = self.sample.image.shape[:2]
        size = max(1, _PIXELS_PER_CHUNK // (height * width))
        return [self.places[start : start + size] for start in range(0, len(self.places), size)]


class _Objects:
    """Some objects of an image, with their masks."""

    def __init__(self, image: AskedImage, places: list[ObjectPlace]) -> None:
        sample = image.sample
        self.image = image
        self.keys = [object_key(sample, place) for place in places]
        self.truths = [object_mask(sample.labels, place) for place in places]
        self.contrasts = [contrast(sample.image, truth) for truth in self.truths]
        self.rles = [encode(truth) for truth in self.truths]

    def ask(
        self, contestants: Contestants, views: dict[str, ImageViews],
        prompts: Sequence[Prompt | None], protocol: Protocol, repeat: int,
    ) -> Iterator[Row]:  # fmt: skip
        """The objects that have a prompt, under one protocol."""
        asked = [(index, prompt) for index, prompt in enumerate(prompts) if prompt is not None]
        if not asked:
            return
        indices, first = [index for index, _ in asked], [prompt for _, prompt in asked]
        truths = stack_truths([self.truths[index] for index in indices])
        settings, record = self.image.settings, self.image.record

        def rng(place: int, number: int) -> np.random.Generator:
            key, parts = self.keys[indices[place]], (repeat,) if repeat else ()
            name = protocol.name
            return object_rng(settings.seed, key.image_id, key.object_id, name, *parts, number)

        scores = {}
        for name in contestants.names:
            with contestants.playing(name) as sam:
                played = play(
                    sam, views[name], truths, first, protocol, settings.multimask_of(name), rng,
                    with_oracle=not settings.is_brief,
                )  # fmt: skip
            spacing = settings.spacing_of(record)
            scores[name] = measure(played, truths, spacing, settings.tolerance, settings.is_brief)
        for place, index in enumerate(indices):
            its = {name: values[place] for name, values in scores.items()}
            trivial: dict[str, float] = {}
            if not protocol.num_corrections and not settings.is_brief:
                trivial = trivial_ious(self.image.sample.image, first[place], self.truths[index])
            yield self._row(protocol, repeat, index, its, trivial)

    def _row(
        self, protocol: Protocol, repeat: int, index: int, scores: dict[str, Score],
        trivial: dict[str, float],
    ) -> Row:  # fmt: skip
        sample, truth = self.image.sample, self.truths[index]
        return Row(
            protocol.name, self.keys[index], int(truth.sum()), scores,
            sample.group or sample.image_id, repeat, self.image.record.columns,
            self.contrasts[index], truth.shape, self.rles[index], trivial,
        )  # fmt: skip


def _mask(counts: bytes, row: Row) -> MaskArray:
    return rle_to_mask({"size": row.hw, "counts": counts.decode()})

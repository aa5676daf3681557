"""What a sharpener learns from: a network's answers on training images, beside what is there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from samtune.bars import bar
from samtune.data.datamodule import SamDataModule
from samtune.data.drawn.source import DrawnPictures
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import FewObjects, Source
from samtune.errors import UserError
from samtune.evaluation.settings import EvaluationSettings
from samtune.inference.views import ImageViews, Viewed, ask_in_views, carried_over
from samtune.models.backend import Sam
from samtune.models.sharpening.network import Sharpener
from samtune.prompts.correction import correction_click
from samtune.prompts.protocols import PROTOCOLS
from samtune.prompts.seeding import object_rng
from samtune.side_by_side import each_of
from samtune.tasks.evaluating import Asking
from samtune.tasks.opening import num_processes_of
from samtune.training.sharpening import Answered, answered
from samtune.types import MaskArray, Prompt, Sample

# First prompts of each object: an exact box, whose edges tell most, and one of the others
_EXACT, _OTHERS = "box", ("box_jitter", "point", "point_uniform")
# Objects of an image at most
_OBJECTS = 8
# This share of the answers is followed by one with a click where it was wrong
_CLICKED = 0.3
# Drawn pictures that are asked about, and objects of each: a few of many tell more than many of few.
# There are no more of their answers than of the domain's, but for a few
_GENERAL, _LEAST_GENERAL, _GENERAL_OBJECTS = 96, 32, 3
# Answers that are kept at most (about 60 kB each)
_MOST = 4000


def domain_answers(
    sam: Sam, sharpener: Sharpener, data: SamDataModule, split: str, until: float
) -> list[Answered]:
    """Answers on images of a split, beside the truth.

    Args:
        sam: who is asked.
        sharpener: says how large crops are.
        data: whose images, in an order of their own.
        split: `train` or `val`.
        until: `time.monotonic` at which no further image is begun, after two.
    """
    # how images are looked at; what is asked on them is drawn below
    settings = Asking((_EXACT,), seed=data.seed).settings(data, split, sam)
    source: Source = FewObjects(data.source(split), _OBJECTS, data.seed)
    order = object_rng(data.seed, "sharpening").permutation(len(source)).tolist()

    def ask(place: int) -> list[Answered]:
        if place >= 2 and time.monotonic() > until:
            return []
        try:
            sample = source.read(order[place])
        except UserError:  # was told in training
            return []
        return list(_of_image(sam, sharpener, sample, settings))

    found: list[Answered] = []
    answers = each_of(ask, range(len(order)), settings.num_processes)
    for few in bar(answers, "asking to sharpen", "image", total=len(order), delay=5):
        found += few
        if len(found) >= _MOST:
            break
    return found


def general_answers(
    sam: Sam, sharpener: Sharpener, num_own: int, seed: int, until: float
) -> list[Answered]:
    """Answers on a few drawn pictures, by which what is learned of a domain changes others less.

    Args:
        sam: who is asked.
        sharpener: says how large crops are.
        num_own: answers of the domain that stand beside them.
        seed: of the prompts.
        until: `time.monotonic` at which no further picture is drawn, after two.
    """
    # an object has two prompts
    wanted = max(_LEAST_GENERAL, num_own // (2 * _GENERAL_OBJECTS))
    pictures = DrawnPictures("train", num_pictures=min(_GENERAL, wanted))
    source = FewObjects(pictures, _GENERAL_OBJECTS, seed)
    return list(drawn_answers(sam, sharpener, source, seed, until))


def drawn_answers(
    sam: Sam, sharpener: Sharpener, pictures: Source, seed: int, until: float
) -> Iterator[Answered]:
    """Answers on drawn pictures, beside the truth.

    Args:
        sam: who is asked.
        sharpener: says how large crops are.
        pictures: with their objects.
        seed: of the prompts.
        until: `time.monotonic` at which no further picture is drawn, after two.
    """
    settings = EvaluationSettings((PROTOCOLS[_EXACT],), seed=seed)

    def ask(index: int) -> list[Answered]:
        if index >= 2 and time.monotonic() > until:
            return []
        return list(_of_image(sam, sharpener, pictures.read(index), settings))

    for few in each_of(ask, range(len(pictures)), num_processes_of(sam)):
        yield from few


def _of_image(
    sam: Sam, sharpener: Sharpener, sample: Sample, settings: EvaluationSettings
) -> Iterator[Answered]:
    prompts, truths = _prompts(sam, sample, settings)
    views = ImageViews(sample.image, sam, settings.tile, settings.with_focus)
    first = list(ask_in_views(sam, views, prompts))
    rng = object_rng(settings.seed, sample.image_id, "sharpening")
    for viewed in (*first, *_clicked(sam, views, first, truths, rng)):
        each = (own for few in viewed.full_logits(sam) for own in few[:, 0].cpu().numpy())
        for logits, prompt, index in zip(each, viewed.prompts, viewed.answer.indices, strict=True):
            seen = answered(sharpener, sample.image, viewed.window, logits, prompt, truths[index])
            if seen is not None:
                yield seen


def _prompts(
    sam: Sam, sample: Sample, settings: EvaluationSettings
) -> tuple[list[Prompt], list[MaskArray]]:
    """First prompts of all objects of an image, and for each prompt its object."""
    grid = sam.frame.grid(sam.mask_side)
    prompts, truths = [], []
    for place in find_objects(sample.labels, settings.min_area):
        truth = object_mask(sample.labels, place)
        rng = object_rng(settings.seed, sample.image_id, place.object_id, "sharpening")
        for name in (_EXACT, str(rng.choice(_OTHERS))):
            prompts.append(PROTOCOLS[name].draw(truth, rng, grid))
            truths.append(truth)
    return prompts, truths


def _clicked(
    sam: Sam, views: ImageViews, first: Sequence[Viewed], truths: Sequence[MaskArray],
    rng: np.random.Generator,
) -> Iterator[Viewed]:  # fmt: skip
    """Answers to some of the prompts with a click where the first answer was wrong."""
    prompts, windows, places = [], [], []
    for viewed in first:
        for row, mask in enumerate(viewed.masks(sam)):
            if rng.random() >= _CLICKED:
                continue
            place = viewed.answer.indices[row]
            click = correction_click(truths[place], mask, "uniform", rng)
            low_res = viewed.answer.logits[row].float().cpu().numpy()
            clicked = replace(viewed.prompts[row].with_point(*click), mask_input=low_res)
            prompt, window = carried_over(views, clicked, viewed.window)
            prompts.append(prompt)
            windows.append(window)
            places.append(place)
    for again in ask_in_views(sam, views, prompts, windows):
        own = [places[index] for index in again.answer.indices]
        yield replace(again, answer=replace(again.answer, indices=own))

"""What is asked at the end of a training, on validation images and on drawn ones, and the answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from samtune.data.datamodule import SamDataModule
from samtune.data.drawn.source import DrawnPictures
from samtune.data.objects import find_objects
from samtune.data.source import FewObjects, Source, Subset
from samtune.errors import UserError
from samtune.evaluation.comparing import asked_of
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.forgetting import GENERAL_PROTOCOLS
from samtune.evaluation.rows import Row
from samtune.evaluation.settings import EvaluationSettings
from samtune.models.backend import Sam
from samtune.prompts.protocols import find_protocols
from samtune.tasks.evaluating import Asking

_PROTOCOLS = ("box", "point", "clicks_3")
# Objects of an image that are asked, and images at most: few of many tell more than many of few
_OBJECTS, _IMAGES = 4, 60
# General pictures and objects of each. They are asked without a window of each object's own: a point
# loses by a few objects whose answer is another one, which only many objects tell. The fall of polyps
# was 0.044 (standard error 0.018) on 89 objects in windows, 0.011 (0.008) on 201 of the same pictures
# without, in two thirds of the time; on 238 of 64 pictures 0.021 (0.010), on 560 without 0.013 (0.005)
_GENERAL, _GENERAL_OBJECTS = 32, 8


@dataclass(frozen=True)
class Questions:
    """Images, and how to ask on them."""

    source: Source
    settings: EvaluationSettings


def questions_of(
    data: SamDataModule, sam: Sam, most_images: int = _IMAGES, most_objects: int = 0
) -> tuple[Questions, Questions]:
    """What is asked on the validation images, and on general pictures.

    Args:
        data: whose validation images.
        sam: who is asked.
        most_images: of these, at most.
        most_objects: in all, where that is more than a few of each image.
    """
    settings = replace(Asking(_PROTOCOLS).settings(data, "val", sam), num_workers=0, is_brief=True)
    source = data.source("val")
    step = max(1, -(-len(source) // most_images))
    indices = list(range(0, len(source), step))
    objects = max(_OBJECTS, most_objects // max(1, len(indices)))
    chosen = FewObjects(Subset(source, indices), objects, data.seed)
    general = replace(
        settings, protocols=tuple(find_protocols(GENERAL_PROTOCOLS)), spacing=None, tile=0,
        with_focus=False,
    )  # fmt: skip
    pictures = DrawnPictures("val", num_pictures=_GENERAL)
    drawn = FewObjects(pictures, _GENERAL_OBJECTS, data.seed)
    return Questions(chosen, settings), Questions(drawn, general)


def answers_to(
    sam: Sam,
    questions: Questions,
    images: set[str] | None = None,
    until: float = float("inf"),
    what: str = "",
) -> Iterator[Row]:
    """Answers of a network, image by image, to those named or while there is time.

    Args:
        sam: who is asked.
        questions: what.
        images: on which; `None` are all.
        until: `time.monotonic` at which no further image is begun, after two.
        what: a bar says; without it there is none.
    """
    contestants = Contestants(sam, is_tuned=True, with_base=False)
    chosen = _chosen(questions, images)
    settings = replace(questions.settings, on_error="skip")
    least = 0 if until == float("inf") else _first_with_objects(chosen, 2, settings.min_area)
    for asked in asked_of(contestants, chosen, settings, what, until=until, least=least):
        yield from asked.rows


def _first_with_objects(source: Source, count: int, min_area: int) -> int:
    """How many images of a source it takes to have so many with something to ask."""
    num_found = 0
    for index in range(len(source)):
        num_found += _has_objects(source, index, min_area)
        if num_found == count:
            return index + 1
    return len(source)


def _has_objects(source: Source, index: int, min_area: int) -> bool:
    """Whether there is something to ask; images that cannot be read were told in training."""
    try:
        return bool(find_objects(source.read(index).labels, min_area))
    except UserError:
        return False


def _chosen(questions: Questions, images: set[str] | None) -> Source:
    records = questions.source.records
    if images is None:
        return questions.source
    return Subset(
        questions.source, [n for n, each in enumerate(records) if each.image_id in images]
    )

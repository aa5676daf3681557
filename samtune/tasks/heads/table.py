"""What tasks do with a head, by its name: a new one is a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samtune.tasks.heads import classes, instances, semantic
from samtune.tasks.heads.job import HeadJob
from samtune.tasks.heads.sharpening import sharpen_objects

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.data.source import Source
    from samtune.models.backend import Sam


@dataclass(frozen=True)
class HeadWork:
    """What is done with a head beside asking it.

    Attributes:
        evaluate: on whole images: `rows` of a table, `scores`, a `headline`, `warnings`, and `images`
            with a row each.
        choose: after training, of a model, validation images and the least area of an object: sets
            how the head is read, and says so in a sentence.
        sharpen: after that, of a model, its data, these images, the steps of its training and seconds:
            trains what sharpens its objects, and says so; `None` of a head that finds none.
    """

    evaluate: Callable[[HeadJob], dict[str, Any]]
    choose: Callable[[Sam, Source, int], str]
    sharpen: Callable[[Sam, SamDataModule, Source, int, float | None], str] | None = None


HEAD_WORK = {
    "instances": HeadWork(instances.evaluate, instances.choose, sharpen_objects),
    "semantic": HeadWork(semantic.evaluate, semantic.choose),
    "classes": HeadWork(classes.evaluate, classes.choose),
}

"""The head for classes of pixels in tasks: how it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.tasks.heads.job import GRID, HEAD, NONE, HeadJob, tell_difference
from samtune.tasks.results import Rows

if TYPE_CHECKING:
    from samtune.data.source import Source
    from samtune.models.backend import Sam

GRID_NAMED = "grid, classes from the truth"


def evaluate(job: HeadJob) -> dict[str, Any]:
    """Classes of pixels: the head against masks of a grid that the truth gave their classes."""
    from samtune.evaluation.pixel_classes import (
        by_class,
        difference,
        image_ious,
        map_classes,
        named_by_truth,
        summarise,
    )
    from samtune.inference.semantic import ClassMapper

    own = ClassMapper(job.sam)
    ways: dict[str, Any] = {HEAD: lambda image, truth: own.labels(image)[0]}
    against = job.against
    if against == GRID:
        against = GRID_NAMED
        grid = job.searching(job.sam, "grid")
        ways[against] = named_by_truth(grid)
    elif against != NONE:
        other = ClassMapper(job.other())
        if other.classes != own.classes:
            raise UserError(
                f"{against} has the classes {', '.join(other.classes)}, and the model has "
                f"{', '.join(own.classes)}: compare heads of the same classes"
            )
        ways[against] = lambda image, truth: other.labels(image)[0]
    source = job.data.whole_source(job.split)
    mapped = map_classes(ways, source, own.classes, job.max_images)
    scores = {way: summarise(mapped, way, job.seed) for way in ways}
    delta = difference(mapped, HEAD, against, job.seed) if len(ways) > 1 else None
    ious = {way: image_ious(mapped, way) for way in ways}
    images: Rows = [
        {
            "image": each.image_id,
            "group": each.cluster,
            **{f"{way} mIoU": float(ious[way][n]) for way in ways},
        }
        for n, each in enumerate(mapped)
    ]
    rows = [row for way in ways for row in by_class(mapped, way, own.classes)]
    what = "semantic: mIoU by image"
    return {
        "rows": rows, "scores": scores, "classes": list(own.classes), "difference": delta,
        "headline": tell_difference(what, "miou_by_image", HEAD, scores, delta, against),
        "warnings": [], "images": images,
    }  # fmt: skip


def choose(sam: Sam, source: Source, min_area: int) -> str:
    """Nothing is left to choose."""
    return "the best head by validation is kept: pixels get the likeliest class"

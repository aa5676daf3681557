"""Objects that a head or a grid finds in whole images, without classes and with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from samtune.tasks.heads.job import GRID, HEAD, NONE, HeadJob, tell_difference
from samtune.tasks.results import Rows
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.evaluation.whole_images import Looked


def evaluate_objects(job: HeadJob, own: str) -> dict[str, Any]:
    """Objects of whole images, with classes where somebody names them.

    Args:
        job: whose model and images.
        own: by what the model looks: HEAD, which is set beside a grid, or a GRID alone.
    """
    from samtune.evaluation.whole_images import accuracies, difference, look, summarise

    by: Literal["instances", "grid"] = "instances" if own == HEAD else "grid"
    ways = {own: job.searching(job.sam, by)}
    if job.against == GRID:
        ways.setdefault(GRID, job.searching(job.sam, "grid"))
    elif job.against != NONE:
        ways[job.against] = job.searching(job.other(), by)
    source = job.data.whole_source(job.split)
    looked = look(ways, source, job.data.min_area, job.max_images)
    scores = {way: summarise(looked, way, job.seed) for way in ways}
    delta = difference(looked, own, job.against, job.seed) if len(ways) > 1 else None
    accuracy = {way: accuracies(looked, way) for way in ways}
    images: Rows = [
        {
            "image": each.image_id,
            "group": each.cluster,
            **{f"{way} mSA": float(accuracy[way][n]) for way in ways},
        }
        for n, each in enumerate(looked)
    ]
    what = "instances: mSA" if own == HEAD else "masks of a grid: mSA"
    found = {
        "rows": [_row(way, its) for way, its in scores.items()], "scores": scores,
        "difference": delta, "headline": tell_difference(what, "msa", own, scores, delta, job.against),
        "warnings": [], "images": images,
    }  # fmt: skip
    if job.classifier or "classes" in job.sam.heads:
        _add_classes(found, looked, own)
    return found


def _add_classes(found: dict[str, Any], looked: Sequence[Looked], own: str) -> None:
    """COCO's mask AP with classes, in numbers, in a table and in the headline."""
    from samtune.evaluation.whole_images import class_precisions

    for way, scores in found["scores"].items():
        scores["named"] = class_precisions(looked, way)
    mine = found["scores"][own]["named"]
    if not mine["classes"]:
        found["warnings"].append(
            "no object of these images has a class: masks are named, not judged"
        )
        return
    found["by_class"] = [
        {
            "by": way, "class": name, "AP": its["ap"], "AP50": its["ap50"], "AP75": its["ap75"],
            "objects": its.get("num_objects"), "named so": its.get("num_named"),
        }
        for way, scores in found["scores"].items()
        for name, its in (*scores["named"]["classes"].items(), ("mean", scores["named"]))
    ]  # fmt: skip
    found["headline"] += f"; with classes AP {mine['ap']:.3f}, AP50 {mine['ap50']:.3f}"
    if never := [name for name, its in mine["classes"].items() if not its["num_named"]]:
        found["warnings"].append(
            f"no mask was named {never[0]}, though there are "
            f"{counted(mine['classes'][never[0]]['num_objects'], 'object')} of it"
            + (f" (nor {', '.join(never[1:])})" if never[1:] else "")
        )


def _row(way: str, its: dict[str, Any]) -> dict[str, Any]:
    return {
        "by": way, "mSA": its["msa"], "95% interval": its["ci95"], "AP": its["ap"],
        "AP50": its["ap50"], "PQ": its["pq"], "score error": its["score_error"],
        "found": its["num_found"], "objects": its["num_objects"], "images": its["num_images"],
        "s an image": its["seconds_an_image"],
    }  # fmt: skip

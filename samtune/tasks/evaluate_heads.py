"""What `evaluate` does with a model that has heads: each on whole images, against another way."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samtune.errors import UserError
from samtune.files import write_json, write_text
from samtune.inference.settings import SearchSettings
from samtune.tasks.evaluate_objects import (
    GRID,
    HEAD,
    NONE,
    evaluate_objects,
    tell_difference,
)
from samtune.tasks.opening import open_model
from samtune.tasks.results import Result, Rows, markdown
from samtune.tasks.searching import make_finder, whole_search
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.models.backend import Sam

GRID_NAMED = "grid, classes from the truth"


@dataclass(frozen=True)
class HeadEvaluation(Result):
    """How good the heads of a model are.

    Attributes:
        folder: with heads.json, heads.md, and a table of images for each head.
        results: by head.
    """

    folder: Path
    results: dict[str, dict[str, Any]]

    @property
    def headline(self) -> str:
        return "\n".join(str(found["headline"]) for found in self.results.values())

    @property
    def warnings(self) -> list[str]:
        """What is not as good as it seems, in sentences."""
        return [text for found in self.results.values() for text in found["warnings"]]

    @property
    def tables(self) -> Mapping[str, Rows]:
        tables: dict[str, Rows] = {}
        for name, found in self.results.items():
            tables[name] = found["rows"]
            if found.get("by_class"):
                tables[f"{name} by class"] = found["by_class"]
        return tables


@dataclass(frozen=True)
class HeadJob:
    """Heads of a model and the images to ask them on.

    Attributes:
        sam: with heads.
        data, split: whose images.
        against: `grid`, `none`, or another model with the same heads.
        max_images: 0 for all.
        seed: of the bootstrap.
        seen: images that the model was trained or validated on.
        classifier: that names the masks which are found, in place of the head for classes; or empty.
    """

    sam: Sam
    data: SamDataModule
    split: str
    against: str
    max_images: int
    seed: int
    seen: set[str]
    classifier: str = ""

    def run_all(self, folder: Path) -> HeadEvaluation:
        results = {name: EVALUATIONS[name](self, folder) for name in self.sam.heads}
        if self._names_a_grid:
            results[GRID] = evaluate_objects(self, GRID)
        for name, found in results.items():
            found["warnings"] += self._not_held_out(found["images"])
            write_text(folder / f"{name}.csv", _as_csv(found.pop("images")))
        about = {"split": self.split, "data": str(self.data.path), "against": self.against}
        write_json(folder / "heads.json", {"about": about, "heads": results})
        write_text(folder / "heads.md", "\n".join(_section(*each) for each in results.items()))
        return HeadEvaluation(folder, results)

    @property
    def _names_a_grid(self) -> bool:
        """Whether masks are named, and no head finds them: then a grid does."""
        if "instances" in self.sam.heads:
            return False
        return bool(self.classifier) or ("classes" in self.sam.heads and self.against != NONE)

    def searching(self, sam: Sam, by: Literal["instances", "grid"]) -> Callable[[Any], Any]:
        """What looks for the masks of whole pictures, and names them where somebody can."""
        return whole_search(make_finder(sam, SearchSettings(by=by, classifier=self.classifier)))

    def _not_held_out(self, images: Rows) -> list[str]:
        asked = {str(row["image"]) for row in images}
        if not (seen := asked & self.seen):
            return []
        return [
            f"not held out: {len(seen)} of {len(asked)} images were used in training (such as "
            f"{min(seen)}): the head looks better on them than it is"
        ]

    def other(self) -> Sam:
        """The model that this one is compared with."""
        return open_model(self.against, device=str(self.sam.device))


def _section(name: str, found: dict[str, Any]) -> str:
    """What heads.md says of one head."""
    by_class = found.get("by_class")
    parts = [f"# {name}", markdown(found["rows"]), found["headline"]]
    parts += ["COCO's mask AP with classes:", markdown(by_class)] if by_class else []
    return "\n\n".join(parts) + "\n"


def _as_csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _evaluate_instances(job: HeadJob, folder: Path) -> dict[str, Any]:
    """Objects of whole images: the head against a grid of points, or against another head."""
    return evaluate_objects(job, HEAD)


def _evaluate_semantic(job: HeadJob, folder: Path) -> dict[str, Any]:
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


def _evaluate_classes(job: HeadJob, folder: Path) -> dict[str, Any]:
    """Classes of the true masks, which are the same for every model."""
    import numpy as np

    from samtune.data.source import Subset
    from samtune.evaluation.class_scores import class_scores, doubted, f1_by_class
    from samtune.inference.naming import MaskNamer, named_objects

    whole = job.data.whole_source(job.split)
    source = Subset(whole, list(range(min(len(whole), job.max_images or len(whole)))))
    namers = {HEAD: MaskNamer(job.sam)}
    if job.against not in (GRID, NONE):
        namers[job.against] = MaskNamer(job.other())
    names = namers[HEAD].classes
    scores, rows, images = {}, Rows(), Rows()
    for way, namer in namers.items():
        if namer.classes != names:
            raise UserError(f"{way} has the classes {', '.join(namer.classes)}: compare the same")
        found = list(named_objects(namer, source, job.data.min_area))
        if not found:
            raise UserError("no object of these images has a class that the head knows")
        told, truth = np.stack([each.told for each in found]), np.array([x.kind for x in found])
        scores[way] = class_scores(told, truth)
        confusion = np.array(scores[way]["confusion"])
        f1 = f1_by_class(confusion)
        rows += [
            {
                "by": way, "class": name, "F1": None if np.isnan(f1[n]) else float(f1[n]),
                "objects": int(confusion[n].sum()), "named so": int(confusion[:, n].sum()),
            }
            for n, name in enumerate(names)
        ]  # fmt: skip
        if way == HEAD:
            images = [
                {
                    "image": each.image_id, "group": each.cluster, "object": each.object_id,
                    "class": names[each.kind],
                    "found": names[int(each.told.argmax())], "probability": float(each.told.max()),
                }
                for each in found
            ]  # fmt: skip
            doubts = [images[n] for n in doubted(told, truth).tolist()]
    own = scores[HEAD]
    headline = (
        f"classes: macro-F1 {own['macro_f1']:.3f}, right {own['top1']:.1%} of "
        f"{counted(own['num_objects'], 'object')} by "
        f"true masks; probabilities are off by {own['ece']:.3f} on average"
    )
    warnings = [
        f"{counted(len(doubts), 'label is', 'labels are')} almost certainly wrong, such as "
        f"object {doubts[0]['object']} of "
        f"{doubts[0]['image']}: {doubts[0]['class']}, or {doubts[0]['found']}?"
    ] if doubts else []  # fmt: skip
    return {
        "rows": rows, "scores": scores, "classes": list(names), "doubted": doubts,
        "headline": headline, "warnings": warnings, "images": images,
    }  # fmt: skip


# By head; a new one is a line here
EVALUATIONS: dict[str, Callable[[HeadJob, Path], dict[str, Any]]] = {
    "instances": _evaluate_instances,
    "semantic": _evaluate_semantic,
    "classes": _evaluate_classes,
}

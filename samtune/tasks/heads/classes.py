"""The head that names masks in tasks: how it is judged, and how sure its probabilities may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.tasks.heads.job import GRID, HEAD, NONE, HeadJob
from samtune.tasks.results import Rows
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.data.source import Source
    from samtune.models.backend import Sam


def evaluate(job: HeadJob) -> dict[str, Any]:
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


def choose(sam: Sam, source: Source, min_area: int) -> str:
    """The temperature that makes the probabilities of true masks as sure as they may be."""
    import numpy as np

    from samtune.heads.classes import fitting_temperature
    from samtune.inference.naming import MaskNamer, named_objects

    namer = MaskNamer(sam)
    namer.head.changed(temperature=1.0)
    named = list(named_objects(namer, source, min_area))
    if not named:
        return "no validation image holds an object of these classes: probabilities are as they are"
    logits = np.log(np.stack([each.told for each in named]) + 1e-12)
    truth = np.array([each.kind for each in named])
    temperature = fitting_temperature(logits, truth)
    namer.head.changed(temperature=temperature)
    right = float((logits.argmax(1) == truth).mean())
    return (
        f"{right:.1%} of {len(truth)} objects of {len(source)} validation images get the right class; "
        f"probabilities are calibrated by a temperature of {temperature:g}"
    )

"""What focus and sharpening bring: the same prompts of the same objects, with it and without."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from samtune.data.source import Source, Subset
from samtune.evaluation.rows import Row
from samtune.evaluation.settings import EvaluationSettings
from samtune.wording import signed

# Looked at without it: so many images, with kinds of prompts that one answer is given to
NUM_IMAGES, PROTOCOLS = 20, ("box", "point")
# Focus is a closer look at small objects, sharpening a second one at the edges of each
Aid = Literal["focus", "sharpening"]


def without(
    aid: Aid, source: Source, settings: EvaluationSettings, rows: Sequence[Row]
) -> tuple[Source, EvaluationSettings] | None:
    """Images and settings of the same comparison without an aid; `None` where there is none.

    Args:
        aid: which.
        source: held-out images.
        settings: of the comparison.
        rows: what it found; images without an object are none to ask about again.
    """
    protocols = tuple(each for each in settings.protocols if each.name in PROTOCOLS)
    is_used = settings.with_focus if aid == "focus" else settings.with_sharpening
    if not is_used or not protocols:
        return None
    asked = {row.key.image_id for row in rows}
    places = [n for n, record in enumerate(source.records) if record.image_id in asked]
    images = Subset(source, places[:NUM_IMAGES])
    plain = replace(settings, protocols=protocols, own=None, repeats=1)
    if aid == "focus":
        return images, replace(plain, with_focus=False, tile=0)
    return images, replace(plain, with_sharpening=False)


def gain_of(helped: Sequence[Row], plain: Sequence[Row]) -> list[dict[str, Any]]:
    """mIoU of each contestant and kind of prompt with an aid and without, over the same objects.

    Args:
        helped: rows of the whole comparison.
        plain: rows without the aid, of some of its images.

    Returns:
        `protocol`, `contestant`, `without`, `with`, `num_objects`.
    """
    looked = {(row.protocol, row.key): row for row in helped if row.repeat == 0}
    pairs = [
        (looked[row.protocol, row.key], row) for row in plain if (row.protocol, row.key) in looked
    ]
    return [
        {
            "protocol": protocol,
            "contestant": name,
            "without": float(np.mean([one.scores[name].iou for _, one in its])),
            "with": float(np.mean([with_it.scores[name].iou for with_it, _ in its])),
            "num_objects": len(its),
        }
        for protocol in dict.fromkeys(row.protocol for _, row in pairs)
        for its in [[pair for pair in pairs if pair[1].protocol == protocol]]
        for name in its[0][1].scores  # of who played both times
    ]


def aid_head(aid: Aid) -> list[str]:
    """The head of its table."""
    return ["protocol", "model", f"without {aid}", f"with {aid}", "difference", "objects"]


def aid_lines(gains: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Lines of its table: protocol, model, without, with, difference, objects."""
    return [
        [
            each["protocol"], each["contestant"], f"{each['without']:.3f}", f"{each['with']:.3f}",
            f"{signed(each['with'] - each['without'])}", str(each["num_objects"]),
        ]
        for each in gains
    ]  # fmt: skip


def aid_tables(results: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """What the results say of aids: a title, a head and lines for each."""
    titles: dict[Aid, str] = {
        "focus": "What a closer look at small objects brings (focus)",
        "sharpening": "What sharpening masks brings",
    }
    for aid, title in titles.items():
        if results.get(aid):
            yield f"{title}, on the first images", aid_head(aid), aid_lines(results[aid])

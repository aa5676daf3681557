"""What focus brings: the same prompts of the same objects, with a closer look and without."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from samtune.data.source import Source, Subset
from samtune.evaluation.rows import Row
from samtune.evaluation.settings import EvaluationSettings
from samtune.wording import signed

# Looked at without focus: so many images, with kinds of prompts that one answer is given to
NUM_IMAGES, PROTOCOLS = 20, ("box", "point")


def without_focus(
    source: Source, settings: EvaluationSettings, rows: Sequence[Row]
) -> tuple[Source, EvaluationSettings] | None:
    """Images and settings of the same comparison without a closer look; `None` where there is none.

    Args:
        source: held-out images.
        settings: of the comparison.
        rows: what it found; images without an object are none to ask about again.
    """
    protocols = tuple(each for each in settings.protocols if each.name in PROTOCOLS)
    if not settings.with_focus or not protocols:
        return None
    asked = {row.key.image_id for row in rows}
    places = [n for n, record in enumerate(source.records) if record.image_id in asked]
    images = Subset(source, places[:NUM_IMAGES])
    plain = replace(settings, protocols=protocols, own=None, repeats=1, with_focus=False, tile=0)
    return images, plain


def focus_gain(closely: Sequence[Row], plainly: Sequence[Row]) -> list[dict[str, Any]]:
    """mIoU of each contestant and kind of prompt with focus and without, over the same objects.

    Args:
        closely: rows of the whole comparison.
        plainly: rows without focus, of some of its images.

    Returns:
        `protocol`, `contestant`, `without`, `with`, `num_objects`.
    """
    looked = {(row.protocol, row.key): row for row in closely if row.repeat == 0}
    pairs = [
        (looked[row.protocol, row.key], row) for row in plainly if (row.protocol, row.key) in looked
    ]
    return [
        {
            "protocol": protocol,
            "contestant": name,
            "without": float(np.mean([plain.scores[name].iou for _, plain in its])),
            "with": float(np.mean([close.scores[name].iou for close, _ in its])),
            "num_objects": len(its),
        }
        for protocol in dict.fromkeys(row.protocol for _, row in pairs)
        for its in [[pair for pair in pairs if pair[1].protocol == protocol]]
        for name in its[0][1].scores
    ]


def focus_lines(gains: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Lines of a table: protocol, model, without, with, difference, objects."""
    return [
        [
            each["protocol"], each["contestant"], f"{each['without']:.3f}", f"{each['with']:.3f}",
            f"{signed(each['with'] - each['without'])}", str(each["num_objects"]),
        ]
        for each in gains
    ]  # fmt: skip


FOCUS_HEAD = ["protocol", "model", "without focus", "with focus", "difference", "objects"]

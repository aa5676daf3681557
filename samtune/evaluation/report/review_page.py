"""The page of `samtune prelabel`: the most doubtful masks, beside what they were prompted with."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samtune.drawing import TUNED, comparison
from samtune.evaluation.report.page import template
from samtune.files import write_text
from samtune.inference.prelabel.review import ACCEPT, ReviewRow
from samtune.types import ImageArray, MaskArray, Prompt

_SIDE = 180
_HEAD = ["class", "objects", "accepted", "to review", "lowest score", "median score"]


@dataclass(frozen=True)
class ReviewPicture:
    """One object, as WebP."""

    row: ReviewRow
    webp: bytes


def draw_object(
    row: ReviewRow, image: ImageArray, prompt: Prompt, mask: MaskArray
) -> ReviewPicture:
    """The image with the prompt, and beside it with the mask, in a window around both.

    Args:
        row: of the object.
        image: (H, W, 3).
        prompt: original frame.
        mask: (H, W), perhaps empty.
    """
    around = mask.copy()
    if prompt.box_xyxy is not None:
        x0, y0, x1, y1 = np.rint(prompt.box_xyxy).astype(int).tolist()
        around[y0 : y1 + 1, x0 : x1 + 1] = True
    if prompt.point_coords is not None:
        height, width = mask.shape
        for x, y in np.rint(prompt.point_coords).astype(int).tolist():
            around[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] = True
    picture = comparison(image, prompt, [(mask, TUNED)], _SIDE, around=around)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=80)
    return ReviewPicture(row, buffer.getvalue())


def write_review_page(
    path: Path, headline: str, notes: Sequence[str], rows: Sequence[ReviewRow],
    pictures: Sequence[ReviewPicture],
) -> None:  # fmt: skip
    """Write one self-contained page, atomically.

    Args:
        path: the file.
        headline: what was made.
        notes: what the reader should know before.
        rows: all, the most doubtful first.
        pictures: of the first of them.
    """
    reasons = Counter(reason for row in rows for reason in _reasons(row))
    page = template("review_page.html.j2").render(
        title="Pre-labels to review", headline=headline, notes=notes, head=_HEAD,
        lines=_class_lines(rows), reasons=reasons.most_common(),
        shown=f"{len(pictures):,} of {len(rows):,}",
        pictures=[_figure(rank, each) for rank, each in enumerate(pictures, start=1)],
    )  # fmt: skip
    write_text(path, page)


def _class_lines(rows: Sequence[ReviewRow]) -> list[list[str]]:
    lines = []
    for name in sorted({row.category for row in rows}):
        scores = [row.score for row in rows if row.category == name]
        accepted = sum(row.category == name and row.decision == ACCEPT for row in rows)
        numbers = [f"{n:,}" for n in (len(scores), accepted, len(scores) - accepted)]
        lines.append([name, *numbers, f"{min(scores):.3f}", f"{np.median(scores):.3f}"])
    return lines


def _reasons(row: ReviewRow) -> list[str]:
    return row.reasons.split("; ") if row.reasons else []


def _figure(rank: int, picture: ReviewPicture) -> dict[str, Any]:
    row = picture.row
    with Image.open(io.BytesIO(picture.webp)) as image:
        width, height = image.size
    told = [f"trust {row.trust:.2f}", f"score {row.score:.2f}"]
    told += [] if row.certainty is None else [f"certainty {row.certainty:.2f}"]
    told += [] if row.agreement is None else [f"agreement {row.agreement:.2f}"]
    told += [] if row.box_iou is None else [f"box {row.box_iou:.2f}"]
    return {
        "rank": rank,
        "name": f"{row.image}, object {row.object}, {row.category}",
        "numbers": ", ".join(told),
        "reasons": row.reasons,
        "class": row.category,
        "width": width,
        "height": height,
        "src": "data:image/webp;base64," + base64.b64encode(picture.webp).decode("ascii"),
    }

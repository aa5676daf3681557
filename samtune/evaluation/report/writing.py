"""What an evaluation leaves behind: results.json, objects.csv, report.md, and one HTML page."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from samtune.drawing import side_by_side, to_png
from samtune.evaluation.report.gallery import Gallery
from samtune.evaluation.report.page import render
from samtune.evaluation.report.tables import full_markdown, to_csv
from samtune.evaluation.rows import Row
from samtune.files import write_bytes, write_json, write_text
from samtune.types import ImageArray

RESULTS_FORMAT = 2


def write_report(
    folder: Path, rows: list[Row], results: dict[str, Any], gallery: Gallery
) -> dict[str, Any]:
    """Write all files of an evaluation into `folder`, each atomically.

    Args:
        folder: `evaluation/` of a run.
        rows: what was measured.
        results: what `assess` made of them.
        gallery: pictures of objects.

    Returns:
        The content of `results.json`.
    """
    results = {"format": RESULTS_FORMAT, "samtune": version("samtune"), **results}
    write_json(folder / "results.json", results)
    write_text(folder / "objects.csv", to_csv(rows))
    write_text(folder / "report.md", full_markdown(results))
    write_text(folder / "report.html", render(rows, results, gallery))
    (folder / "examples.png").unlink(missing_ok=True)
    if (picture := examples_picture(gallery)) is not None:
        write_bytes(folder / "examples.png", to_png(picture))
    return results


def examples_picture(gallery: Gallery, size: int = 5) -> ImageArray | None:
    """The largest gains below one another, as one picture; `None` without any."""
    chosen = [picture.image for picture in (gallery.gains or gallery.losses)[:size]]
    if not chosen:
        return None
    width = max(image.shape[1] for image in chosen)
    rows = [
        np.pad(image, ((0, 4), (0, width - image.shape[1]), (0, 0)), constant_values=255)
        for image in chosen
    ]
    return side_by_side([np.concatenate(rows)])

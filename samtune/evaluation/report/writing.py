"""What an evaluation leaves behind: results.json, objects.csv, report.md, and one HTML page."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from samtune.drawing import below, caption, side_by_side, to_png
from samtune.evaluation.contestants import TUNED
from samtune.evaluation.report.gallery import Gallery
from samtune.evaluation.report.page import PANELS, render, told
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


def examples_picture(gallery: Gallery, size: int = 3) -> ImageArray | None:
    """The first objects of the gallery's first two groups, with numbers; `None` without any.

    Of a comparison these are the largest gains and the largest losses.
    """
    rows: list[ImageArray] = []
    for name, pictures in list(gallery.groups.items())[:2]:
        shown = [picture.image for picture in pictures[:size]]
        width = max(image.shape[1] for image in shown)
        is_compared = TUNED in pictures[0].row.scores
        rows += [caption(name, width, 24), _head(is_compared, width)]
        for picture, image in zip(pictures, shown, strict=False):
            rows += [image, caption(", ".join(told(picture.row)), width)]
    return below(rows) if rows else None


def _head(is_compared: bool, width: int) -> ImageArray:
    names = [name for name, _ in (PANELS if is_compared else PANELS[:3])]
    return side_by_side([caption(name, width // len(names) - 4) for name in names])

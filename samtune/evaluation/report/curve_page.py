"""The page of a learning curve: a sentence, a chart for each kind of prompt or head, a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from samtune.evaluation.learning import CurvePoint
from samtune.evaluation.learning_heads import HeadPoint
from samtune.evaluation.report.plots import Series, line_chart
from samtune.evaluation.report.short_page import Chart, write_short_page

Points = Sequence[CurvePoint | HeadPoint]


def write_curve_page(
    path: Path, sentence: str, table: tuple[Sequence[str], Sequence[Sequence[str]]],
    curves: Mapping[str, Points],
) -> None:  # fmt: skip
    """Write it.

    Args:
        path: of the page.
        sentence: whether more would help.
        table: its head and its lines.
        curves: points by rising number of images, by what they are judged by.
    """
    charts = [
        Chart(_chart(points), f"{_measure(points)} by number of training images ({name})")
        for name, points in curves.items()
    ]
    write_short_page(path, "Would more data help?", sentence, *table, charts)


def _measure(points: Points) -> str:
    return "mIoU" if isinstance(points[0], CurvePoint) else "score"


def _chart(points: Points) -> str:
    """Sizes at equal distances; the band is the interval of a head's score."""
    places = [float(number) for number in range(len(points))]
    ticks = [(float(number), str(point.num_images)) for number, point in enumerate(points)]
    lines = _lines(points, places)
    return line_chart(lines, "number of training images", _measure(points), ticks)


def _lines(points: Points, places: list[float]) -> list[Series]:
    """Of a SAM its base too: the band is then the interval of the difference, laid on the base."""
    if of_head := [point for point in points if isinstance(point, HeadPoint)]:
        bands = [point.ci95 or (point.score, point.score) for point in of_head]
        low, high = zip(*bands, strict=True)
        scores = [point.score for point in of_head]
        return [Series("head, with 95% interval", "tuned", places, scores, low, high)]
    of_sam = [point for point in points if isinstance(point, CurvePoint)]
    means = [(point.difference.mean, point.difference.mean) for point in of_sam]
    bands = [each.difference.ci95 or mean for each, mean in zip(of_sam, means, strict=True)]
    return [
        Series("base", "base", places, [point.base for point in of_sam]),
        Series(
            "tuned, with 95% interval of the difference", "tuned", places,
            [point.tuned for point in of_sam],
            [p.base + low for p, (low, _) in zip(of_sam, bands, strict=True)],
            [p.base + high for p, (_, high) in zip(of_sam, bands, strict=True)],
        ),
    ]  # fmt: skip

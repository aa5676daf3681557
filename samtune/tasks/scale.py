"""`scale`: how strongly to apply what was tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.files import require_new
from samtune.inference.settings import Focus
from samtune.ranges import Count, Finite, Positive
from samtune.tasks.arguments import task
from samtune.tasks.evaluate import Split
from samtune.tasks.evaluating import Asking, Multimask, general_source, kept_rows
from samtune.tasks.opening import open_data, open_model
from samtune.tasks.results import Result, Rows, cells
from samtune.tasks.runs import Run, find_run, require_tuned
from samtune.tasks.settings import DataLike
from samtune.wording import signed

if TYPE_CHECKING:
    from samtune.data.source import Source
    from samtune.evaluation.row_store import RowStore
    from samtune.evaluation.settings import EvaluationSettings
    from samtune.evaluation.tradeoff import ScalePoint
    from samtune.models.backend import Sam
    from samtune.models.strength import TunedScale


@dataclass(frozen=True)
class ScaleResult(Result):
    """What a weaker adapter gains and keeps.

    Attributes:
        folder: with scale.html and scale.json, or the model at the scale that was asked for.
        points: domain and general set at every scale; empty where a model was written.
        knee: the scale at the knee, or that of the model that was written.
        model: the model that was written; `None` without one.
    """

    folder: Path
    points: list[ScalePoint]
    knee: float
    model: Path | None = None

    @property
    def headline(self) -> str:
        if self.model is not None:
            return f"the model at scale {self.knee:g} is in {self.model}"
        at = next(point for point in self.points if point.scale == self.knee)
        return (
            f"The knee is at scale {self.knee:g}: {signed(at.domain_change)} on the domain, "
            f"{signed(at.general_change)} on the general set."
        )

    @property
    def page(self) -> Path:
        return self.folder / "scale.html"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "scales": [
                {
                    "scale": p.scale, "domain mIoU": p.domain, "change": p.domain_change,
                    "95% interval": p.domain_ci95, "general mIoU": p.general,
                    "change (general)": p.general_change, "95% of it": p.general_ci95,
                }
                for p in self.points
            ]
        }  # fmt: skip


@task
def scale(
    model: str | Path | Run,
    *,
    scales: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    write: Finite | None = None,
    general: str | Path = "drawn",
    data: DataLike = None,
    config: str | Path | None = None,
    split: Split = "val",
    max_images: Count = 0,
    protocols: Sequence[str] = ("box", "point"),
    prompts: str | Path | None = None,
    seed: int = 0,
    repeats: Positive = 1,
    multimask: Multimask = "auto",
    focus: Focus = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> ScaleResult:
    """Find how strongly to apply an adapter: gain on your domain against what is forgotten.

    Scale 0 is the base, 1 the model as it was tuned. A smaller scale gives up some of the gain on
    your images and keeps more of what the base could do; it is chosen on the validation split, so
    that the test split stays untouched.

    Args:
        model: run folder or adapter folder.
        scales: strengths to try.
        write: save the model at this scale, and measure nothing.
        general: what must not be forgotten: drawn pictures, or a data folder.
        out: folder for results and model (default: RUN/scale).
        overwrite: replace a model that was saved there.

    Raises:
        UserError: the model was not tuned, its adapter has no scale, or the data cannot be found.
    """
    from samtune.models.saving import save_run

    run = find_run(Path(model))
    folder = Path(out) if out is not None else (run or Path()) / "scale"
    require_tuned(str(model))
    for value in scales if write is None else [write]:
        _require_scale(value)
    if write is not None:
        for name in ("adapter", "model"):
            require_new(folder / name, overwrite)
        sam = open_model(model, checkpoint, image_size, device)
        scale_of(sam).settle(write)
        return ScaleResult(folder, [], write, save_run(sam, folder))
    asking = Asking(protocols, prompts, seed, repeats, multimask, focus, max_images=max_images)
    opened = open_data(run, config, data, base=(str(model), image_size))
    source = opened.source(split)
    sam = open_model(model, checkpoint, image_size, device)
    settings = asking.settings(opened, split, sam)
    sources = {"domain": (source, settings), "general": general_source(general, settings, sam)}
    with kept_rows(folder) as store_of:
        return _result(_sweep(sam, sources, scales, seed, store_of), folder)


def scale_of(sam: Sam) -> TunedScale:
    """What sets the scale of a tuned network; the base is loaded where its weights are needed."""
    from samtune.models.loading import load_base
    from samtune.models.strength import TunedScale

    base = None if sam.is_adapted else load_base(asdict(sam.base), "the run").to(sam.device).eval()
    return TunedScale(sam, base)


def _sweep(
    sam: Sam, sources: Mapping[str, tuple[Source, EvaluationSettings]], scales: Sequence[float],
    seed: int, store_of: Callable[..., RowStore],
) -> list[ScalePoint]:  # fmt: skip
    """Measure the domain and the general set at every scale; 0 and 1 are always among them."""
    from samtune.evaluation.comparing import compare
    from samtune.evaluation.contestants import TUNED, Contestants
    from samtune.evaluation.pairing import answers_of

    contestants, strength = Contestants(sam, is_tuned=True, with_base=False), scale_of(sam)
    found: dict[float, dict[str, Any]] = {}
    for value in sorted({0.0, 1.0, *map(float, scales)}):
        strength.set(value)
        store = store_of(contestants, value)
        found[value] = {
            name: answers_of(
                compare(contestants, *pair, what=f"scale {value:g}, {name}", store=store).rows,
                TUNED,
            )
            for name, pair in sources.items()
        }
    strength.set(1.0)
    return [_point(value, found[value], found[0.0], seed) for value in found]


def _require_scale(value: float) -> None:
    if not 0 <= value < math.inf:
        raise UserError(f"a scale is {value:g}: scales are 0 or more")


def _point(
    value: float, answers: Mapping[str, Any], base: Mapping[str, Any], seed: int
) -> ScalePoint:
    from samtune.evaluation.pairing import difference_of
    from samtune.evaluation.tradeoff import ScalePoint

    domain, general = (
        difference_of(base[name], answers[name], seed) for name in ("domain", "general")
    )
    return ScalePoint(
        value, answers["domain"].miou, answers["general"].miou, domain.mean, general.mean,
        domain.ci95, general.ci95,
    )  # fmt: skip


def _result(points: list[ScalePoint], folder: Path) -> ScaleResult:
    from samtune.evaluation.report.short_page import Chart, write_short_page
    from samtune.evaluation.tradeoff import find_knee
    from samtune.files import write_json

    result = ScaleResult(folder, points, find_knee(points).scale)
    content = {"knee": result.knee, "points": [asdict(point) for point in points]}
    write_json(folder / "scale.json", content)
    head, lines = cells(result.tables["scales"])
    chart = Chart(_chart(points), "mIoU by scale: 0 is the base, 1 the model as tuned")
    title = "How strongly to apply the adapter"
    write_short_page(result.page, title, result.headline, head, lines, [chart])
    return result


def _chart(points: list[ScalePoint]) -> str:
    from samtune.evaluation.report.plots import Series, line_chart

    scales = [point.scale for point in points]
    series = [
        Series("your images", "tuned", scales, [point.domain for point in points]),
        Series("general set", "other", scales, [point.general for point in points]),
    ]
    ticks = [(value, f"{value:g}") for value in scales]
    return line_chart(series, "scale of the adapter", "mIoU", ticks)

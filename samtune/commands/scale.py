"""`samtune scale RUN`: how strongly to apply what was tuned.

Scale 0 is the base, 1 the model as it was tuned. A smaller scale gives some of the gain on your
domain back for what was lost elsewhere; the validation split decides, so that the test split stays
untouched.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.commands.evaluation_loading import (
    Evaluation,
    kept_rows,
    load_evaluation,
    load_network,
)
from samtune.commands.evaluation_options import (
    add_model_options,
    add_protocol_options,
    find_run,
    general_source,
    require_tuned,
)
from samtune.commands.options import parse_known, quieten
from samtune.errors import UserError
from samtune.evaluation.compare import compare
from samtune.evaluation.contestants import TUNED, Contestants
from samtune.evaluation.forgetting import GENERAL_PROTOCOLS
from samtune.evaluation.pairing import Answers, answers_of, difference_of
from samtune.evaluation.report.plots import Series, line_chart
from samtune.evaluation.report.short_page import Chart, write_short_page
from samtune.evaluation.report.tables import interval_text, markdown_table
from samtune.evaluation.row_store import RowStore
from samtune.evaluation.tradeoff import ScalePoint, find_knee
from samtune.files import write_json
from samtune.models.backend import Sam
from samtune.models.loading import load_base
from samtune.models.saving import save_tuned
from samtune.models.scale import TunedScale

_HEAD = ("scale", "domain mIoU", "change", "95% interval", "general mIoU", "change", "95% interval")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samtune scale", description=__doc__, exit_on_error=False)
    add_model_options(parser, "val")
    add_protocol_options(parser, default=("box", "point"))
    parser.add_argument("--scales", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    parser.add_argument(
        "--general", default="procedural", metavar="SET",
        help="what must not be forgotten: procedural scenes, or a data folder",
    )  # fmt: skip
    parser.add_argument("--write", type=float, metavar="SCALE", help="save the model at this scale")
    parser.add_argument(
        "--out", type=Path, help="folder for results and model (default: RUN/scale)"
    )
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options, data_arguments = parse_known(_parser(), arguments)
    run = find_run(Path(options.model))
    folder = options.out or (run or Path()) / "scale"
    require_tuned(options.model)
    if options.write is not None:
        _require_scale(options.write, "--write")
        sam = load_network(options)
        scale_of(sam).settle(options.write)
        print(f"the model at scale {options.write:g} is in {save_tuned(sam, folder)}")
        return
    for value in options.scales:
        _require_scale(value, "--scales")
    evaluation = load_evaluation(options, data_arguments)
    with kept_rows(folder) as store_of:
        _tell(sweep(options, evaluation, store_of), folder)


def scale_of(sam: Sam) -> TunedScale:
    """What sets the scale of a tuned network; the base is loaded where its weights are needed."""
    base = None if sam.is_adapted else load_base(asdict(sam.base), "the run").to(sam.device).eval()
    return TunedScale(sam, base)


def sweep(
    options: argparse.Namespace, evaluation: Evaluation, store_of: Callable[..., RowStore]
) -> list[ScalePoint]:
    """Measure the domain and the general set at every scale; 0 and 1 are always among them."""
    sam, settings = evaluation.sam, evaluation.settings
    sources = {
        "domain": (evaluation.source, settings),
        "general": general_source(options.general, settings, GENERAL_PROTOCOLS, sam),
    }
    contestants, scale = Contestants(sam, is_tuned=True, with_base=False), scale_of(sam)
    found: dict[float, dict[str, Answers]] = {}
    for value in sorted({0.0, 1.0, *options.scales}):
        scale.set(value)
        store = store_of(contestants, value)
        found[value] = {
            name: answers_of(
                compare(contestants, *pair, what=f"scale {value:g}, {name}", store=store).rows,
                TUNED,
            )
            for name, pair in sources.items()
        }
    scale.set(1.0)
    return [_point(value, found[value], found[0.0], options.seed) for value in found]


def _require_scale(value: float, flag: str) -> None:
    if not 0 <= value < math.inf:
        raise UserError(f"{flag} {value:g}: scales are 0 or more")


def _point(
    scale: float, answers: dict[str, Answers], base: dict[str, Answers], seed: int
) -> ScalePoint:
    domain, general = (
        difference_of(base[name], answers[name], seed) for name in ("domain", "general")
    )
    return ScalePoint(
        scale, answers["domain"].miou, answers["general"].miou, domain.mean, general.mean,
        domain.ci95, general.ci95,
    )  # fmt: skip


def _tell(points: list[ScalePoint], folder: Path) -> None:
    knee = find_knee(points)
    lines = [
        [f"{p.scale:g}", f"{p.domain:.3f}", f"{p.domain_change:+.3f}", interval_text(p.domain_ci95),
         f"{p.general:.3f}", f"{p.general_change:+.3f}", interval_text(p.general_ci95)]
        for p in points
    ]  # fmt: skip
    sentence = (
        f"The knee is at scale {knee.scale:g}: {knee.domain_change:+.3f} on the domain, "
        f"{knee.general_change:+.3f} on the general set."
    )
    results: dict[str, Any] = {"knee": knee.scale, "points": [asdict(point) for point in points]}
    write_json(folder / "scale.json", results)
    page = write_short_page(
        folder / "scale.html", "How strongly to apply the adapter", sentence, _HEAD, lines,
        [Chart(_chart(points), "mIoU by scale: 0 is the base, 1 the model as tuned")],
    )  # fmt: skip
    print(markdown_table(_HEAD, lines))
    print(sentence)
    print(
        f"report: {page}; samtune scale MODEL --write {knee.scale:g} saves the model at that scale"
    )


def _chart(points: list[ScalePoint]) -> str:
    scales = [point.scale for point in points]
    series = [
        Series("domain", "tuned", scales, [point.domain for point in points]),
        Series("general set", "other", scales, [point.general for point in points]),
    ]
    return line_chart(series, "scale", "mIoU", [(value, f"{value:g}") for value in scales])

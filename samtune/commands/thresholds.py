"""`samtune thresholds RUN`: find the thresholds of automatic masks that suit a tuned model.

A tuned model says other predicted IoUs and draws other outlines than SAM: with SAM's thresholds it
often finds nothing. Those with the highest mean segmentation accuracy (mSA) on the validation images
are saved beside the tuned weights; `AutomaticMaskGenerator` and `samtune segment` use them from then
on. An image without an object counts too: 1 if nothing is found in it, else 0. Where there is a test
split, it tells how much the choice helped.
"""

import argparse
from dataclasses import asdict
from importlib.metadata import version

from samtune.commands.evaluation_loading import load_network
from samtune.commands.evaluation_options import (
    add_model_options,
    build_data,
    find_run,
    require_tuned,
)
from samtune.commands.options import parse_known, quieten
from samtune.data.datamodule import SamDataModule
from samtune.errors import UserError
from samtune.evaluation.automatic import (
    DEFAULTS,
    RULES,
    Judgement,
    Outcome,
    Rule,
    SearchedImage,
    choose,
    judge,
    search,
)
from samtune.evaluation.report.tables import interval_text, markdown_table
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.models.backend import Sam
from samtune.models.loading import tuned_sha256
from samtune.models.thresholds import FittedThresholds, MaskThresholds

_HEAD = (
    "split", "thresholds", "AP", "AP50", "mSA", "95% interval", "difference", "95% interval",
    "p", "masks", "objects", "images or tiles",
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samtune thresholds", description=__doc__, exit_on_error=False)
    add_model_options(parser, "val")
    parser.add_argument("--points-per-side", type=int, default=32, help="of the grid")
    parser.add_argument("--points-per-batch", type=int, default=64, help="decoded at once")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options, data_arguments = parse_known(_parser(), arguments)
    if options.max_images < 0:
        raise UserError(f"--max-images is {options.max_images}: give a whole number, 0 for all")
    folder = require_tuned(options.model)
    data = build_data(find_run(folder), options.config, data_arguments)
    data.source(options.split)  # a wrong path is said before the network is loaded
    sam = load_network(options)
    images = look(sam, data, options.split, RULES, 0.0, options)
    chosen = choose(images)
    results = {options.split: judge(images, chosen, options.seed)}
    if options.split != "test" and data.split_sizes().get("test"):
        rules = tuple({_rule(DEFAULTS), _rule(chosen)})
        least = min(DEFAULTS.pred_iou_thresh, chosen.pred_iou_thresh)
        tested = look(sam, data, "test", rules, least, options)
        results["test"] = judge(tested, chosen, options.seed)
    provenance = {
        "samtune": version("samtune"),
        "weights_sha256": tuned_sha256(sam),
        "data": str(data.path),
        "tile": data.tile,
        "split": options.split,
        "results": {split: asdict(result) for split, result in results.items()},
    }
    path = FittedThresholds(chosen, options.points_per_side, provenance).save(folder)
    lines = [line for split, result in results.items() for line in _lines(split, result)]
    print(markdown_table(_HEAD, lines))
    print(", ".join(f"{name} {value:g}" for name, value in asdict(chosen).items()))
    print(f"saved: {path}")


def look(
    sam: Sam, data: SamDataModule, split: str, rules: tuple[Rule, ...], predicted_iou: float,
    options: argparse.Namespace,
) -> list[SearchedImage]:  # fmt: skip
    """What is in the images of a split, with thresholds that let through all that will be tried."""
    generator = AutomaticMaskGenerator(
        sam, options.points_per_side, options.points_per_batch,
        pred_iou_thresh=predicted_iou, stability_score_thresh=min(stability for stability, _ in rules),
    )  # fmt: skip
    source = data.source(split)
    return search(generator, source, data.min_area, rules, options.max_images, f"search {split}")


def _rule(thresholds: MaskThresholds) -> Rule:
    return thresholds.stability_score_thresh, thresholds.box_nms_thresh


def _lines(split: str, result: Judgement) -> list[list[str]]:
    counts = [str(result.num_objects), str(result.num_images)]
    difference = result.difference
    p = "-" if difference.p is None else f"{difference.p:.2g}"
    change = [f"{difference.mean:+.3f}", interval_text(difference.ci95), p]
    pairs = (("segment_anything's", result.before, ["", "", ""]), ("chosen", result.after, change))
    return [
        [split, name, *_cells(outcome), *rest, str(outcome.num_masks), *counts]
        for name, outcome, rest in pairs
    ]


def _cells(outcome: Outcome) -> list[str]:
    scores = outcome.scores
    interval = "-" if outcome.ci95 is None else "{:.3f} to {:.3f}".format(*outcome.ci95)
    return [f"{scores['ap']:.3f}", f"{scores['ap50']:.3f}", f"{scores['msa']:.3f}", interval]

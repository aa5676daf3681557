"""Options of the automatic mask generator, for every command that finds objects without a prompt."""

import argparse
from dataclasses import asdict
from typing import Any

from samtune.errors import UserError
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.models.backend import Sam
from samtune.models.loading import tuned_sha256

# What makes other masks; how many points are decoded at once does not.
_GENERATOR = (
    "points_per_side", "pred_iou_thresh", "stability_score_thresh", "stability_score_offset",
    "box_nms_thresh", "crop_n_layers", "crop_nms_thresh", "crop_overlap_ratio",
    "crop_n_points_downscale_factor", "min_mask_region_area",
)  # fmt: skip


def add_generator_options(parser: argparse._ActionsContainer) -> None:
    """Grid of points, thresholds and crops, under segment_anything's names."""
    fitted = "(default: what samtune thresholds found, or {})"
    parser.add_argument(
        "--points-per-side",
        type=int,
        help="of the grid (default: as samtune thresholds had, or 32)",
    )
    parser.add_argument("--points-per-batch", type=int, default=64, help="decoded at once")
    parser.add_argument("--pred-iou-thresh", type=float, help=fitted.format(0.88))
    parser.add_argument("--stability-score-thresh", type=float, help=fitted.format(0.95))
    parser.add_argument("--stability-score-offset", type=float, default=1.0, help="in logits")
    parser.add_argument("--box-nms-thresh", type=float, help=fitted.format(0.7))
    parser.add_argument("--crop-n-layers", type=int, default=0, help="1: four crops as well")
    parser.add_argument("--crop-nms-thresh", type=float, default=0.7)
    parser.add_argument("--crop-overlap-ratio", type=float, default=512 / 1500)
    parser.add_argument("--crop-n-points-downscale-factor", type=int, default=1)
    parser.add_argument("--min-mask-region-area", type=int, default=0, help="pixels")


def refuse_generator_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Where prompts say what is looked for, nothing is searched.

    Raises:
        UserError: an option of the search was given.
    """
    for name in _GENERATOR:
        if getattr(options, name) != parser.get_default(name):
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} is for a search without prompts: leave it or the prompts out")


def make_generator(sam: Sam, options: argparse.Namespace) -> AutomaticMaskGenerator:
    """The generator that the options describe; the grid is that of the thresholds, if any were found.

    Raises:
        UserError: an option makes no sense.
    """
    return AutomaticMaskGenerator(
        sam, points_per_batch=options.points_per_batch, **_arguments(sam, options)
    )


def _arguments(sam: Sam, options: argparse.Namespace) -> dict[str, Any]:
    found = {name: getattr(options, name) for name in _GENERATOR}
    if found["points_per_side"] is None:
        found["points_per_side"] = sam.thresholds.points_per_side if sam.thresholds else 32
    return found


def generator_settings(
    generator: AutomaticMaskGenerator, options: argparse.Namespace
) -> dict[str, Any]:
    """All that its masks depend on but the image, as it comes back from a JSON file."""
    sam: Sam = generator.predictor.model
    values = _arguments(sam, options)
    reading = {
        "bands": sam.bands, "stretch": sam.stretch, "value_range": sam.value_range,
        "window": sam.view.window,
    }  # fmt: skip
    weights = {"weights": tuned_sha256(sam), "side": sam.image_size}
    settings = {**weights, **values, **asdict(generator.thresholds), **reading}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def thresholds_hint(generator: AutomaticMaskGenerator) -> str:
    """What to try where nothing was found."""
    thresholds = generator.thresholds
    return (
        f"lower --pred-iou-thresh ({thresholds.pred_iou_thresh:g}) and --stability-score-thresh "
        f"({thresholds.stability_score_thresh:g}), or let samtune thresholds choose them for a run"
    )

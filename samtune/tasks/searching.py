"""What the tasks that look for everything without a prompt have in common."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.inference.settings import SearchSettings
from samtune.tasks.settings import Layer, build

if TYPE_CHECKING:
    from samtune.inference.automatic.generator import AutomaticMaskGenerator
    from samtune.models.backend import Sam


def search_settings(search: Layer | SearchSettings | None, has_prompts: bool) -> SearchSettings:
    """The settings of a search, which make no sense where prompts say what is looked for.

    Raises:
        UserError: they are given beside prompts.
    """
    settings = build(SearchSettings, "search", search)
    if has_prompts and replace(settings, points_per_batch=64) != SearchSettings():
        given = asdict(settings).items() - asdict(SearchSettings()).items()
        raise UserError(
            f"search.{min(name for name, _ in given)} is for a search without prompts: leave it or "
            "the prompts out"
        )
    return settings


def make_generator(sam: Sam, settings: SearchSettings) -> AutomaticMaskGenerator:
    """The generator that the settings describe; the grid is that of the thresholds, if any were found.

    Raises:
        UserError: a setting makes no sense.
    """
    from samtune.inference.automatic.generator import AutomaticMaskGenerator

    return AutomaticMaskGenerator(sam, **_arguments(sam, settings))


def _arguments(sam: Sam, settings: SearchSettings) -> dict[str, Any]:
    found = asdict(settings)
    if found["points_per_side"] is None:
        found["points_per_side"] = (
            sam.thresholds.points_per_side if sam.thresholds else usual_points(sam.reading.tile)
        )
    return found


def usual_points(tile: int) -> int:
    """Points along a side of the grid: fewer in tiles, which hold a few objects along each side."""
    return 16 if tile else 32


def causes_of(generator: AutomaticMaskGenerator, settings: SearchSettings) -> dict[str, Any]:
    """All that its masks depend on but the image, as JSON can hold it."""
    from samtune.models.loading import tuned_sha256

    sam = generator.predictor.model
    found = _arguments(sam, settings)
    del found["points_per_batch"]  # how many points are decoded at once makes no other masks
    weights = {"weights": tuned_sha256(sam), "side": sam.image_size}
    return {**weights, **found, **asdict(generator.thresholds), "reading": sam.reading.as_dict()}


def thresholds_hint(generator: AutomaticMaskGenerator) -> str:
    """What to try where nothing was found."""
    its = generator.thresholds
    return (
        f"lower search.pred_iou_thresh ({its.pred_iou_thresh:g}) and search.stability_score_thresh "
        f"({its.stability_score_thresh:g}), or let samtune thresholds choose them for a run"
    )

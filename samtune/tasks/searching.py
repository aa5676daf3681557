"""What the tasks that look for everything without a prompt have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from samtune.errors import UserError
from samtune.inference.settings import SearchSettings
from samtune.tasks.settings import Layer, build

if TYPE_CHECKING:
    from samtune.inference.automatic.candidates import Candidate
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


@dataclass(frozen=True)
class Finder:
    """What looks for everything in a picture: a grid of points, or a head.

    Attributes:
        sam: the network.
        search: picture and its tiles -> masks, best first; a head has views of its own, and takes no
            tiles.
        causes: all that its masks depend on but the picture, as JSON can hold it.
        hint: what to try where nothing was found.
        tile: side of the tiles or views that it looks at; 0 for the whole picture.
        is_head: it is a head.
    """

    sam: Sam
    search: Callable[..., list[Candidate]]
    causes: dict[str, Any]
    hint: str
    tile: int
    is_head: bool


def make_finder(sam: Sam, settings: SearchSettings) -> Finder:
    """The instance head of a model, where it has one and no grid is wanted; or else a grid.

    Raises:
        UserError: there is no head and one is wanted, or settings of a grid are given to a head.
    """
    by = way_of(sam, settings)
    if by == "semantic":
        raise UserError("the semantic head gives classes of pixels, and no objects: set search.by")
    finder = _head_finder(sam, settings) if by == "instances" else _grid_finder(sam, settings)
    return _with_classes(finder, settings.classifier)


def whole_search(finder: Finder) -> Callable[[Any], Any]:
    """A search of whole pictures, in the tiles that the model takes."""
    from samtune.inference.automatic.crops import tile_boxes

    def search(image: Any) -> Any:
        if finder.is_head or not finder.tile:
            return finder.search(image)
        tiles = tile_boxes(image.shape[:2], finder.tile, finder.tile // 4)
        return finder.search(image, tiles)

    return search


def _grid_finder(sam: Sam, settings: SearchSettings) -> Finder:
    if settings.min_quality or settings.refine:
        name = "min_quality" if settings.min_quality else "refine"
        raise UserError(
            f"search.{name} is for the objects of a head: a grid has search.pred_iou_thresh, and "
            "asks SAM anyway"
        )
    generator = make_generator(sam, settings)
    return Finder(
        sam, generator.search, causes_of(generator, settings), thresholds_hint(generator),
        sam.reading.tile, False,
    )  # fmt: skip


def _with_classes(finder: Finder, classifier: str) -> Finder:
    """The same, but what is found has a class, where there is somebody to tell."""
    from samtune.heads.saving import head_sha256
    from samtune.inference.classifier import open_classifier
    from samtune.inference.naming import named_by_classifier, named_by_head

    sam, search = finder.sam, finder.search
    if classifier:
        name = partial(named_by_classifier, open_classifier(classifier))
        cause = classifier
    elif "classes" in sam.heads:
        name = partial(named_by_head, sam)
        cause = head_sha256(cast(Any, sam.heads["classes"]))
    else:
        return finder

    def find(image: Any, tiles: Any = ()) -> list[Candidate]:
        return name(image, search(image, tiles))

    return replace(finder, search=find, causes={**finder.causes, "classes": cause})


def way_of(sam: Sam, settings: SearchSettings) -> str:
    """By what is looked: a head or a grid."""
    if settings.by != "auto":
        return settings.by
    return next((name for name in ("instances", "semantic") if name in sam.heads), "grid")


def require_no_grid(settings: SearchSettings, *allowed: str) -> None:
    """Refuse the settings of a grid where a head looks.

    Raises:
        UserError: one is given.
    """
    known = {name: getattr(settings, name) for name in ("by", *allowed)}
    usual = SearchSettings(**known)
    if given := asdict(settings).items() - asdict(usual).items():
        name = min(name for name, _ in given)
        raise UserError(
            f"search.{name} is not for a head, by which this model looks: leave it out, or set "
            "search.by grid"
        )


def _head_finder(sam: Sam, settings: SearchSettings) -> Finder:
    from samtune.heads.saving import head_sha256
    from samtune.inference.instances import InstanceFinder
    from samtune.models.loading import tuned_sha256
    from samtune.models.sharpening.saving import sharpener_sha256

    require_no_grid(settings, "min_quality", "refine", "classifier")
    finder = InstanceFinder(sam, settings.min_quality, settings.refine)
    causes = {
        "weights": tuned_sha256(sam), "side": sam.image_size, "head": head_sha256(finder.head),
        "min_quality": settings.min_quality, "refine": settings.refine,
        "reading": sam.reading.as_dict(),
    }  # fmt: skip
    if sam.object_sharpener is not None:
        causes["sharpener"] = sharpener_sha256(sam.object_sharpener)
    hint = (
        f"lower search.min_quality ({settings.min_quality:g}), or ask on a grid: search.by grid"
        if settings.min_quality
        else "ask on a grid: search.by grid"
    )
    return Finder(sam, finder.search, causes, hint, finder.head.tile, True)


def make_generator(sam: Sam, settings: SearchSettings) -> AutomaticMaskGenerator:
    """The generator that the settings describe; the grid is that of the thresholds, if any were found.

    Raises:
        UserError: a setting makes no sense.
    """
    from samtune.inference.automatic.generator import AutomaticMaskGenerator

    return AutomaticMaskGenerator(sam, **_arguments(sam, settings))


def _arguments(sam: Sam, settings: SearchSettings) -> dict[str, Any]:
    found = asdict(settings)
    del found["by"], found["min_quality"], found["refine"], found["classifier"]
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

"""`samtune segment MODEL SCENE --out FILE`: a scene of any size as polygons or labels of a GIS."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from samtune.commands.options import choose_device
from samtune.data.geo.raster import open_scene
from samtune.data.geo.vector import read_polygons
from samtune.errors import UserError
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor
from samtune.inference.scene.files import DRIVERS, RASTERS, require_format
from samtune.inference.scene.segment import (
    SceneSettings,
    find_everything,
    segment_prompted,
    segment_scene,
)
from samtune.inference.scene.store import partial_folder
from samtune.models.backend import Sam
from samtune.models.loading import load_model, tuned_sha256


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """Options that mean something for scenes only."""
    group = parser.add_argument_group(f"scenes (--out with {', '.join((*DRIVERS, *RASTERS))})")
    group.add_argument("--tile", type=int, default=0, help="side of windows (default: the model's)")
    group.add_argument("--overlap", type=int, default=-1, help="of windows (default: a quarter)")
    group.add_argument(
        "--min-area", type=int, default=16, help="smaller objects are left out, pixels"
    )
    group.add_argument(
        "--simplify", type=float, default=1.0, help="of outlines, pixels; 0 for none"
    )
    group.add_argument("--prompts", type=Path, help="vector file of boxes, polygons or points")
    group.add_argument("--class-column", default="", help="attribute of --prompts to keep as class")
    group.add_argument("--class-name", default="", help="class of all objects")
    group.add_argument(
        "--cog", action="store_true", help="write labels as a cloud-optimised GeoTIFF"
    )


def is_scene_output(path: Path | None) -> bool:
    """Whether a file to write is one of a GIS."""
    return path is not None and path.suffix.lower() in (*DRIVERS, *RASTERS)


def segment_one_scene(options: argparse.Namespace, scene_path: Path, out: Path) -> int:
    """Segment a scene as `add_scene_options` say; returns the number of objects.

    Raises:
        UserError: a file cannot be read, or an option makes no sense.
    """
    require_format(out)
    if out.exists() and not options.overwrite:
        raise UserError(f"{out} is there already: give another --out, or --overwrite")
    sam = load_model(options.model, options.checkpoint, options.image_size or None,
                     choose_device(options.device))  # fmt: skip
    settings = _settings(options, sam)
    scene = open_scene(scene_path, sam.bands, sam.stretch, sam.value_range)
    if options.overwrite:
        shutil.rmtree(partial_folder(out), ignore_errors=True)
    about = {"model": tuned_sha256(sam), "base": sam.base.sha256}
    if options.prompts is not None:
        features = read_polygons(options.prompts, options.class_column, with_points=True)
        predictor = _plain_predictor(sam)
        return segment_prompted(scene, predictor, features, out, settings, about)
    generator = AutomaticMaskGenerator(sam, points_per_side=options.points_per_side)
    about |= {"points_per_side": options.points_per_side, **_thresholds(generator)}
    return segment_scene(scene, find_everything(generator), out, settings, about)


def _plain_predictor(sam: Sam) -> SamPredictor:
    """Windows come stretched as the scene is: by themselves they would be stretched otherwise."""
    sam.stretch = "none"
    return SamPredictor(sam)


def _thresholds(generator: AutomaticMaskGenerator) -> dict[str, Any]:
    return {name: float(value) for name, value in vars(generator.thresholds).items()}


def _settings(options: argparse.Namespace, sam: Sam) -> SceneSettings:
    side = options.tile or sam.image_size
    overlap = options.overlap if options.overlap >= 0 else side // 4
    if side < 32 or not 0 <= overlap < side:
        raise UserError(f"--tile {side} --overlap {overlap}: give an overlap below the tile's side")
    if options.min_area < 0 or options.simplify < 0:
        raise UserError("--min-area and --simplify cannot be below 0")
    return SceneSettings(
        side, overlap, options.min_area, options.simplify, options.class_name, options.cog
    )

"""The part of `samtune segment` that is for scenes: polygons or labels of a GIS."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.commands.generator_options import thresholds_hint
from samtune.data.geo.raster import open_scene
from samtune.data.geo.vector import read_polygons
from samtune.errors import UserError
from samtune.files import partial_folder
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor
from samtune.inference.scene.files import DRIVERS, RASTERS
from samtune.inference.scene.segment import (
    SceneSettings,
    find_everything,
    segment_prompted,
    segment_scene,
)

# Files that people ask for, and that are not written.
_MISTAKEN = (".parquet", ".kml", ".gml", ".gdb", ".json", ".csv", ".png", ".jpg", ".jp2")


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """Options that mean something for scenes only."""
    group = parser.add_argument_group(f"scenes (--out with {', '.join((*DRIVERS, *RASTERS))})")
    group.add_argument(
        "--min-area", type=int, default=16, help="smaller objects are left out, pixels"
    )
    group.add_argument("--simplify", type=float, default=1.0, help="of outlines, pixels; 0: none")
    group.add_argument("--prompts", type=Path, help="vector file of boxes, polygons or points")
    group.add_argument("--layer", default="", help="of --prompts, where several could be meant")
    group.add_argument("--class-column", default="", help="attribute of --prompts kept as class")
    group.add_argument("--class-name", default="", help="class of all objects")
    group.add_argument("--cog", action="store_true", help="labels as a cloud-optimised GeoTIFF")


def is_scene_output(options: argparse.Namespace) -> bool:
    """Whether the file to write is one of a GIS.

    Raises:
        UserError: several scenes for one file, options that mean nothing for it, or it is there, is
            what would be read, or of no known format.
    """
    out: Path = options.out
    is_scene = out.suffix.lower() in (*DRIVERS, *RASTERS)
    if out.suffix.lower() in _MISTAKEN:
        known = ", ".join((*DRIVERS, *RASTERS))
        raise UserError(f"--out {out} is not written: give {known}, or for images a folder")
    if not is_scene:
        return False
    if len(options.images) != 1:
        raise UserError(f"{out} holds one scene: {len(options.images)} were given")
    if options.overlay:
        raise UserError("--overlay is for images: open the file in a GIS over its scene instead")
    if (options.class_column or options.layer) and options.prompts is None:
        raise UserError(
            "--class-column is an attribute of --prompts, and --layer of them: none are given"
        )
    if options.class_name and options.prompts is not None:
        raise UserError("--class-name is for what is found without --prompts: give --class-column")
    _require_free(out, [options.images[0], *filter(None, [options.prompts])], options.overwrite)
    return True


def _require_free(out: Path, inputs: list[Path], is_replaced: bool) -> None:
    if out.is_dir():
        raise UserError(f"{out} is a folder: give the name of a file")
    if any(out.resolve() == path.resolve() for path in inputs):
        raise UserError(f"--out {out} is what is read, and would be replaced: name another file")
    # what lies there from an earlier run stays until an interrupted one that replaces it is done
    if out.exists() and not is_replaced and not partial_folder(out).exists():
        raise UserError(f"{out} is there already: give another --out, or --overwrite")


def segment_one_scene(
    generator: AutomaticMaskGenerator, provenance: dict[str, Any], options: argparse.Namespace
) -> str:
    """Segment a scene as `add_scene_options` say; returns what to tell.

    Raises:
        UserError: a file cannot be read, or an option makes no sense.
    """
    sam, out = generator.predictor.model, options.out
    settings = _settings(options, sam.image_size)
    scene = open_scene(options.images[0], sam.bands, sam.stretch, sam.value_range)
    if options.prompts is None:
        count = segment_scene(scene, find_everything(generator), out, settings, provenance)
        return f"{count} objects: {out}" + ("" if count else f" ({thresholds_hint(generator)})")
    features = read_polygons(
        options.prompts, options.class_column, layer=options.layer, with_points=True
    )
    sam.stretch = "none"  # windows come stretched as the whole scene is
    about = {**provenance, "calibration": sam.calibration and asdict(sam.calibration)}
    count = segment_prompted(scene, SamPredictor(sam), features, out, settings, about)
    for note in features.notes:
        print(f"NOTE: {note}", file=sys.stderr)
    return f"{count} objects of {len(features)} prompts: {out}"


def _settings(options: argparse.Namespace, input_side: int) -> SceneSettings:
    side = options.tile or input_side
    overlap = options.overlap if options.overlap >= 0 else side // 4
    if side < 32 or not 0 <= overlap < side:
        raise UserError(f"--tile {side} --overlap {overlap}: give an overlap below the tile's side")
    if options.min_area < 0 or options.simplify < 0:
        raise UserError("--min-area and --simplify cannot be below 0")
    return SceneSettings(
        side, overlap, options.min_area, options.simplify, options.class_name, options.cog,
        options.overwrite,
    )  # fmt: skip

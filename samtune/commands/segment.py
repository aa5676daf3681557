"""`samtune segment MODEL IMAGE...`: find the masks of everything in images or in a scene."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from samtune.commands.generator_options import (
    add_generator_options,
    generator_settings,
    make_generator,
    refuse_generator_options,
    thresholds_hint,
)
from samtune.commands.options import choose_device, parse_alone, quieten, tile_of
from samtune.commands.predict import find_images
from samtune.commands.segment_scene import (
    add_scene_options,
    is_scene_output,
    segment_one_scene,
)
from samtune.errors import UserError
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.inference.automatic_outputs import (
    COCO_FILE,
    Record,
    gather_records,
    open_results,
    read_record,
    require_free,
    write_coco,
    write_results,
)
from samtune.inference.crops import tile_boxes
from samtune.inference.image_names import distinct_names, distinct_stems
from samtune.inference.image_reading import read_as_trained
from samtune.models.loading import load_model

_EPILOG = """Writes IMAGE.png (a number for each mask, the best is 1 and lies on top; 0 is background),
and predictions.json, a COCO file with the run lengths and scores of all masks, also where they overlap.
Images that are done are skipped: a run that broke off goes on. An image that cannot be read is
reported, the others are segmented, and the exit code is 1.

A run that was trained on tiles looks at tiles of that side here, too, each with its own grid of points
(--tile 0: at the whole image); an object wider than --overlap that no tile sees whole is not found.

With --out FILE.gpkg (.geojson, .shp, .fgb, .tif) a georeferenced scene is segmented window by window:
an object that reaches over several comes out as one, with score, square metres and perimeter; --prompts
segments what the boxes and points of a vector file show instead (several points of one feature are of
one object; an area's bounds are its box). Such a run goes on, too."""
# Of the options for scenes those that mean nothing for images.
_SCENE = ("min_area", "simplify", "layer", "class_column", "class_name", "prompts", "cog")
_LEAST_TILE = 32


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune segment", description=__doc__, epilog=_EPILOG, exit_on_error=False
    )
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    parser.add_argument("images", nargs="+", type=Path, help="image files, or folders of them")
    parser.add_argument("-o", "--out", type=Path, default=Path("segmentation"))
    parser.add_argument("--overlay", action="store_true", help="IMAGE_overlay.png as well")
    parser.add_argument("--overwrite", action="store_true", help="also images that are done")
    add_generator_options(parser)
    parser.add_argument(
        "--bands", type=int, nargs="+", help="channel numbers (default: as trained)"
    )
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--image-size", type=int, default=0, help="of a base model; 0: its own")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, auto")
    tile = (
        "side of tiles, larger than the objects (default: as trained; 0: the whole image, or for "
    )
    parser.add_argument(
        "--tile", type=int, help=tile + "a scene windows as large as the model's input)"
    )
    parser.add_argument("--overlap", type=int, default=-1, help="of tiles (default: a quarter)")
    add_scene_options(parser)
    return parser


def main(arguments: list[str]) -> int:
    quieten()
    parser = _parser()
    options = parse_alone(parser, arguments)
    is_scene = is_scene_output(options)
    names = {} if is_scene else distinct_names(find_images(options.images))
    if not is_scene:
        _require_sense(parser, options)
        _require_place(options, names)
    if options.prompts is not None:
        refuse_generator_options(parser, options)
    device = choose_device(options.device)
    sam = load_model(options.model, options.checkpoint, options.image_size or None, device)
    sam.bands = options.bands or sam.bands
    generator = make_generator(sam, options)
    settings = generator_settings(generator, options)
    options.tile = tile_of(sam, options.tile)
    if is_scene:
        print(segment_one_scene(generator, settings, options))
        return 0
    options.overlap = _overlap(options)
    settings |= {"tile": options.tile, "overlap": options.overlap}
    open_results(options.out, settings, options.overwrite)
    done, failures = segment(generator, names, options)
    if done:
        write_coco(options.out / COCO_FILE, gather_records(options.out, done))
    _tell(list(done.values()), failures, generator, options)
    return 1 if failures else 0


def _require_sense(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Images take no options of scenes.

    Raises:
        UserError: one was given.
    """
    for name in _SCENE:
        if getattr(options, name) != parser.get_default(name):
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} is for scenes: give --out FILE.gpkg, or leave it out")


def _overlap(options: argparse.Namespace) -> int:
    """Of the tiles of an image.

    Raises:
        UserError: they make no sense.
    """
    side = int(options.tile)
    overlap = options.overlap if options.overlap >= 0 else side // 4
    if side == 0:
        return 0
    if side < _LEAST_TILE or overlap >= side:
        raise UserError(
            f"--tile {side} --overlap {overlap}: give {_LEAST_TILE} pixels or more (0: the whole "
            "image) and an overlap below that"
        )
    if options.crop_n_layers:
        raise UserError(
            f"--crop-n-layers is for whole images, not for tiles of {side}: add --tile 0"
        )
    return int(overlap)


def _require_place(options: argparse.Namespace, names: dict[Path, str]) -> None:
    """Label images have the names of their images, and those of true masks."""
    stems = distinct_stems(names)
    places = {(options.out / stem).resolve().parent for stem in stems.values()}
    if places & {path.resolve().parent for path in names}:
        raise UserError(
            f"--out {options.out} holds the images, which would be replaced: name another folder"
        )
    require_free(options.out, dict.fromkeys(stems.values()), options.overlay)


def segment(
    generator: AutomaticMaskGenerator, names: dict[Path, str], options: argparse.Namespace
) -> tuple[dict[str, Record], int]:
    """Segment what is not done yet.

    Args:
        generator: finds the masks.
        names: of the images, by path.
        options: of the command.

    Returns:
        The records by stem, and how many images failed.
    """
    stems = distinct_stems(names)
    done: dict[str, Record] = {}
    failures = 0
    for path in tqdm(names, desc="segment", unit="image", disable=None):
        try:
            record, stem = None, stems[path]
            if not options.overwrite:
                record = read_record(options.out, stem, path, options.overlay)
            done[stem] = record or _segment_one(generator, path, names[path], stem, options)
        except UserError as error:
            failures += 1
            tqdm.write(f"left out: {error}", file=sys.stderr)
    return done, failures


def _segment_one(
    generator: AutomaticMaskGenerator, path: Path, name: str, stem: str,
    options: argparse.Namespace,
) -> Record:  # fmt: skip
    sam = generator.predictor.model
    image = read_as_trained(sam, path)
    tiles = tile_boxes(image.shape[:2], options.tile, options.overlap) if options.tile else ()
    found = generator.search(image, tiles)
    return write_results(options.out, stem, path, name, image, found, options.overlay)


def _tell(
    records: list[Record], failures: int, generator: AutomaticMaskGenerator,
    options: argparse.Namespace,
) -> None:  # fmt: skip
    count = sum(len(record["masks"]) for record in records)
    tiles = f" in tiles of {options.tile} pixels" if options.tile else ""
    print(f"{count} masks in {len(records)} images{tiles}: {options.out}")
    empty = [record["image"]["file_name"] for record in records if not record["masks"]]
    if empty:
        hint = thresholds_hint(generator)
        print(f"{len(empty)} images have none, such as {empty[0]}: {hint}")
    if failures:
        print(f"{failures} images failed", file=sys.stderr)

"""`samtune segment MODEL IMAGE...`: find the masks of everything in images or in a scene."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from samtune.commands.generator_options import (
    add_generator_options,
    generator_settings,
    make_generator,
    thresholds_hint,
)
from samtune.commands.options import choose_device, parse_alone, quieten
from samtune.commands.predict import find_images, unique_stems
from samtune.commands.segment_scene import (
    add_scene_options,
    is_scene_output,
    segment_one_scene,
)
from samtune.data.image_io import read_image
from samtune.errors import UserError
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.inference.automatic_outputs import (
    COCO_FILE,
    Record,
    open_results,
    read_record,
    write_coco,
    write_results,
)
from samtune.models.loading import load_model

_EPILOG = """Writes IMAGE.png (a number for each mask, the best is 1 and lies on top; 0 is background),
and predictions.json, a COCO file with the run lengths and scores of all masks, also where they overlap.
Images that are done are skipped: a run that broke off goes on. An image that cannot be read is
reported, the others are segmented, and the exit code is 1.

With --out FILE.gpkg (.geojson, .shp, .fgb, .tif) a georeferenced scene is segmented window by window:
an object that reaches over several comes out as one, with score, square metres and perimeter; --prompts
segments what the boxes and points of a vector file show instead (several points of one feature are of one
object; an area's bounds are its box). Such a run goes on, too."""


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
    add_scene_options(parser)
    return parser


def main(arguments: list[str]) -> int:
    quieten()
    options = parse_alone(_parser(), arguments)
    is_scene = is_scene_output(options)
    paths = [] if is_scene else list(dict.fromkeys(find_images(options.images)))
    if not is_scene:
        _require_elsewhere(options.out, paths)
    device = choose_device(options.device)
    sam = load_model(options.model, options.checkpoint, options.image_size or None, device)
    sam.bands = options.bands or sam.bands
    generator = make_generator(sam, options)
    settings = generator_settings(generator, options)
    if is_scene:
        print(segment_one_scene(generator, settings, options))
        return 0
    open_results(options.out, settings, options.overwrite)
    records, failures = segment(generator, paths, options)
    write_coco(options.out / COCO_FILE, records)
    _tell(records, failures, generator, options.out)
    return 1 if failures else 0


def _require_elsewhere(out: Path, paths: list[Path]) -> None:
    """Label images have the names of their images."""
    if out.resolve() in {path.resolve().parent for path in paths}:
        raise UserError(
            f"--out {out} holds the images, which would be replaced: name another folder"
        )


def segment(
    generator: AutomaticMaskGenerator, paths: list[Path], options: argparse.Namespace
) -> tuple[list[Record], int]:
    """Segment what is not done yet.

    Returns:
        The records of all images, and how many images failed.
    """
    stems = unique_stems(paths)
    records: list[Record] = []
    failures = 0
    for path in tqdm(paths, desc="segment", unit="image", disable=None):
        try:
            record = None
            if not options.overwrite:
                record = read_record(options.out, stems[path], path, options.overlay)
            records.append(record or _segment_one(generator, path, stems[path], options))
        except UserError as error:
            failures += 1
            tqdm.write(f"left out: {error}", file=sys.stderr)
    return records, failures


def _segment_one(
    generator: AutomaticMaskGenerator, path: Path, stem: str, options: argparse.Namespace
) -> Record:
    sam = generator.predictor.model
    image = read_image(path, sam.bands, sam.stretch, sam.value_range)
    found = generator.search(image)
    return write_results(options.out, stem, path, image, found, options.overlay)


def _tell(
    records: list[Record], failures: int, generator: AutomaticMaskGenerator, out: Path
) -> None:
    count = sum(len(record["masks"]) for record in records)
    print(f"{count} masks in {len(records)} images: {out}")
    empty = [record["image"]["file_name"] for record in records if not record["masks"]]
    if empty:
        hint = thresholds_hint(generator)
        print(f"{len(empty)} images have none, such as {empty[0]}: {hint}")
    if failures:
        print(f"{failures} images failed", file=sys.stderr)

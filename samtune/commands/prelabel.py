"""`samtune prelabel MODEL IMAGES --boxes FILE -o coco.json`: masks for what a detector found.

Beside the COCO file: review.csv, the most doubtful first, review.html and rejected.json.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from samtune.commands.options import choose_device, parse_alone, quieten, tile_of
from samtune.commands.prelabel_summary import Summary
from samtune.commands.prelabel_writing import Done, beside, folder_of, write_prelabels
from samtune.data.writing import Target
from samtune.errors import UserError
from samtune.files import is_file, is_folder, try_writing, write_json
from samtune.inference.detection_text import read_detections
from samtune.inference.detections import Detections
from samtune.inference.image_names import list_images
from samtune.inference.prelabel_files import Segmentation
from samtune.inference.prelabel_plan import PlannedImage, plan
from samtune.inference.prelabel_store import REJECTED, PrelabelStore, is_kept
from samtune.inference.review import choose_threshold
from samtune.models.calibration import Calibration, Threshold
from samtune.models.loading import load_model


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune prelabel",
        description="Segment what a detector found, for a labelling tool. Beside the COCO file: "
        "review.csv, the most doubtful objects first; review.html, those in pictures; rejected.json, "
        "what could not be used, and why. Interrupted, the same command goes on.",
        exit_on_error=False,
    )
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    parser.add_argument("images", nargs="+", type=Path, help="folders of images, or image files")
    parser.add_argument(
        "--boxes", type=Path, required=True, metavar="FILE",
        help="COCO results, a COCO file, a folder of YOLO's .txt, or a table (.csv) with the columns "
        "file, x0, y0, x1, y1 (or x, y), label, score",
    )  # fmt: skip
    parser.add_argument(
        "--images-json", type=Path, metavar="FILE",
        help="COCO file that the image_id and category_id of results refer to",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, required=True, help="the COCO file to write")
    parser.add_argument(
        "--min-score", type=float, default=0.0, help="of detections; those below are left out"
    )
    parser.add_argument(
        "--segmentation", choices=get_args(Segmentation), default="polygons",
        help="polygons, which more labelling tools open, or run lengths (default: polygons)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=float, default=0.0, metavar="PIXELS",
        help="simplify polygons by so much (default: 0, exact along the pixels)",
    )  # fmt: skip
    parser.add_argument(
        "--no-overlap", action="store_true", help="each pixel goes to the highest score"
    )
    parser.add_argument(
        "--to", nargs="+", choices=[t for t in get_args(Target) if t != "coco"], default=[],
        metavar="FORMAT", help="also as labelme, yolo, labels: a folder beside the COCO file",
    )  # fmt: skip
    parser.add_argument(
        "--accept", nargs=2, type=float, default=[0.8, 0.9], metavar=("IOU", "SHARE"),
        help="mark as accepted from the score on that samtune calibrate found for this (default: "
        "0.8 0.9)",
    )  # fmt: skip
    parser.add_argument("--cutouts", type=Path, metavar="DIR", help="RGBA PNG of each object")
    parser.add_argument("--margin", type=int, default=0, help="pixels around cut-outs")
    parser.add_argument("--show", type=int, default=60, help="objects on review.html")
    parser.add_argument("--overwrite", action="store_true", help="begin anew, whatever is there")
    parser.add_argument(
        "--tile", type=int, metavar="PIXELS",
        help="look at objects in windows of that side, not in the whole image (default: as trained; "
        "0: the whole image)",
    )  # fmt: skip
    parser.add_argument(
        "--bands", type=int, nargs="+", help="channel numbers (default: as trained)"
    )
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--image-size", type=int, default=0, help="of a base model; 0: its own")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, auto")
    return parser


def main(arguments: list[str]) -> None:
    """Run `samtune prelabel`.

    Raises:
        SystemExit: with code 1, where images could not be read.
    """
    quieten()
    options = parse_alone(_parser(), arguments)
    kept = _check(options)
    found = read_detections(options.boxes, options.images_json, options.min_score)
    made = [folder_of(options, target) for target in options.to]
    made += [options.cutouts] if options.cutouts else []
    images = plan(found, list_images(options.images, without=made))
    for file in [options.out] + ([options.cutouts / "x.png"] if options.cutouts else []):
        try_writing(file)
    if not any(image.detections for image in images):
        _refuse(options, found, kept)
    sam = load_model(
        options.model, options.checkpoint, options.image_size or None, choose_device(options.device)
    ).eval()
    threshold = _threshold(sam.calibration, options)
    store = PrelabelStore(kept, sam, options.bands, tile_of(sam, options.tile))
    if options.overwrite:
        store.remove()
    done, failed = _segment(store, images)
    if not done:
        raise UserError(f"none of {len(images)} images can be read, such as: {failed[0]['reason']}")
    summary = Summary(found, sam.calibration, threshold, failed)
    write_prelabels(options, store, done, summary)
    print("\n".join([f"{options.out}: {summary.headline}", *summary.notes]))
    if failed:
        raise SystemExit(1)
    store.remove()


def _check(options: argparse.Namespace) -> Path:
    """The folder for what is kept of a broken run.

    Raises:
        UserError: a file would be lost, or flags do not go together.
    """
    _check_flags(options)
    beside_it = ("review.csv", "review.html", "rejected.json")
    files = [options.out, *(beside(options, name) for name in beside_it)]
    places = [*files, *(folder_of(options, target) for target in options.to)]
    for file in filter(is_folder, files):
        raise UserError(f"{file} is a folder, where a file is to be written: name another -o")
    kept = beside(options, f"{options.out.stem}.parts")
    there = [str(place) for place in places if is_file(place) or is_folder(place)]
    if options.cutouts and is_folder(options.cutouts) and any(options.cutouts.iterdir()):
        there.append(f"files in {options.cutouts}")
    if there and not options.overwrite and not kept.is_dir():
        raise UserError(f"{', '.join(there)}: there already; name another -o, or add --overwrite")
    for source in (options.boxes, options.images_json):
        if source and source.resolve() in [place.resolve() for place in places]:
            raise UserError(f"{source} would be written over: name another -o")
    return kept


def _check_flags(options: argparse.Namespace) -> None:
    if is_folder(options.out):
        raise UserError(
            f"-o {options.out} is a folder: name a file in it, such as {options.out / 'coco.json'}"
        )
    if options.out.suffix.lower() != ".json":
        raise UserError(
            f"-o {options.out} is no name for a COCO file, which is JSON: end it in .json"
        )
    if options.tile is not None and options.tile < 0:
        raise UserError(f"--tile is {options.tile}: give pixels, 0 for the whole image")
    if not options.tolerance >= 0 or options.margin < 0 or options.show < 0:
        raise UserError("--tolerance, --margin and --show are 0 or more")
    if options.tolerance and options.segmentation == "rle":
        raise UserError("--tolerance is of polygons: leave out --segmentation rle")
    if "labels" in options.to and not options.no_overlap:
        raise UserError("a label map cannot hold objects that overlap: add --no-overlap")


def _refuse(options: argparse.Namespace, found: Detections, kept: Path) -> None:
    """Nothing is left to segment: write why, and stop."""
    told = f"of {found.num_read:,} detections in {options.boxes} none can be used"
    if found.rejected:
        place = kept / REJECTED
        rows = [asdict(each) for each in found.rejected]
        write_json(place, {"detections": rows, "images": []})
        first = found.rejected[0]
        told += f": {first.where} ({first.image!r}): {first.reason} (all are in {place})"
    raise UserError(f"{told}; {found.num_below:,} are below --min-score {options.min_score:g}")


def _threshold(calibration: Calibration | None, options: argparse.Namespace) -> Threshold | None:
    """From which score on to accept.

    Raises:
        UserError: the calibration has no such threshold.
    """
    if calibration is None:
        return None
    found = choose_threshold(calibration, *options.accept)
    if found is None:
        known = ", ".join(f"{each.iou:g} {each.share:g}" for each in calibration.thresholds)
        raise UserError(
            f"--accept {options.accept[0]:g} {options.accept[1]:g}: choose from {known}"
        )
    return found


def _segment(store: PrelabelStore, images: list[PlannedImage]) -> tuple[Done, list[dict[str, str]]]:
    """Segment what is not done yet; images that cannot be read are told, the rest goes on."""
    done: Done = []
    failed: list[dict[str, str]] = []
    try:
        for image in tqdm(images, desc="prelabel", unit="image", disable=None):
            try:
                image.require_size()
                place = store.place_of(image.path, image.detections)
                if not is_kept(place):
                    store.make(place, image.path, image.detections)
                done.append((image, place))
            except UserError as error:
                failed.append({"image": image.name, "reason": str(error)})
    except KeyboardInterrupt:
        told = f"{len(done)} of {len(images)} images are done, the same command goes on"
        print(f"samtune: {told}", file=sys.stderr)
        raise
    return done, failed

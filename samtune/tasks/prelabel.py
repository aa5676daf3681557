"""`prelabel`: masks for what a detector found, for a labelling tool, the doubtful ones first."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samtune.errors import UnwritableError, UserError
from samtune.files import is_folder, partial_folder, require_new, try_writing, write_json
from samtune.inference.settings import Focus, SearchSettings, Segmentation
from samtune.ranges import Count, NotNegative, Share
from samtune.reading import Reading
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_model
from samtune.tasks.prelabel_sources import open_source, require_source
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run
from samtune.tasks.searching import search_settings
from samtune.tasks.settings import Layer, reading_of, require_reading

if TYPE_CHECKING:
    from samtune.inference.prelabel.detections import Detections
    from samtune.inference.prelabel.plan import PlannedImage
    from samtune.inference.prelabel.store import PrelabelStore
    from samtune.models.calibration import Calibration, Threshold
    from samtune.tasks.prelabel_files import PrelabelFiles

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prelabels(Result):
    """What was made.

    Attributes:
        out: the COCO file; beside it review.csv, review.html and rejected.json.
        sentence: how many objects, and how many of them are accepted.
        notes: what else is to be known, worst first.
        review: rows of review.csv, the most doubtful first.
        failures: images that could not be read, with the reason.
    """

    out: Path
    sentence: str
    notes: list[str]
    review: Rows
    failures: dict[str, str]

    @property
    def headline(self) -> str:
        return f"{self.out}: {self.sentence}"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {"review": self.review}


@task
def prelabel(
    model: str | Path | Run,
    images: Sequence[str | Path],
    *,
    boxes: str | Path | None = None,
    out: str | Path,
    images_json: str | Path | None = None,
    min_score: Share = 0.0,
    segmentation: Segmentation = "polygons",
    simplify: NotNegative = 0.0,
    without_overlap: bool = False,
    to: Sequence[Literal["labels", "yolo", "labelme"]] = (),
    accept: Sequence[float] = (0.8, 0.9),
    cutouts: str | Path | None = None,
    margin: Count = 0,
    gallery: Count = 60,
    search: Layer | SearchSettings | None = None,
    focus: Focus = "auto",
    reading: Layer | Reading | None = None,
    overwrite: bool = False,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> Prelabels:
    """Segment what a detector found, or what the model finds by itself, for a labelling tool.

    Without boxes the model looks for the objects: by its instance head, where it has one, or else on
    a grid of points; a head for classes or a classifier names them. What SAM's own decoder makes
    otherwise of an object's box, and what has no sure class, is doubtful.

    Beside the COCO file: review.csv, the most doubtful objects first; review.html, those in pictures;
    rejected.json, what could not be used, and why. Interrupted, the same call goes on.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        images: folders of images, or image files.
        boxes: COCO results, a COCO file, a folder of YOLO's .txt, or a table (.csv) with the columns
            file, x0, y0, x1, y1 (or x, y), label, score (default: the model finds the objects).
        out: the COCO file to write.
        images_json: COCO file that the image_id and category_id of results refer to.
        min_score: detections with a lower score are left out; for what a head finds there is
            search.min_quality.
        segmentation: polygons, which more labelling tools open, or run lengths.
        simplify: how far polygons may leave the pixels' edges, pixels; 0 follows them exactly.
        without_overlap: each pixel goes to the highest score.
        to: also as labelme, yolo, labels: a folder beside the COCO file.
        accept: IOU SHARE, such as 0.8 0.9: mark objects as accepted whose score is so high that in
            calibration 90% of such masks had an IoU of 0.8.
        cutouts: folder for an RGBA PNG of each object.
        margin: pixels kept around each cut-out.
        gallery: how many objects review.html shows at most.
        search: how objects are found without boxes, as in segment.
        focus: `auto` looks at small objects in a window around them; `off` never does.
        reading: of the pixels, where it is to be otherwise than in training; objects are looked at in
            windows of its tile (0: in the whole image).
        overwrite: start again and replace what is there.
        checkpoint: official weights for a registry name.
        image_size: side of the square input of a base model; 0 takes its own.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: a file would be lost, nothing can be used, or arguments do not go together.
    """
    from samtune.images.naming import list_images
    from samtune.inference.prelabel.detection_text import read_detections
    from samtune.inference.prelabel.detections import Detections
    from samtune.inference.prelabel.plan import plan
    from samtune.inference.prelabel.summary import Summary
    from samtune.tasks.prelabel_files import PrelabelFiles, Writing

    options = PrelabelFiles(
        Path(out), segmentation, simplify, without_overlap, to,
        None if cutouts is None else Path(cutouts), margin, gallery,
    )  # fmt: skip
    _require_sense(options)
    require_reading(reading, ("bands", "stretch", "value_range", "window", "tile"))
    require_source(boxes, images_json, min_score)
    settings = search_settings(search, boxes is not None)
    sources = [Path(file) for file in (boxes, images_json) if file is not None]
    _require_place(options, sources, overwrite)
    found = Detections()
    if boxes is not None:
        of_images = None if images_json is None else Path(images_json)
        found = read_detections(Path(boxes), of_images, min_score)
    made = [options.folder_of(target) for target in to]
    made += [options.cutouts] if options.cutouts else []
    images_found = list_images([Path(image) for image in images], without=made)
    planned = plan(found, images_found)
    for file in [options.out] + ([options.cutouts / "x.png"] if options.cutouts else []):
        try_writing(file)
    if boxes is not None and not any(image.detections for image in planned):
        _refuse(options, found, Path(boxes), min_score)
    sam = open_model(model, checkpoint, image_size, device)
    sam.reading = reading_of(sam, reading)
    store, calibration, hint = open_source(
        partial_folder(options.out), sam, focus == "auto", None if boxes else settings
    )
    threshold = _threshold(calibration, accept)
    if overwrite:
        store.remove()
    done, failed = _segment(store, planned)
    if not done:
        raise UserError(
            f"none of {len(planned)} images can be read, such as: {failed[0]['reason']}"
        )
    found.categories += store.categories_of([place for _, place in done])
    summary = Summary(found, calibration, threshold, failed, hint)
    rows = Writing(options, store, done, summary).write_all()
    if not failed:
        store.remove()
    failures = {each["image"]: each["reason"] for each in failed}
    review = [asdict(row) for row in rows]
    return Prelabels(options.out, summary.headline, summary.notes, review, failures)


def _require_sense(options: PrelabelFiles) -> None:
    out = options.out
    if is_folder(out):
        raise UserError(f"{out} is a folder: name a file in it, such as {out / 'coco.json'}")
    if out.suffix.lower() != ".json":
        raise UserError(f"{out} is no name for a COCO file, which is JSON: end it in .json")
    if not options.simplify >= 0 or options.margin < 0 or options.gallery < 0:
        raise UserError("simplify, margin and gallery are 0 or more")
    if options.simplify and options.segmentation == "rle":
        raise UserError("simplify is of polygons: leave out segmentation rle")
    if "labels" in options.to and not options.without_overlap:
        raise UserError("a label map cannot hold objects that overlap: add --without_overlap")


def _require_place(options: PrelabelFiles, sources: list[Path], overwrite: bool) -> None:
    """Say at once what would be lost.

    Raises:
        UserError: a file would be.
    """
    files = [options.out, *options.reports]
    for file in filter(is_folder, files):
        raise UserError(f"{file} is a folder, where a file is to be written: name another out")
    places = [*files, *(options.folder_of(target) for target in options.to)]
    for source in sources:
        if source.resolve() in [place.resolve() for place in places]:
            raise UserError(f"{source} would be written over: name another out")
    is_replaced = overwrite or is_folder(partial_folder(options.out))
    for place in places:
        require_new(place, is_replaced)
    cutouts = options.cutouts
    if cutouts and is_folder(cutouts) and any(cutouts.iterdir()):
        require_new(cutouts, is_replaced)


def _refuse(options: PrelabelFiles, found: Detections, boxes: Path, min_score: float) -> None:
    """Nothing is left to segment: write why, and stop."""
    told = f"of {found.num_read:,} detections in {boxes} none can be used"
    if found.rejected:
        place = options.rejected
        rows = [asdict(each) for each in found.rejected]
        write_json(place, {"detections": rows, "images": []})
        partial_folder(options.out).mkdir(exist_ok=True)  # the corrected call may replace that
        first = found.rejected[0]
        told += f": {first.where} ({first.image!r}): {first.reason} (all are in {place})"
    raise UserError(f"{told}; {found.num_below:,} are below min_score {min_score:g}")


def _threshold(calibration: Calibration | None, accept: Sequence[float]) -> Threshold | None:
    """From which score on to accept.

    Raises:
        UserError: the calibration has no such threshold.
    """
    from samtune.inference.prelabel.review import choose_threshold

    if len(accept) != 2:
        raise UserError(f"accept is {list(accept)}: give an IoU and a share, such as 0.8 0.9")
    if calibration is None:
        return None
    found = choose_threshold(calibration, accept[0], accept[1])
    if found is None:
        known = ", ".join(f"{each.iou:g} {each.share:g}" for each in calibration.thresholds)
        raise UserError(f"accept is {accept[0]:g} {accept[1]:g}: choose from {known}")
    return found


def _segment(
    store: PrelabelStore, images: list[PlannedImage]
) -> tuple[list[tuple[PlannedImage, Path]], list[dict[str, str]]]:
    """Segment what is not done yet; images that cannot be read are told, the rest goes on."""
    from samtune.bars import bar
    from samtune.inference.prelabel.store import is_kept

    done: list[tuple[PlannedImage, Path]] = []
    failed: list[dict[str, str]] = []
    try:
        for image in bar(images, "prelabel", "image"):
            try:
                image.require_size()
                place = store.place_of(image.path, image.detections)
                if not is_kept(place):
                    store.make(place, image.path, image.detections)
                done.append((image, place))
            except UnwritableError:
                raise
            except UserError as error:
                failed.append({"image": image.name, "reason": str(error)})
    except KeyboardInterrupt:
        log.warning("%d of %d images are done, the same command goes on", len(done), len(images))
        raise
    return done, failed

"""`prelabel`: masks for what a detector found, for a labelling tool, the doubtful ones first."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samtune.data.settings import Target
from samtune.errors import UserError
from samtune.files import (
    is_folder,
    partial_folder,
    replacing_file,
    replacing_folder,
    require_new,
    try_writing,
    write_json,
    write_text,
)
from samtune.inference.settings import Segmentation
from samtune.reading import Reading
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run
from samtune.tasks.settings import Layer, reading_of, require_reading

if TYPE_CHECKING:
    from samtune.data.writing import Writer
    from samtune.evaluation.report.review_page import ReviewPicture
    from samtune.inference.prelabel.detections import Detections
    from samtune.inference.prelabel.labels import LabelledImage
    from samtune.inference.prelabel.plan import PlannedImage
    from samtune.inference.prelabel.review import ReviewRow
    from samtune.inference.prelabel.store import PrelabelStore
    from samtune.inference.prelabel.summary import Summary
    from samtune.models.calibration import Calibration, Threshold

log = logging.getLogger(__name__)
_REJECTED = "rejected.json"
_BESIDE = ("review.csv", "review.html", _REJECTED)


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


@dataclass(frozen=True)
class _Options:
    """What is written, and where."""

    out: Path
    segmentation: Segmentation
    simplify: float
    without_overlap: bool
    to: Sequence[Target]
    cutouts: Path | None
    margin: int
    gallery: int

    def beside(self, name: str) -> Path:
        """A file beside the COCO file."""
        return self.out.with_name(name)

    def folder_of(self, target: Target) -> Path:
        """The folder for another format."""
        return self.beside(f"{self.out.stem}_{target}")


@task
def prelabel(
    model: str | Path | Run,
    images: Sequence[str | Path],
    *,
    boxes: str | Path,
    out: str | Path,
    images_json: str | Path | None = None,
    min_score: float = 0.0,
    segmentation: Segmentation = "polygons",
    simplify: float = 0.0,
    without_overlap: bool = False,
    to: Sequence[Literal["labels", "yolo", "labelme"]] = (),
    accept: Sequence[float] = (0.8, 0.9),
    cutouts: str | Path | None = None,
    margin: int = 0,
    gallery: int = 60,
    reading: Layer | Reading | None = None,
    overwrite: bool = False,
    checkpoint: str | Path | None = None,
    image_size: int = 0,
    device: str = "auto",
) -> Prelabels:
    """Segment what a detector found, for a labelling tool.

    Beside the COCO file: review.csv, the most doubtful objects first; review.html, those in pictures;
    rejected.json, what could not be used, and why. Interrupted, the same call goes on.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        images: folders of images, or image files.
        boxes: COCO results, a COCO file, a folder of YOLO's .txt, or a table (.csv) with the columns
            file, x0, y0, x1, y1 (or x, y), label, score.
        out: the COCO file to write.
        images_json: COCO file that the image_id and category_id of results refer to.
        min_score: of detections; those below are left out.
        segmentation: polygons, which more labelling tools open, or run lengths.
        simplify: of polygons, pixels; 0: none, exact along the pixels.
        without_overlap: each pixel goes to the highest score.
        to: also as labelme, yolo, labels: a folder beside the COCO file.
        accept: IOU SHARE: mark as accepted from the score on that samtune calibrate found for this.
        cutouts: folder for an RGBA PNG of each object.
        margin: pixels around cut-outs.
        gallery: objects on review.html at most.
        reading: of the pixels, where it is to be otherwise than in training; objects are looked at in
            windows of its tile (0: in the whole image).
        overwrite: begin anew, whatever is there.
        checkpoint: official weights for a registry name.
        image_size: of a base model; 0: its own.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: a file would be lost, nothing can be used, or arguments do not go together.
    """
    from samtune.images.naming import list_images
    from samtune.inference.prelabel.detection_text import read_detections
    from samtune.inference.prelabel.plan import plan
    from samtune.inference.prelabel.store import PrelabelStore
    from samtune.inference.prelabel.summary import Summary

    options = _Options(
        Path(out), segmentation, simplify, without_overlap, to,
        None if cutouts is None else Path(cutouts), margin, gallery,
    )  # fmt: skip
    _require_sense(options)
    require_reading(reading, ("bands", "stretch", "value_range", "window", "tile"))
    sources = [Path(file) for file in (boxes, images_json) if file is not None]
    _require_place(options, sources, overwrite)
    found = read_detections(
        Path(boxes), None if images_json is None else Path(images_json), min_score
    )
    made = [options.folder_of(target) for target in to]
    made += [options.cutouts] if options.cutouts else []
    images_found = list_images([Path(image) for image in images], without=made)
    planned = plan(found, images_found)
    for file in [options.out] + ([options.cutouts / "x.png"] if options.cutouts else []):
        try_writing(file)
    if not any(image.detections for image in planned):
        _refuse(options, found, Path(boxes), min_score)
    sam = open_model(model, checkpoint, image_size, device)
    threshold = _threshold(sam.calibration, accept)
    store = PrelabelStore(partial_folder(options.out), sam, reading_of(sam, reading))
    if overwrite:
        store.remove()
    done, failed = _segment(store, planned)
    if not done:
        raise UserError(
            f"none of {len(planned)} images can be read, such as: {failed[0]['reason']}"
        )
    summary = Summary(found, sam.calibration, threshold, failed)
    rows = _Writing(options, store, done, summary).write_all()
    if not failed:
        store.remove()
    failures = {each["image"]: each["reason"] for each in failed}
    review = [asdict(row) for row in rows]
    return Prelabels(options.out, summary.headline, summary.notes, review, failures)


def _require_sense(options: _Options) -> None:
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


def _require_place(options: _Options, sources: list[Path], overwrite: bool) -> None:
    """Say at once what would be lost.

    Raises:
        UserError: a file would be.
    """
    files = [options.out, *(options.beside(name) for name in _BESIDE)]
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


def _refuse(options: _Options, found: Detections, boxes: Path, min_score: float) -> None:
    """Nothing is left to segment: write why, and stop."""
    told = f"of {found.num_read:,} detections in {boxes} none can be used"
    if found.rejected:
        place = options.beside(_REJECTED)
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
            except UserError as error:
                failed.append({"image": image.name, "reason": str(error)})
    except KeyboardInterrupt:
        log.warning("%d of %d images are done, the same command goes on", len(done), len(images))
        raise
    return done, failed


@dataclass(frozen=True)
class _Writing:
    """Writes all files, image by image from what was kept of each."""

    options: _Options
    store: PrelabelStore
    done: list[tuple[PlannedImage, Path]]
    summary: Summary

    def write_all(self) -> list[ReviewRow]:
        """Write the COCO file and all that was asked beside it; returns the queue.

        Raises:
            UserError: an image is gone, or a format cannot hold the objects.
        """
        from samtune.evaluation.report.review_page import write_review_page
        from samtune.inference.prelabel.review import review_csv

        options, summary = self.options, self.summary
        cutouts = options.cutouts
        older = {f.name for f in cutouts.iterdir()} if cutouts and is_folder(cutouts) else set()
        rows, written = self._write_images()
        rows.sort(key=lambda row: row.order)
        summary.count(rows)
        summary.num_older_cutouts = len(older - written)
        write_text(options.beside("review.csv"), review_csv(rows))
        rejected = [asdict(each) for each in summary.rejected]
        content = {"detections": rejected, "images": summary.failed}
        write_json(options.beside(_REJECTED), content)
        pictures = self._pictures(rows[: options.gallery])
        page = options.beside("review.html")
        write_review_page(page, summary.headline, summary.notes, rows, pictures)
        return rows

    def _write_images(self) -> tuple[list[ReviewRow], set[str]]:
        """What is written image by image; rows of the queue, and names of cut-outs."""
        from samtune.bars import bar
        from samtune.coco import CocoFile
        from samtune.data.writing import WRITERS
        from samtune.inference.prelabel.labels import add_to_coco, category_names, finish
        from samtune.inference.prelabel.store import read_result

        options, summary = self.options, self.summary
        names = category_names(summary.found.categories)
        rows: list[ReviewRow] = []
        cutouts: set[str] = set()
        info = {"description": f"samtune {version('samtune')} prelabel", **summary.about}
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing_file(options.out))
            coco = CocoFile(stack.enter_context(temporary.open("wb")), info)
            writers: list[Writer] = [
                WRITERS[target](stack.enter_context(replacing_folder(options.folder_of(target))))
                for target in options.to
            ]
            for image, place in bar(self.done, "write", "image"):
                found = read_result(place)
                summary.add(found)
                labelled = finish(image.name, image.image_id, found, options.without_overlap)
                add_to_coco(coco, labelled, options.segmentation, options.simplify)
                rows += self._rows(labelled, names)
                if options.cutouts or writers:
                    cutouts |= self._write_pixels(image, labelled, names, writers)
            coco.finish(summary.found.categories)
            for writer in writers:
                writer.finish()
        return rows, cutouts

    def _rows(self, labelled: LabelledImage, names: dict[int, str]) -> Iterator[ReviewRow]:
        from samtune.inference.prelabel.review import review_row

        accept_from = self.summary.accept_from
        for label, mask in labelled.objects:
            category = names[label.category]
            yield review_row(labelled.name, label, mask.area, category, accept_from)

    def _write_pixels(
        self, image: PlannedImage, labelled: LabelledImage, names: dict[int, str],
        writers: list[Any],
    ) -> set[str]:  # fmt: skip
        """What needs the pixels: cut-outs, whose names are returned, and formats with images."""
        from samtune.data.source import Record
        from samtune.inference.prelabel.labels import write_cutouts

        pixels, options = self.store.read_image(image.path), self.options
        if writers:
            sample = labelled.to_sample(pixels, names)
            for writer in writers:
                writer.add("train", Record(sample.image_id, image.path), sample, image.path)
        if options.cutouts is None:
            return set()
        return set(write_cutouts(options.cutouts, labelled, pixels, names, options.margin))

    def _pictures(self, rows: list[ReviewRow]) -> list[ReviewPicture]:
        """Pictures of the rows in their order; each image is read once."""
        from samtune.evaluation.report.review_page import draw_object
        from samtune.inference.prelabel.labels import finish
        from samtune.inference.prelabel.store import read_result

        wanted = {(row.image, row.object): row for row in rows}
        images = {row.image for row in rows}
        pictures: dict[tuple[str, int], ReviewPicture] = {}
        for image, place in self.done:
            if image.name not in images:
                continue
            pixels, found = self.store.read_image(image.path), read_result(place)
            labelled = finish(image.name, image.image_id, found, self.options.without_overlap)
            for label, mask in labelled.objects:
                key = (image.name, label.number)
                if key in wanted:
                    whole = mask.whole(labelled.hw)
                    pictures[key] = draw_object(wanted[key], pixels, label.prompt, whole)
        return [pictures[key] for key in wanted]

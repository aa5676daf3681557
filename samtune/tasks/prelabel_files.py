"""What `prelabel` leaves: the COCO file, the queue of the doubtful, other formats, cut-outs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from samtune.bars import bar
from samtune.coco import CocoFile
from samtune.data.settings import Target
from samtune.data.source import Record
from samtune.data.writing import WRITERS, Writer
from samtune.evaluation.report.review_page import ReviewPicture, draw_object, write_review_page
from samtune.files import is_folder, replacing_file, replacing_folder, write_json, write_text
from samtune.inference.prelabel.labels import (
    LabelledImage,
    add_to_coco,
    category_names,
    finish,
    write_cutouts,
)
from samtune.inference.prelabel.plan import PlannedImage
from samtune.inference.prelabel.review import ReviewRow, review_csv, review_row
from samtune.inference.prelabel.store import PrelabelStore
from samtune.inference.prelabel.summary import Summary
from samtune.inference.settings import Segmentation


@dataclass(frozen=True)
class PrelabelFiles:
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

    @property
    def rejected(self) -> Path:
        """What could not be used, and why."""
        return self.beside("rejected.json")

    @property
    def reports(self) -> list[Path]:
        """All files that lie beside the COCO file."""
        return [self.beside("review.csv"), self.beside("review.html"), self.rejected]

    def folder_of(self, target: Target) -> Path:
        """The folder for another format."""
        return self.beside(f"{self.out.stem}_{target}")


@dataclass(frozen=True)
class Writing:
    """Writes all files, image by image from what was kept of each."""

    options: PrelabelFiles
    store: PrelabelStore
    done: list[tuple[PlannedImage, Path]]
    summary: Summary

    def write_all(self) -> list[ReviewRow]:
        """Write the COCO file and all that was asked beside it; returns the queue.

        Raises:
            UserError: an image is gone, or a format cannot hold the objects.
        """
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
        write_json(options.rejected, content)
        pictures = self._pictures(rows[: options.gallery])
        page = options.beside("review.html")
        write_review_page(page, summary.headline, summary.notes, rows, pictures)
        return rows

    def _write_images(self) -> tuple[list[ReviewRow], set[str]]:
        """What is written image by image; rows of the queue, and names of cut-outs."""
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
                found = self.store.result_of(place)
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
        accept_from = self.summary.accept_from
        for label, mask in labelled.objects:
            category = names[label.category]
            yield review_row(labelled.name, label, mask.area, category, accept_from)

    def _write_pixels(
        self, image: PlannedImage, labelled: LabelledImage, names: dict[int, str],
        writers: list[Any],
    ) -> set[str]:  # fmt: skip
        """What needs the pixels: cut-outs, whose names are returned, and formats with images."""
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
        wanted = {(row.image, row.object): row for row in rows}
        images = {row.image for row in rows}
        pictures: dict[tuple[str, int], ReviewPicture] = {}
        for image, place in self.done:
            if image.name not in images:
                continue
            pixels, found = self.store.read_image(image.path), self.store.result_of(place)
            labelled = finish(image.name, image.image_id, found, self.options.without_overlap)
            for label, mask in labelled.objects:
                key = (image.name, label.number)
                if key in wanted:
                    whole = mask.whole(labelled.hw)
                    pictures[key] = draw_object(wanted[key], pixels, label.prompt, whole)
        return [pictures[key] for key in wanted]

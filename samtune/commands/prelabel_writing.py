"""The files of `samtune prelabel`, written image by image from what was kept of each."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from samtune.commands.prelabel_summary import Summary
from samtune.data.source import Record
from samtune.data.writing import WRITERS, Target, Writer
from samtune.evaluation.report.review_page import ReviewPicture, draw_object, write_review_page
from samtune.files import replacing_file, replacing_folder, write_json, write_text
from samtune.inference.prelabel_files import (
    CocoStream,
    LabelledImage,
    category_names,
    finish,
    write_cutouts,
)
from samtune.inference.prelabel_plan import PlannedImage
from samtune.inference.prelabel_store import PrelabelStore, read_result
from samtune.inference.review import ReviewRow, review_csv, review_row

# Images with the files that their results are kept in.
Done = list[tuple[PlannedImage, Path]]


def beside(options: argparse.Namespace, name: str) -> Path:
    """A file beside the COCO file."""
    return Path(options.out.with_name(name))


def folder_of(options: argparse.Namespace, target: Target) -> Path:
    """The folder for another format."""
    return beside(options, f"{options.out.stem}_{target}")


def write_prelabels(
    options: argparse.Namespace, store: PrelabelStore, done: Done, summary: Summary
) -> None:
    """Write the COCO file and all that was asked beside it.

    Args:
        options: of the command.
        store: reads images.
        done: what was segmented, in order.
        summary: counts along.

    Raises:
        UserError: an image is gone, or a format cannot hold the objects.
    """
    names = category_names(summary.found.categories)
    rows: list[ReviewRow] = []
    older = {file.name for file in options.cutouts.iterdir()} if options.cutouts else set[str]()
    with ExitStack() as stack:
        coco = CocoStream(
            stack.enter_context(stack.enter_context(replacing_file(options.out)).open("wb")),
            {"description": f"samtune {version('samtune')} prelabel", **summary.about},
            options.segmentation,
            options.tolerance,
        )
        writers: list[Writer] = [
            WRITERS[target](stack.enter_context(replacing_folder(folder_of(options, target))))
            for target in options.to
        ]
        for image, place in tqdm(done, desc="write", unit="image", disable=None):
            found = read_result(place)
            summary.add(found)
            labelled = finish(image.name, image.image_id, found, options.no_overlap)
            coco.add(labelled)
            rows += _rows(labelled, names, summary.accept_from)
            if options.cutouts or writers:
                older -= {*_write_images(options, store, image, labelled, names, writers)}
        coco.finish(summary.found.categories)
        for writer in writers:
            writer.finish()
    rows.sort(key=lambda row: row.order)
    summary.count(rows)
    summary.num_older_cutouts = len(older)
    write_text(beside(options, "review.csv"), review_csv(rows))
    rejected = [asdict(each) for each in summary.rejected]
    write_json(beside(options, "rejected.json"), {"detections": rejected, "images": summary.failed})
    pictures = _pictures(options, store, done, rows[: options.show])
    page = beside(options, "review.html")
    write_review_page(page, summary.headline, summary.notes, rows, pictures)


def _rows(
    labelled: LabelledImage, names: dict[int, str], accept_from: float | None
) -> Iterator[ReviewRow]:
    for label, mask in labelled.objects:
        category = names[label.category]
        yield review_row(labelled.name, label, mask.area, category, accept_from)


def _write_images(
    options: argparse.Namespace, store: PrelabelStore, image: PlannedImage,
    labelled: LabelledImage, names: dict[int, str], writers: list[Writer],
) -> list[str]:  # fmt: skip
    """What needs the pixels: cut-outs, whose names are returned, and formats with images."""
    pixels = store.read_image(image.path)
    if writers:
        sample = labelled.to_sample(pixels, names)
        for writer in writers:
            writer.add("train", Record(sample.image_id, image.path), sample, image.path)
    if not options.cutouts:
        return []
    return write_cutouts(options.cutouts, labelled, pixels, names, options.margin)


def _pictures(
    options: argparse.Namespace, store: PrelabelStore, done: Done, rows: list[ReviewRow]
) -> list[ReviewPicture]:
    """Pictures of the rows in their order; each image is read once."""
    wanted = {(row.image, row.object): row for row in rows}
    images = {row.image for row in rows}
    pictures: dict[tuple[str, int], ReviewPicture] = {}
    for image, place in done:
        if image.name not in images:
            continue
        pixels = store.read_image(image.path)
        labelled = finish(image.name, image.image_id, read_result(place), options.no_overlap)
        for label, mask in labelled.objects:
            key = (image.name, label.number)
            if key in wanted:
                pictures[key] = draw_object(
                    wanted[key], pixels, label.prompt, mask.whole(labelled.hw)
                )
    return [pictures[key] for key in wanted]

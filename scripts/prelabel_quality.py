"""How good pre-labels are, and whether the queue for review shows the bad ones first.

    python scripts/prelabel_quality.py MODEL --data.path FOLDER --out FOLDER [--noise 0.08] [any --data]

Boxes are made of the objects of a split, each side moved by Gaussian noise (a share of the box's width
and height), and given to `samtune prelabel`; its masks are then measured against the objects.
"""

import csv
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from samtune.commands.flags import parse
from samtune.commands.help import help_text
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import Source
from samtune.files import write_json, write_text
from samtune.masks import mask_to_rle, rle_to_mask
from samtune.parsing import read_json
from samtune.prompts.seeding import object_rng
from samtune.tasks.opening import open_data
from samtune.tasks.prelabel import prelabel
from samtune.tasks.settings import DataLike


def write_boxes(source: Source, folder: Path, noise: float, min_area: int) -> int:
    """Write images, noisy boxes and, by number of the box, true masks; returns how many images."""
    lines, truths = ["file,x0,y0,x1,y1"], []
    for index, record in enumerate(source.records):
        sample = source.read(index)
        name = f"{sample.image_id.replace('/', '_')}{record.path.suffix}"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(record.path, folder / "images" / name)
        for place in find_objects(sample.labels, min_area):
            x, y = place.columns, place.rows
            box = np.array([x.start, y.start, x.stop, y.stop], np.float64)
            rng = object_rng("prelabel", sample.image_id, place.object_id)
            box += rng.normal(0, noise, 4) * np.tile(box[2:] - box[:2], 2)
            lines.append(",".join([name, *(f"{value:.3f}" for value in box)]))
            truths.append(mask_to_rle(object_mask(sample.labels, place)))
    write_text(folder / "boxes.csv", "\n".join(lines) + "\n")
    write_json(folder / "truths.json", truths)
    return len(source.records)


def measure(folder: Path) -> str:
    """mIoU, how good what was accepted is, and how many of the worst tenth come first."""
    with (folder / "review.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {a["id"]: a["segmentation"] for a in read_json(folder / "coco.json")["annotations"]}
    truths = read_json(folder / "truths.json")
    ious = np.zeros(len(rows))
    for rank, number in enumerate(int(row["object"]) for row in rows):
        if number in found:
            mask, truth = rle_to_mask(found[number]), rle_to_mask(truths[number - 1])
            ious[rank] = (mask & truth).sum() / (mask | truth).sum()
    tenth = max(1, round(len(rows) / 10))
    worst = np.argsort(ious, kind="stable")[:tenth]
    scores = np.array([float(row["score"]) for row in rows])
    by_score = np.argsort(np.argsort(scores, kind="stable"))
    accepted = np.array([row["decision"] == "accept" for row in rows])
    told = [
        f"{len(rows)} boxes: mIoU {ious.mean():.3f}",
        f"of the worst tenth {(worst < 2 * tenth).mean():.0%} are in the first fifth of the queue "
        f"(sorted by score alone {(by_score[worst] < 2 * tenth).mean():.0%}, by chance 20%)",
    ]
    if accepted.any():
        told.append(
            f"{accepted.mean():.0%} accepted, of which {(ious[accepted] >= 0.8).mean():.1%} have an "
            "IoU of 0.8 or more"
        )
    return "\n".join(told)


def main(
    model: str, *, out: str | Path, data: DataLike = None, split: str = "test",
    noise: float = 0.08,
) -> int:  # fmt: skip
    """Write boxes with noise, segment them, and print how good the masks and the queue are.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        out: a folder that is not there yet.
        data: folder or file, or settings of the data.
        split: whose images.
        noise: of a box's sides, as a share of them.
    """
    opened, folder = open_data(None, data=data), Path(out)
    num_images = write_boxes(opened.whole_source(split), folder, noise, opened.min_area)
    start = time.perf_counter()
    prelabel(
        model, [folder / "images"], boxes=folder / "boxes.csv", out=folder / "coco.json",
        segmentation="rle",
    )  # fmt: skip
    print(f"{(time.perf_counter() - start) / num_images:.2f} s an image")
    print(measure(folder))
    return 0


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(
            help_text(main, "prelabel_quality", {}, True).replace(
                "samtune prelabel_quality", "scripts/prelabel_quality.py"
            )
        )
    else:
        sys.exit(main(**parse(main, "prelabel_quality", sys.argv[1:], {})))

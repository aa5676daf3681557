"""What the same prompts give without any network: the floor that a base model has to beat.

    python scripts/trivial_baselines.py --data.path FOLDER [--split test] [any --data setting]

From an exact box: the box filled, the ellipse in it, Otsu's threshold inside it. From the centre
point: a flood fill over similar grey, a random walker. What has a free number (a tolerance) is shown
with the one that does best on these very objects, which flatters it.
"""

import functools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.filters import threshold_otsu
from skimage.segmentation import flood, random_walker
from tqdm import tqdm

from samtune.commands.flags import parse
from samtune.commands.help import help_text
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import Source
from samtune.evaluation.metrics.overlap import iou_and_dice
from samtune.prompts.sampling import centre_point, object_box
from samtune.prompts.seeding import object_rng
from samtune.tasks.opening import open_data
from samtune.tasks.settings import DataLike
from samtune.types import FloatArray, MaskArray

Answer = Callable[[FloatArray, FloatArray], MaskArray]
TOLERANCES = (0.05, 0.1, 0.2)
# The walker solves a linear system for each object: it sees the picture at this side at most, and
# at most so many objects an image.
WALKER_SIDE, WALKER_OBJECTS = 128, 8
WALKER_BETA = 130


def filled_box(grey: FloatArray, box: FloatArray) -> MaskArray:
    mask = np.zeros(grey.shape, bool)
    x0, y0, x1, y1 = box.astype(int)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def ellipse(grey: FloatArray, box: FloatArray) -> MaskArray:
    y, x = np.ogrid[: grey.shape[0], : grey.shape[1]]
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2] + 1) / 2
    distance = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2
    return np.asarray(distance <= 1)


def otsu_in_box(grey: FloatArray, box: FloatArray) -> MaskArray:
    """The side of Otsu's threshold that holds less of the box's edge."""
    x0, y0, x1, y1 = box.astype(int)
    inside = grey[y0 : y1 + 1, x0 : x1 + 1]
    if np.ptp(inside) == 0:
        return filled_box(grey, box)
    bright = inside > threshold_otsu(inside)
    edge = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    mask = np.zeros(grey.shape, bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = bright if edge.mean() < 0.5 else ~bright
    return mask


def flood_fill(grey: FloatArray, point: FloatArray, tolerance: float) -> MaskArray:
    seed = (int(point[1]), int(point[0]))
    reach = tolerance * max(1.0, float(np.subtract(*np.percentile(grey, (99, 1)))))
    return np.asarray(flood(grey, seed, tolerance=reach))


def walker(grey: FloatArray, point: FloatArray) -> MaskArray:
    """The point against the picture's border."""
    scale = min(1.0, WALKER_SIDE / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    marks = np.zeros(small.shape, np.int32)
    marks[[0, -1]] = marks[:, [0, -1]] = 2
    row, column = int((point[1] + 0.5) * scale), int((point[0] + 0.5) * scale)
    marks[min(row, small.shape[0] - 1), min(column, small.shape[1] - 1)] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = random_walker(small, marks, beta=WALKER_BETA, mode="cg_j")
    found = np.asarray(labels == 1, np.uint8)
    return np.asarray(cv2.resize(found, grey.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)


FROM_BOX: dict[str, Answer] = {
    "box filled": filled_box,
    "ellipse in the box": ellipse,
    "Otsu in the box": otsu_in_box,
}
FROM_POINT: dict[str, Answer] = {
    f"flood fill ({tolerance})": functools.partial(flood_fill, tolerance=tolerance)
    for tolerance in TOLERANCES
}


def measure(source: Source, min_area: int, num_images: int) -> dict[str, list[float]]:
    """IoU by method, lists over all objects."""
    scores: dict[str, list[float]] = {}
    for index in tqdm(range(min(len(source), num_images or len(source))), disable=None):
        sample = source.read(index)
        grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        places = find_objects(sample.labels, min_area)
        rng = object_rng("walker", sample.image_id)
        walked = set(rng.permutation(len(places))[:WALKER_OBJECTS].tolist())
        for number, place in enumerate(places):
            truth = object_mask(sample.labels, place)
            box, centre = (
                object_box(truth, "exact", rng),
                np.asarray(centre_point(truth), np.float32),
            )
            answers = {name: method(grey, box) for name, method in FROM_BOX.items()}
            answers |= {name: method(grey, centre) for name, method in FROM_POINT.items()}
            if number in walked:
                answers["random walker"] = walker(grey, centre)
            for name, mask in answers.items():
                scores.setdefault(name, []).append(iou(mask, truth))
    return scores


def iou(mask: MaskArray, truth: MaskArray) -> float:
    return float(iou_and_dice(torch.from_numpy(mask)[None], torch.from_numpy(truth)[None])[0])


def table(scores: dict[str, list[float]]) -> str:
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    best = max((name for name in means if name.startswith("flood")), key=means.__getitem__)
    rows = [*FROM_BOX, best, "random walker"]
    lines = ["| prompt | answer | mIoU | objects |", "|---|---|---|---|"]
    for name in rows:
        prompt = "box" if name in FROM_BOX else "point"
        lines.append(f"| {prompt} | {name} | {means[name]:.3f} | {len(scores[name])} |")
    return "\n".join(lines)


def main(
    data: DataLike = None, *, config: str | Path | None = None, split: str = "test",
    max_images: int = 0,
) -> int:  # fmt: skip
    """Print the table.

    Args:
        data: folder or file, or settings of the data.
        config: a fit config whose data section to use.
        split: whose images.
        max_images: images at most; 0 for all.
    """
    opened = open_data(None, config, data)
    print(table(measure(opened.source(split), opened.min_area, max_images)))
    return 0


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(
            help_text(main, "trivial_baselines", {}, True).replace(
                "samtune trivial_baselines", "scripts/trivial_baselines.py"
            )
        )
    else:
        sys.exit(main(**parse(main, "trivial_baselines", sys.argv[1:], {})))

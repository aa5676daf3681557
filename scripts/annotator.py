"""The loop of the page without hands: what the order of its queue is worth, in clicks and images.

    python scripts/annotator.py --data.path FOLDER --out results.jsonl --seeds 0 1 2 [any --data]

Somebody who knows the truth goes through images of the training split, as `samtune open nano` shows
them: objects of each get a click, then corrections by the rule of the evaluation (where the mask is
wrong), until the mask is good enough; then it is accepted. Where six clicks are not enough it is drawn
by hand, which counts as ten more. After some images `samtune loop` tunes a round. What is used from
then on is measured on images of the test split, and so is what the round has trained, whether it is
used or not. The next image is the most doubtful one (`queue`) or any (`random`). Each measurement is a
line of the file; what is there is not done again, and the table at the end is of all lines.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from samtune.commands.flags import parse
from samtune.commands.help import help_text
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.files import make_folder, write_text
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.models.backend import Sam
from samtune.page.answering import Answering
from samtune.page.images import open_images
from samtune.page.rounds import Round
from samtune.page.session import Session
from samtune.page.truth import iou_with
from samtune.prompts.correction import correction_click
from samtune.prompts.seeding import object_rng
from samtune.tasks.loop import loop
from samtune.tasks.opening import open_data, open_model
from samtune.tasks.settings import DataLike
from samtune.types import MaskArray, Prompt, Sample

BASE = "nano"
ORDERS = ("queue", "random")
# A mask is accepted from this IoU on; after so many clicks it is drawn by hand, as a polygon's corners
GOOD, MOST_CLICKS, BY_HAND = 0.8, 6, 10
LEAST_AREA = 30


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        pool, test: images to choose from, and to measure on.
        images: that are labelled in all.
        every: so many of them a round of tuning begins.
        objects: of an image that are labelled or asked, at most.
        budget: of a round.
    """

    pool: int
    test: int
    images: int
    every: int
    objects: int
    budget: str


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        name: of the data.
        order, seed: of the labelling.
        images, clicks, by_hand: that were labelled, made, and drawn until then.
        is_used: the round's model is used.
        used: mean IoU of boxes and of first clicks on the test images, of what is used.
        trained: the same of what the round has trained.
        is_last: the labelling is over.
    """

    name: str
    order: str
    seed: int
    images: int
    clicks: int
    by_hand: int
    is_used: bool
    used: tuple[float, float]
    trained: tuple[float, float]
    is_last: bool


def truths_of(sample: Sample, most: int, seed: int) -> list[MaskArray]:
    """Masks (H, W) of objects of an image, at most so many of them, drawn by the seed."""
    places = find_objects(sample.labels, LEAST_AREA)
    rng = object_rng(seed, sample.image_id, 0, "objects")
    drawn = sorted(rng.permutation(len(places))[:most].tolist())
    return [object_mask(sample.labels, places[number]) for number in drawn]


def label_object(
    session: Session, index: int, truth: MaskArray, rng: np.random.Generator
) -> tuple[int, bool]:
    """Click until the mask is good enough, or draw it.

    Returns:
        How many clicks that is, and whether the mask was drawn.
    """
    mask = np.zeros_like(truth)
    for number in range(1, MOST_CLICKS + 1):
        (x, y), label = correction_click(truth, mask, "centre", rng)
        session.click(index, x, y, label == 1)
        answers = session.answer(index)
        if answers is None:  # only another hand could have changed the prompt
            raise RuntimeError("the prompt was overtaken")
        offer = answers.offers[session.answering.names[-1]]
        # a person takes the best of the candidates that are shown
        ious = [iou_with(each.mask, truth) for each in offer.candidates]
        best = int(np.argmax(ious))
        mask = offer.candidates[best].mask.whole((truth.shape[0], truth.shape[1]))
        if ious[best] >= GOOD:
            session.accept(index, candidate=best)
            return number, False
    session.mend(index, PlacedMask.of(truth))
    session.accept(index)
    return MOST_CLICKS + BY_HAND, True


def measured(sam: Sam, samples: Sequence[Sample], most: int) -> tuple[float, float]:
    """Mean IoU of boxes, and of first clicks, on objects of images."""
    answering = Answering(sam, sam.is_adapted, tile=sam.reading.tile, with_base=False)
    ious = []
    for index, sample in enumerate(samples):
        for truth in truths_of(sample, most, 0):
            (x, y), _ = correction_click(
                truth, np.zeros_like(truth), "centre", np.random.default_rng(0)
            )
            click = Prompt(np.array([[x, y]], np.float32), np.ones(1, np.int64))
            box = Prompt(box_xyxy=PlacedMask.of(truth).box)
            offers = [
                answering.ask(index, sample.image, each)[answering.names[-1]]
                for each in (box, click)
            ]
            ious.append([iou_with(each.candidates[each.best].mask, truth) for each in offers])
    boxes, clicks = np.mean(ious, axis=0).tolist()
    return boxes, clicks


def next_image(session: Session, order: str, rng: np.random.Generator) -> int:
    """The image that is labelled next."""
    waiting = [n for n in session.queue.order() if session.works[n].status != "done"]
    if order == "random":
        return int(rng.choice(sorted(waiting)))
    session.current = waiting[0]
    while session.work_ahead():
        pass
    waiting = [n for n in session.queue.order() if session.works[n].status != "done"]
    return waiting[0]


def annotate(
    samples: Sequence[Sample], test: Sequence[Sample], order: str, seed: int, name: str, plan: Plan,
    folder: Path,
) -> Iterator[Point]:  # fmt: skip
    """Label and tune; a measurement at the beginning and after each round."""
    make_folder(folder / "pictures")
    for number, sample in enumerate(samples):
        Image.fromarray(sample.image).save(folder / "pictures" / f"{number:03d}.png")
    sam, out = open_model(BASE), folder / "kept"
    session = Session(sam, False, open_images([folder / "pictures"], sam.reading), out)
    rng, clicks, by_hand = np.random.default_rng(seed), 0, 0
    used = measured(sam, test, plan.objects)
    yield Point(name, order, seed, 0, 0, 0, False, used, used, False)
    for count in range(1, plan.images + 1):
        index = next_image(session, order, rng)
        sample = samples[int(session.works[index].image_id)]
        for truth in truths_of(sample, plan.objects, seed):
            number, is_drawn = label_object(session, index, truth, rng)
            clicks, by_hand = clicks + number, by_hand + is_drawn
        session.set_status(index, "done")
        if count % plan.every == 0:
            made = _round(out, plan.budget, seed)
            trained = used if made is None else measured(open_model(made.run), test, plan.objects)
            if made is not None and made.is_used:
                session.set_model(open_model(made.run), True)
                used = trained
            yield Point(
                name, order, seed, count, clicks, by_hand, made is not None and made.is_used, used,
                trained, count + plan.every > plan.images,
            )  # fmt: skip


def _round(out: Path, budget: str, seed: int) -> Round | None:
    """Tune; `None` where too little was accepted yet."""
    try:
        return loop(out, model=BASE, budget=budget, seed=seed).rounds[-1]
    except UserError as error:
        print(f"no round: {error}", file=sys.stderr)
        return None


def table(points: Sequence[Point], gains: Sequence[float]) -> str:
    """What each order needs until a round trains what is so much better than the base at clicks."""
    lines = [
        "| images of | mIoU of clicks | order | reached | clicks | images |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(each.name for each in points):
        base = np.mean([p.used[1] for p in points if p.name == name and not p.images])
        for gain in gains:
            for order in ORDERS:
                runs = _runs(points, name, order)
                hits = [next((p for p in r if p.trained[1] >= base + gain), None) for r in runs]
                lines.append(f"| {name} | {base:.3f} + {gain:g} | {order} | {_needed(hits)} |")
    return "\n".join(lines)


def _needed(hits: Sequence[Point | None]) -> str:
    """How often, and by how many clicks and images where it was."""
    there = [each for each in hits if each is not None]
    if not there:
        return f"0 of {len(hits)} |  | "
    clicks, images = np.mean([(each.clicks, each.images) for each in there], axis=0)
    return f"{len(there)} of {len(hits)} | {clicks:.0f} | {images:.1f}"


def curves(points: Sequence[Point]) -> str:
    """Means over seeds after each round, with standard deviations."""
    lines = [
        "| images of | order | images | seeds | clicks | by hand | box | click | used | rounds used |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(each.name for each in points):
        for order in ORDERS:
            for at in zip(*_runs(points, name, order), strict=True):
                trained, used = (np.array([getattr(p, n) for p in at]) for n in ("trained", "used"))
                cells = [
                    name, order, at[0].images, len(at), f"{np.mean([p.clicks for p in at]):.0f}",
                    f"{np.mean([p.by_hand for p in at]):.1f}",
                    *(f"{column.mean():.3f} ± {column.std():.3f}" for column in trained.T),
                    f"{used[:, 0].mean():.3f} / {used[:, 1].mean():.3f}",
                    sum(p.is_used for p in at),
                ]  # fmt: skip
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _runs(points: Sequence[Point], name: str, order: str) -> list[list[Point]]:
    """Points of each labelling that is over."""
    seeds = {p.seed for p in points if (p.name, p.order, p.is_last) == (name, order, True)}
    return [
        [p for p in points if (p.name, p.order, p.seed) == (name, order, seed)]
        for seed in sorted(seeds)
    ]


def read_points(file: Path) -> list[Point]:
    """What was measured before; nothing of labellings that were interrupted."""
    if not file.exists():
        return []
    points = [msgspec.json.decode(line, type=Point) for line in file.read_text().splitlines()]
    done = {(p.name, p.order, p.seed) for p in points if p.is_last}
    return [each for each in points if (each.name, each.order, each.seed) in done]


def _drawn(source: Source, number: int, seed: int) -> list[Sample]:
    """Images with objects, drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(source.records)).tolist()
    samples = (source.read(index) for index in order)
    with_objects = (each for each in samples if find_objects(each.labels, LEAST_AREA))
    return [each for _, each in zip(range(number), with_objects, strict=False)]


def main(
    *, out: str | Path, data: DataLike = None, seeds: Sequence[int] = (0,), pool: int = 24,
    test: int = 12, images: int = 8, every: int = 4, objects: int = 10, budget: str = "40 steps",
    gains: Sequence[float] = (0.01, 0.03, 0.05),
) -> None:  # fmt: skip
    """Measure both orders.

    Args:
        out: file for the measurements, a line each.
        data: data set with splits; `--data.path FOLDER`.
        seeds: of the images to choose from, their objects and the random order.
        pool: images to choose from.
        test: images that are measured on.
        images: that are labelled.
        every: so many images a round of tuning begins.
        objects: of an image, at most.
        budget: of a round.
        gains: over the base's mIoU, for the table.
    """
    file, plan = Path(out), Plan(pool, test, images, every, objects, budget)
    points = read_points(file)
    source = open_data(None, data=data)
    name, tested = source.path.name, _drawn(source.tiles("test"), test, 0)
    for seed in seeds:
        for order in ORDERS:
            if any((p.name, p.order, p.seed) == (name, order, seed) for p in points):
                continue
            samples = _drawn(source.tiles("train"), pool, seed)
            folder = Path(tempfile.mkdtemp(prefix="annotator-"))
            try:
                for point in annotate(samples, tested, order, seed, name, plan, folder):
                    points.append(point)
                    write_text(file, "".join(json.dumps(asdict(p)) + "\n" for p in points))
                    print(point, flush=True)
            finally:
                shutil.rmtree(folder)
    print(curves(points), table(points, gains), sep="\n\n")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        text = help_text(main, "annotator", {}, True)
        print(text.replace("samtune annotator", "scripts/annotator.py"))
    else:
        main(**parse(main, "annotator", sys.argv[1:], {}))

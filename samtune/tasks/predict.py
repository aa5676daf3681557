"""`predict`: segment images with points and boxes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samtune.errors import UserError
from samtune.files import replacing_file, require_new, unfinished
from samtune.inference.settings import Focus
from samtune.ranges import Count
from samtune.reading import Reading
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run
from samtune.tasks.settings import Layer, reading_of, require_reading
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.coco import CocoFile
    from samtune.inference.outputs import PredictedObject
    from samtune.models.backend import Sam
    from samtune.prompts.prompt_files import PromptedImage
    from samtune.types import ImageArray

log = logging.getLogger(__name__)
Kind = Literal["masks", "coco", "cutouts", "overlays"]
COCO_FILE = "predictions.json"


@dataclass(frozen=True)
class Predictions(Result):
    """What was segmented.

    Attributes:
        folder: with the files.
        objects: a row each: image, object, name, score (the IoU that is expected), area, box.
        num_images: in which they are.
    """

    folder: Path
    objects: Rows
    num_images: int

    @property
    def headline(self) -> str:
        found = [row for row in self.objects if row["area"]]
        told = f"{counted(len(found), 'mask')} in {counted(self.num_images, 'image')}"
        if found:
            scores = sorted(f"{row['score']:.2f}" for row in found)
            ends = dict.fromkeys((scores[0], scores[-1]))
            told += f", rated {' to '.join(ends)} (the IoU that the model expects)"
        if empty := len(self.objects) - len(found):
            told += f"; {counted(empty, 'prompt')} without a mask"
        return f"{told}: {self.folder}"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {"objects": self.objects}


@task
def predict(
    model: str | Path | Run,
    images: Sequence[str | Path] = (),
    *,
    points: Sequence[Sequence[float]] = (),
    boxes: Sequence[Sequence[float]] = (),
    prompts: str | Path | None = None,
    out: str | Path = "predictions",
    save: Sequence[Kind] = ("masks", "coco", "overlays"),
    focus: Focus = "auto",
    reading: Layer | Reading | None = None,
    overwrite: bool = False,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> Predictions:
    """Segment images with points and boxes: the mask that the model itself rates best.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        images: image files, or folders of them.
        points: X,Y inside the object, X,Y,0 outside it; all of them mean one object.
        boxes: X0,Y0,X1,Y1; each makes an object of its own.
        prompts: a file of prompts instead: JSON or COCO (`samtune/prompts/prompt_files.py` describes
            both).
        out: folder for the files.
        save: what is written: masks, coco, cutouts, overlays.
        focus: `auto` looks at small objects in a window around them, which costs an encoding each
            time; `off` never does.
        reading: of the pixels, where it is to be otherwise than in training.
        overwrite: replace files of the folder.
        checkpoint: official weights for a registry name.
        image_size: side of the square input of a base model; 0 takes its own.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: there are no images or no prompts, or a prompt lies outside its image.
    """
    from samtune.bars import bar
    from samtune.coco import CocoFile
    from samtune.images.naming import distinct_stems, require_apart
    from samtune.images.pixels import image_hw
    from samtune.inference.outputs import files_of, write_image_outputs

    folder, asked = Path(out), [Path(image) for image in images]
    named = _collect(asked, points, boxes, prompts, folder)
    require_new(folder, overwrite)
    require_reading(reading, ("bands", "stretch", "value_range", "window", "tile"))
    for each in named.values():
        for prompt in each.prompts:
            prompt.require_inside(image_hw(each.path), str(each.path))
    sam = open_model(model, checkpoint, image_size, device)
    seen = reading_of(sam, reading)
    stems = distinct_stems({each.path: name for name, each in named.items()})
    require_apart(
        [
            (file, each.path)
            for each in named.values()
            for file in files_of(folder, stems[each.path], len(each.prompts), list(save))
        ],
        stems,
    )
    objects: Rows = []
    with ExitStack() as stack:
        stack.enter_context(unfinished(folder))
        coco = None
        if "coco" in save:
            temporary = stack.enter_context(replacing_file(folder / COCO_FILE))
            coco = CocoFile(stack.enter_context(temporary.open("wb")))
        for name, prompted in bar(list(named.items()), "predict", "image"):
            image = seen.read(prompted.path)
            found = _named(sam, image, predict_objects(sam, image, prompted, seen.tile, focus))
            write_image_outputs(folder, stems[prompted.path], image, found, list(save))
            if coco is not None:
                _add(coco, name, image, found)
            objects += [_row(name, place, each) for place, each in enumerate(found, start=1)]
        if coco is not None:
            coco.finish()
    return Predictions(folder, objects, len(named))


def _add(coco: CocoFile, name: str, image: ImageArray, found: list[PredictedObject]) -> None:
    number = coco.add_image(name, image.shape[:2])
    for each in found:
        category = coco.category(each.name)
        coco.add_mask(number, category, each.mask, score=round(each.score, 6), **_class_of(each))


def _row(image: str, number: int, found: PredictedObject) -> dict[str, object]:
    from samtune.masks import mask_to_box

    box = mask_to_box(found.mask)
    return {
        "image": image, "object": number, "name": found.name, "score": found.score,
        "area": int(found.mask.sum()), "box": None if box is None else box.tolist(),
        **_class_of(found),
    }  # fmt: skip


def _class_of(found: PredictedObject) -> dict[str, object]:
    """What is told of an object's class, where there is a head for classes."""
    if not found.class_name:
        return {}
    return {"class": found.class_name, "class_score": round(found.class_score, 6)}


def _named(sam: Sam, image: ImageArray, found: list[PredictedObject]) -> list[PredictedObject]:
    """The same with the likeliest class of each mask, where the model has a head for classes."""
    if "classes" not in sam.heads:
        return found
    from samtune.inference.naming import MaskNamer

    namer = MaskNamer(sam)
    told = namer.name(image, [each.mask for each in found])
    return [
        replace(each, class_name=namer.classes[int(row.argmax())], class_score=float(row.max()))
        for each, row in zip(found, told, strict=True)
    ]


def predict_objects(
    sam: Sam, image: ImageArray, prompted: PromptedImage, tile: int, focus: Focus
) -> list[PredictedObject]:
    """Segment each prompted object of an image, in the view that fits it.

    Raises:
        UserError: the model answers with NaN.
    """
    from samtune.inference.outputs import PredictedObject
    from samtune.inference.views import ImageViews, ask_in_views

    views = ImageViews(image, sam, tile, focus == "auto")
    found: dict[int, PredictedObject] = {}
    for viewed in ask_in_views(sam, views, prompted.prompts):
        answer, masks = viewed.answer, viewed.masks(sam)
        for place, mask, score in zip(answer.indices, masks, answer.scores, strict=True):
            name, prompt = prompted.names[place], prompted.prompts[place]
            found[place] = PredictedObject(name, prompt, mask, float(score))
    return [found[place] for place in range(len(prompted.prompts))]


def _collect(
    images: list[Path], points: Sequence[Sequence[float]], boxes: Sequence[Sequence[float]],
    prompts: str | Path | None, out: Path,
) -> dict[str, PromptedImage]:  # fmt: skip
    """Images with their prompts by name, from the arguments or from a file.

    Raises:
        UserError: there are no images or no prompts, or both arguments and a file.
    """
    from samtune.images.naming import distinct_names, list_images
    from samtune.prompts.prompt_files import (
        PromptedImage,
        build_prompt,
        prompt_of_points,
        read_prompts,
    )

    if prompts is not None:
        if points or boxes:
            raise UserError("give prompts as a file, or points and boxes, not both")
        found = read_prompts(Path(prompts), images)
        names = distinct_names([each.path for each in found])
        return {names[each.path]: each for each in found}
    if not points and not boxes:
        raise UserError(
            "there is no prompt: give --points X,Y, --boxes X0,Y0,X1,Y1 or --prompts FILE"
        )
    made = [build_prompt(None, None, list(box), "boxes") for box in boxes]
    if points:
        made.append(prompt_of_points(points, "points"))
    labels = [str(number) for number in range(1, len(made) + 1)]
    named = list_images(images, without=[out])
    if len(named) > 1:
        log.info(
            "NOTE: the same %s asked in each of the %d images; a file has prompts of their own "
            "(--prompts FILE)", "prompt is" if len(made) == 1 else "prompts are", len(named),
        )  # fmt: skip
    return {n: PromptedImage(path, made, labels) for n, path in named.items()}

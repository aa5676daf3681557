"""`samtune predict MODEL IMAGE...`: segment images with points and boxes, from flags or a file."""

import argparse
from pathlib import Path

from tqdm import tqdm

from samtune.commands.options import choose_device, parse_alone, parse_numbers, quieten
from samtune.data.image_io import IMAGE_SUFFIXES
from samtune.errors import UserError
from samtune.inference.image_names import distinct_names, distinct_stems
from samtune.inference.image_reading import read_as_trained
from samtune.inference.outputs import (
    KINDS,
    CocoResults,
    PredictedObject,
    write_image_outputs,
)
from samtune.inference.predictor import SamPredictor
from samtune.inference.prompt_files import PromptedImage, build_prompt, read_prompts
from samtune.models.loading import load_model
from samtune.types import ImageArray, Prompt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune predict", description=__doc__, exit_on_error=False,
        epilog="Several --point make one object; each --box makes one of its own.",
    )  # fmt: skip
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    parser.add_argument("images", nargs="*", type=Path, help="image files, or folders of them")
    parser.add_argument(
        "--point", action="append", default=[], metavar="X,Y[,LABEL]",
        help="pixel of the object; with ,0 one that is not of it",
    )  # fmt: skip
    parser.add_argument("--box", action="append", default=[], metavar="X0,Y0,X1,Y1")
    parser.add_argument("--prompts", type=Path, help="JSON or COCO file of prompts")
    parser.add_argument("--out", type=Path, default=Path("predictions"))
    parser.add_argument(
        "--save", nargs="+", choices=KINDS, default=["masks", "coco", "overlays"], metavar="KIND",
        help=f"any of {', '.join(KINDS)} (default: masks coco overlays)",
    )  # fmt: skip
    parser.add_argument(
        "--bands", type=int, nargs="+", help="channel numbers (default: as trained)"
    )
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--image-size", type=int, default=0, help="of a base model; 0: its own")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, auto")
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options = parse_alone(_parser(), arguments)
    images = collect_prompts(options)
    device = choose_device(options.device)
    sam = load_model(options.model, options.checkpoint, options.image_size or None, device)
    predictor, coco = SamPredictor(sam), CocoResults()
    count = 0
    names = distinct_names([image.path for image in images])
    stems = distinct_stems(names)
    for prompted in tqdm(images, desc="predict", unit="image", disable=None):
        image = read_as_trained(sam, prompted.path, options.bands)
        objects = predict_objects(predictor, image, prompted)
        write_image_outputs(options.out, stems[prompted.path], image, objects, options.save)
        coco.add(names[prompted.path], image, objects)
        count += len(objects)
    if "coco" in options.save:
        coco.write(options.out / "predictions.json")
    print(f"{count} objects in {len(images)} images: {options.out}")


def predict_objects(
    predictor: SamPredictor, image: ImageArray, prompted: PromptedImage
) -> list[PredictedObject]:
    """Segment each prompted object: the mask that the model thinks best.

    Raises:
        UserError: a prompt lies outside the image.
    """
    height, width = image.shape[:2]
    predictor.set_image(image)
    objects = []
    for name, prompt in zip(prompted.names, prompted.prompts, strict=True):
        _require_inside(prompt, width, height, prompted.path)
        is_multimask = predictor.model.with_multimask and prompt.is_single
        masks, scores, _ = predictor.predict(
            prompt.point_coords, prompt.point_labels, prompt.box_xyxy,
            multimask_output=is_multimask,
        )  # fmt: skip
        best = int(scores.argmax())
        objects.append(PredictedObject(name, prompt, masks[best], float(scores[best])))
    return objects


def _require_inside(prompt: Prompt, width: int, height: int, path: Path) -> None:
    corners = [] if prompt.box_xyxy is None else prompt.box_xyxy.reshape(2, 2).tolist()
    points = [] if prompt.point_coords is None else prompt.point_coords.tolist()
    for x, y in [*corners, *points]:
        if not (-0.5 <= x <= width and -0.5 <= y <= height):
            raise UserError(f"the prompt {x:g},{y:g} lies outside {path} ({width}x{height} pixels)")


def collect_prompts(options: argparse.Namespace) -> list[PromptedImage]:
    """Images with their prompts, from the flags or from a file.

    Raises:
        UserError: there are no images or no prompts, or both flags and a file.
    """
    given = bool(options.point or options.box)
    if options.prompts is not None:
        if given:
            raise UserError("give --prompts FILE, or --point and --box, not both")
        return read_prompts(options.prompts, options.images)
    if not given:
        raise UserError("there is no prompt: give --point X,Y, --box X0,Y0,X1,Y1 or --prompts FILE")
    prompts = [
        build_prompt(None, None, parse_numbers(box, (4,), "--box"), f"--box {box}")
        for box in options.box
    ]
    if options.point:
        points = [parse_numbers(point, (2, 3), "--point") for point in options.point]
        labels = [int(point[2]) if len(point) == 3 else 1 for point in points]
        prompts.append(build_prompt([p[:2] for p in points], labels, None, "--point"))
    names = [str(number) for number in range(1, len(prompts) + 1)]
    return [PromptedImage(path, prompts, names) for path in find_images(options.images)]


def find_images(paths: list[Path]) -> list[Path]:
    """Image files among `paths`, folders opened.

    Raises:
        UserError: a path does not exist, or there are no images.
    """
    images: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no image {path}")
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        images += [
            file for file in files if not path.is_dir() or file.suffix.lower() in IMAGE_SUFFIXES
        ]
    if not images:
        raise UserError("there are no images: name files or folders")
    return images

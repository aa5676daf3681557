"""What is tried: how valid input is made, and how it is read. A new reader is a line here."""

import math
import os
import shlex
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from samtune.errors import UserError, first_line
from tests.fuzzing import files
from tests.fuzzing.commands import arguments_of, call
from tests.fuzzing.damage import damage
from tests.fuzzing.formats import FORMATS, LAYOUTS, read_all


@dataclass(frozen=True)
class Subject:
    """Something that reads.

    Attributes:
        build: writes valid input into an empty folder.
        read: reads all of a folder; what it gives must be finite numbers.
    """

    build: object
    read: object

    def try_(self, folder, rng):
        """Damage a folder and read it.

        Returns:
            What is wrong with what came of it, and what was done to the folder; both may be empty.
        """
        done = damage(folder, rng)
        return told_of(lambda: self.read(folder)), done


class Commands(Subject):
    """Not files are damaged, but the words of a command line."""

    def try_(self, folder, rng):
        words = arguments_of(rng)
        return told_of(lambda: self.read(folder, words)), shlex.join(["samtune", *words])


def told_of(read):
    """What is wrong with what comes of reading; empty if nothing is."""
    try:
        require_finite(read())
    except UserError:
        return ""
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/samtune/" in f.filename]
        last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        return f"{type(error).__name__} at {place}: {first_line(error)[:200]}"
    return ""


def each_of(*readers):
    """Read every file of a folder by each reader; that one is refused does not save the others."""

    def read(folder):
        found = []
        for reader in readers:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                with suppress(UserError):
                    found.append(reader(file))
        return found

    return read


def require_finite(value, depth=0):
    """Refuse results among whose numbers one is NaN or infinite."""
    if isinstance(value, float):
        is_good = math.isfinite(value)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        is_good = bool(np.isfinite(value).all())
    elif isinstance(value, torch.Tensor) and value.is_floating_point():
        is_good = bool(torch.isfinite(value).all())
    else:
        is_good = True
    if not is_good:
        raise AssertionError(f"NaN or infinite: {value!r:.200}")
    if depth < 8:
        for part in parts_of(value):
            require_finite(part, depth + 1)


def parts_of(value):
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return []


def read_pictures(folder):
    from samtune.images.labels import read_labels
    from samtune.images.pixels import image_hw, read_image

    stretched = partial(read_image, stretch="auto")
    banded = partial(read_image, bands=[0, 1])
    return each_of(read_image, stretched, banded, read_labels, image_hw)(folder)


def read_prompt_files(folder):
    from samtune.images.naming import list_images
    from samtune.inference.prelabel.detection_text import read_detections
    from samtune.inference.prelabel.plan import plan
    from samtune.inference.volumes.seeds import read_seeds
    from samtune.prompts.prompt_files import read_prompts

    def detections(path):
        found = read_detections(path, None, 0.1)
        images = plan(found, list_images([folder / "a.png"]))
        for image in images:
            image.require_size()
        return found

    def yolo(_):
        return detections(folder / "yolo")

    return each_of(lambda file: read_prompts(file, []), read_seeds, detections, yolo)(folder)


def read_configs(folder):
    from samtune.data.augment.presets import augment, build_augmentation
    from samtune.tasks.fit import gather
    from samtune.tasks.train import plan
    from samtune.types import Sample

    def pipeline(file):
        made = build_augmentation(str(file))
        sample = Sample("a", np.zeros((12, 16, 3), np.uint8), np.ones((1, 12, 16), np.int32))
        return augment(sample, made, np.random.default_rng(0))

    os.chdir(folder)
    return each_of(lambda file: plan(gather(file, {})).data.split_sizes(), pipeline)(folder)


def read_models(folder):
    from samtune.inference.predictor import SamPredictor
    from samtune.models.loading import load_model

    def answer(source):
        predictor = SamPredictor(load_model(source))
        predictor.set_image(np.full((12, 16, 3), 90, np.uint8))
        return predictor.predict(box=np.array(files.BOX))

    found = []
    for source in ("authors.pth", "base", "adapter"):
        with suppress(UserError):
            found.append(answer(folder / source))
    return found


def read_scenes(folder):
    from samtune.data.geo.placing import find_on_scene, to_pixels
    from samtune.data.geo.raster import open_scene, read_window
    from samtune.data.geo.vector import read_polygons
    from samtune.reading import Reading
    from samtune.types import Window

    scene = open_scene(folder / "a.tif", Reading())
    whole = Window(0, 0, scene.height, scene.width)
    shapes = read_polygons(folder / "a.geojson", "class", with_points=True)
    found = find_on_scene(shapes, scene, [whole])
    to_pixels(shapes, np.arange(len(shapes)), scene)
    part = Window(0, 0, min(64, scene.height), min(64, scene.width))
    return read_window(scene, part), found.polygons


def read_stack(folder, image, labels):
    from samtune.data.volumes.labels import read_volume_labels
    from samtune.data.volumes.slices import open_stack
    from samtune.reading import Reading

    stack = open_stack([folder / image], Reading())
    found = read_volume_labels(folder / labels, folder / image)
    return stack.picture(0), stack.ranges, found.layers


def _data_sets():
    """Every layout of every format, as a run reads it."""
    builders = FORMATS | {name: build for name, (_, build) in LAYOUTS.items()}
    return {
        name: Subject(build, partial(read_all, name="auto")) for name, build in builders.items()
    }


def _volume(layout, image, labels):
    return Subject(LAYOUTS[layout][1], partial(read_stack, image=image, labels=labels))


def read_run(folder):
    from samtune.evaluation.learning import read_objects
    from samtune.tasks.opening import open_data
    from samtune.tasks.runs import Run, find_run, recipe_of, seen_in_training

    run = Run(folder)
    readers = (
        lambda: find_run(folder), lambda: run.config, lambda: run.metrics, lambda: run.headline,
        lambda: recipe_of(folder), lambda: read_objects(folder / "evaluation" / "objects.csv"),
        lambda: open_data(folder).split_sizes(),
        lambda: seen_in_training(folder, open_data(folder)),
    )  # fmt: skip
    found = []
    for reader in readers:
        with suppress(UserError):
            found.append(reader())
    return found


SUBJECTS = {
    **_data_sets(),
    "pictures": Subject(files.pictures, read_pictures),
    "prompts": Subject(files.prompts, read_prompt_files),
    "configs": Subject(files.configs, read_configs),
    "models": Subject(files.models, read_models),
    "run": Subject(files.run, read_run),
    "scenes": Subject(files.scenes, read_scenes),
    "dicom": _volume("dicom_series", "images/p", "labels/p.dcm"),
    "nrrd": _volume("itk_volumes", "images/nrrd.nrrd", "labels/nrrd.nrrd"),
    "metaimage": _volume("itk_volumes", "images/mha.mha", "labels/mha.mha"),
    "commands": Commands(files.of_everything, call),
}  # fmt: skip

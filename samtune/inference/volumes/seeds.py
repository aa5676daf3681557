"""Prompts for objects of volumes: from a JSON file, or from the slices of labels.

JSON: a list of objects, each `{"slice": 12, "box": [x0, y0, x1, y1]}` or with `"points": [[x, y], ...]`
and, if some are negative, `"labels": [1, 0, ...]`; box and points may stand together. `"name"` and
`"id"` (the value among the labels, from 1) are optional. All in pixels of the slice as seen.
"""

from pathlib import Path
from typing import Any

import numpy as np

from samtune.data.volumes.labels import Labels
from samtune.data.volumes.slices import slice_of
from samtune.errors import UserError
from samtune.inference.volumes.carrying import Seed
from samtune.masks import mask_to_box
from samtune.parsing import read_json
from samtune.prompts.prompt_files import build_prompt
from samtune.types import Prompt


def read_seeds(file: Path) -> list[Seed]:
    """Read a JSON file of prompts; objects without an id are numbered in their order.

    Raises:
        UserError: the file is malformed, or two objects have one id.
    """
    entries = read_json(file)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{file} holds no prompts: expected a list of objects")
    seeds = [_seed(entry, number, file) for number, entry in enumerate(entries, start=1)]
    ids = [seed.object_id for seed in seeds]
    if doubled := sorted({i for i in ids if ids.count(i) > 1}):
        raise UserError(f"{file}: several objects have the id {doubled[0]}: give each its own")
    return seeds


def _seed(entry: Any, number: int, file: Path) -> Seed:
    where = f"{file}, object {number}"
    if not isinstance(entry, dict) or not _is_whole(entry.get("slice")):
        raise UserError(f"{where}: expected an object with 'slice', a whole number")
    object_id = entry.get("id", number)
    if not _is_whole(object_id) or object_id < 1:
        raise UserError(f"{where}: 'id' is {object_id!r}: give a whole number from 1 up")
    prompt = build_prompt(entry.get("points"), entry.get("labels"), entry.get("box"), where)
    require_object(prompt, where)
    return Seed(object_id, str(entry.get("name", object_id)), entry["slice"], prompt)


def require_object(prompt: Prompt, where: str) -> None:
    """Refuse a prompt that shows no object: a model answers it with nothing, or with anything.

    Args:
        prompt: of one object.
        where: begins the message of an error.

    Raises:
        UserError: the box has no width or height, or there is neither box nor positive point.
    """
    box, labels = prompt.box_xyxy, prompt.point_labels
    if box is not None and not (box[0] < box[2] and box[1] < box[3]):
        raise UserError(
            f"{where}: the box {box.tolist()} has no width or no height: give opposite corners of the "
            "object"
        )
    if box is None and (labels is None or not labels.any()):
        raise UserError(
            f"{where}: there are only points that are not of the object: add a box, or a point on it"
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def seeds_from_labels(labels: Labels, axis: int) -> list[Seed]:
    """The box of each label on the slice where it is largest.

    Args:
        labels: on the voxels of the image.
        axis: that the slices are cut across.

    Raises:
        UserError: there is no label.
    """
    seeds = []
    others = tuple(place for place in range(3) if place != axis)
    for layer in labels.layers:
        for value in np.unique(layer[layer > 0]).tolist():
            mask = layer == value
            number = int(mask.sum(axis=others).argmax())
            box = mask_to_box(slice_of(mask, axis, number))
            name = labels.names.get(value) or str(value)
            seeds.append(Seed(value, name, number, Prompt(box_xyxy=box)))
    if not seeds:
        raise UserError("the labels to take prompts from are empty")
    return sorted(seeds, key=lambda seed: seed.object_id)

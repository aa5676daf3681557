"""The head for instances in tasks: what it finds on training images teaches a sharpener of objects."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from samtune.tasks.heads.instances import calibrate_scores

if TYPE_CHECKING:
    import numpy as np

    from samtune.data.datamodule import SamDataModule
    from samtune.data.source import Source
    from samtune.inference.instances import InstanceFinder
    from samtune.models.backend import Sam
    from samtune.models.sharpening.network import Sharpener
    from samtune.training.sharpening import Answered
    from samtune.types import Sample

# Of the time, for asking training images; of validation images it takes what it takes
_ASKED = 0.3
# Objects of an image that are learned from, and of all images at most (about 60 kB each)
_OBJECTS, _MOST = 16, 3000
# IoU with a true object from which one that was found is taken to be it
_SAME = 0.3
# Steps for each of the head's where there is no limit of time, and at most
_RATIO, _MOST_STEPS = 0.5, 400


def sharpen_objects(
    sam: Sam, data: SamDataModule, held_out: Source, steps: int, seconds: float | None
) -> str:
    """Train what sharpens the head's objects, keep it where validation images gain, and say so.

    Args:
        sam: with the head as it is read; it leaves with the sharpener.
        data: whose training images.
        held_out: validation images.
        steps: of the head's training.
        seconds: for all of it but measuring; `None` for no limit.
    """
    import numpy as np

    from samtune.heads.instances import CALIBRATION
    from samtune.inference.instances import InstanceFinder

    finder = InstanceFinder(sam)
    learned = _learn(finder, data, steps, seconds)
    if learned is None:
        return "objects are not sharpened: the head has found none on training images"
    measured = list(_measured(finder, held_out, learned))
    before, after = (float(np.mean([each[n] for each in measured])) for n in (0, 1))
    told = f"mSA {after:.3f} instead of {before:.3f} on {len(measured)} validation images"
    if not after > before:
        return f"objects are not sharpened: {told}"
    sam.object_sharpener = learned
    calibration, calibrated = calibrate_scores(
        [each[2] for each in measured], [each[3] for each in measured]
    )
    finder.head.changed(**{CALIBRATION: calibration})
    return f"objects are sharpened: {told}; {calibrated}"


def _learn(
    finder: InstanceFinder, data: SamDataModule, steps: int, seconds: float | None
) -> Sharpener | None:
    import torch

    from samtune.models.sharpening.network import Sharpener
    from samtune.models.sharpening.saving import shipped_sharpener
    from samtune.tasks.opening import num_processes_of
    from samtune.training.sharpening import get_used_to, over_steps, over_time, train_sharpener

    began = time.monotonic()
    torch.manual_seed(data.seed)
    sharpener = Sharpener().to(finder.sam.device)
    sharpener.load_state_dict(shipped_sharpener().state_dict())
    until = float("inf") if seconds is None else began + _ASKED * seconds
    own = list(_answers(finder, sharpener, data, until))
    if not own:
        return None
    most = min(_MOST_STEPS, max(1, round(_RATIO * steps)))
    left = None if seconds is None else max(1.0, seconds - (time.monotonic() - began))
    progress = over_steps(most) if left is None else over_time(left, most)
    num = num_processes_of(finder.sam)
    train_sharpener(sharpener, own, [], data.seed, progress, num_processes=num)
    get_used_to(sharpener, own, [], data.seed)
    return sharpener


def _answers(
    finder: InstanceFinder, sharpener: Sharpener, data: SamDataModule, until: float
) -> Iterator[Answered]:
    """Found objects of training images beside the true ones, while there is time, after two images."""
    from samtune.bars import bar
    from samtune.errors import UserError
    from samtune.prompts.seeding import object_rng

    source, num_found = data.whole_source("train"), 0
    order = object_rng(data.seed, "sharpening objects").permutation(len(source)).tolist()
    for number, index in enumerate(bar(order, "looking for objects to sharpen", "image", delay=5)):
        if num_found >= _MOST or (number >= 2 and time.monotonic() > until):
            return
        try:
            sample = source.read(index)
        except UserError:  # was told in training
            continue
        rng = object_rng(data.seed, sample.image_id, "sharpening objects")
        for answer in _of_image(finder, sharpener, sample, rng):
            num_found += 1
            yield answer


def _of_image(
    finder: InstanceFinder, sharpener: Sharpener, sample: Sample, rng: np.random.Generator
) -> Iterator[Answered]:
    from samtune.data.label_maps import without_ignored
    from samtune.heads.instances import flattened
    from samtune.heads.matching import best_matches
    from samtune.inference.sharp_objects import found_objects
    from samtune.training.sharpening import answered

    sample, is_ignored = without_ignored(sample)
    truth, maps = flattened(sample.labels), finder.maps(sample.image)
    maps[:, is_ignored] = 0
    labels, _ = finder.head.decode(maps)
    ious, matches = best_matches(labels, truth)
    found = list(found_objects(labels, finder.head.foreground_logits(maps)))
    num_learned = 0
    for place in rng.permutation(len(found)).tolist():
        one = found[place]
        if ious[one.number - 1] < _SAME:
            continue
        mask = truth == matches[one.number - 1]
        answer = answered(sharpener, sample.image, one.window, one.logits, one.prompt, mask)
        if answer is not None:
            yield answer
            num_learned += 1
        if num_learned >= _OBJECTS:
            return


def _measured(
    finder: InstanceFinder, source: Source, sharpener: Sharpener
) -> Iterator[tuple[float, float, Any, str]]:
    """Of each image: mSA without and with it, scores and IoUs with it, and the image's group."""
    import numpy as np

    from samtune.bars import bar
    from samtune.data.label_maps import without_ignored
    from samtune.heads.instances import flattened
    from samtune.heads.matching import accuracy, best_ious
    from samtune.inference.sharp_objects import sharpened_objects

    for index in bar(range(len(source)), "measuring sharpened objects", "image", delay=5):
        sample, is_ignored = without_ignored(source.read(index))
        truth, maps = flattened(sample.labels), finder.maps(sample.image)
        maps[:, is_ignored] = 0
        labels, scores = finder.head.decode(maps)
        logits = finder.head.foreground_logits(maps)
        sharper = sharpened_objects(sharpener, sample.image, labels, logits)
        sharper[is_ignored] = 0
        ious = best_ious(sharper, truth)
        # the last objects may lie in what is ignored
        ious = np.pad(ious, (0, len(scores) - len(ious)))
        group = sample.group or sample.image_id
        yield accuracy(labels, truth), accuracy(sharper, truth), (scores.astype(float), ious), group

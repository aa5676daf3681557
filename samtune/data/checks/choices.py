"""Which settings fit a data set, and why: the rules of `samtune init`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from samtune.data.augment.presets import PRESETS
from samtune.data.checks.findings import DARK
from samtune.data.checks.sizes import are_too_small, choose_tile, typical_side
from samtune.data.checks.survey import Survey
from samtune.data.splits import SPLITS
from samtune.images.intensity import WINDOWS
from samtune.windows import LEAST_TILE
from samtune.wording import counted

# (question, possible answers, what is taken without one) -> answer
Ask = Callable[[str, list[str], str], str]
# The time of a first run that shows whether tuning helps.
_BUDGETS = {"nano": "5m", "gpu": "15m", "cpu": "2h"}
# An object has this many separate parts on average, where each may be one of its own.
_PARTS = 1.5
# The augmentation that does no harm whatever the pictures are.
_ANY = "light"
# A raster with more values has numbers of objects: legends of land cover have up to some fifty classes.
_MOST_CLASSES = 50
_MEANINGS = {
    "binary": "one value besides 0", "semantic": "a value for each class",
    "instances": "a number for each object",
}  # fmt: skip
# Objects that fill less than this share of their boxes are lines
_THIN = 0.3
_FEW_IMAGES, _FEW_WINDOWS = 20, 12


@dataclass(frozen=True)
class Choice:
    """A setting, its value, and why; one that is off stands in the config as a comment."""

    name: str
    value: Any
    reason: str
    is_off: bool = False


def choose_data(found: Survey, side: int, given: set[str], ask: Ask) -> list[Choice]:
    """Settings of the data.

    Args:
        found: the survey.
        side: of the model's input, pixels.
        given: settings that are not to be chosen.
        ask: puts a question to the user.
    """
    rules = (_format, _labels, _pixels, _window, _tile, _groups, _augment)
    chosen = [choice for rule in rules for choice in rule(found, side, ask)]
    return [choice for choice in chosen if choice.name not in given]


def _format(found: Survey, side: int, ask: Ask) -> Iterator[Choice]:
    yield Choice("data.format", found.format, "recognised by what is in it")


def _labels(found: Survey, side: int, ask: Ask) -> Iterator[Choice]:
    names = {name for image in found.seen for name in image.classes}
    if found.are_numbered and found.format in ("mask_folder", "masks_beside", "hub", "shards"):
        question = (
            "The masks hold 1, 2, ... n, each in one piece: is a value an object, or a class?"
        )
        if ask(question, ["object", "class"], "object") == "object":
            yield Choice("data.labels", "instances", _MEANINGS["instances"])
            return
    is_semantic = found.format in ("mask_folder", "masks_beside", "volumes", "geo") and any(names)
    if found.format in ("mask_folder", "masks_beside") and found.values:
        is_one_value = found.values == 1 and (any(names) or found.num_components >= _PARTS)
        is_semantic |= is_one_value or found.is_interpolated
        if found.is_interpolated:
            reason = "grey levels along the outlines, as after resizing, are no objects"
            yield Choice("data.labels", "binary", reason)
        elif is_one_value:
            yield Choice("data.labels", "binary", _MEANINGS["binary"])
        else:
            meaning = "semantic" if any(names) else "instances"
            yield Choice("data.labels", meaning, _MEANINGS[meaning])
    elif found.has_label_raster and found.values:
        meaning = "semantic" if is_semantic else _meaning_in_scenes(found, ask)
        is_semantic = meaning != "instances"
        yield Choice("data.labels", meaning, _MEANINGS[meaning])
    if is_semantic and found.num_components >= _PARTS:
        question = (
            f"A mask has {found.num_components:.1f} separate parts on average: is each an object of "
            "its own?"
        )
        if ask(question, ["yes", "no"], "yes") == "yes":
            reason = "separate parts are objects of their own"
            yield Choice("data.with_components", True, reason)


def _meaning_in_scenes(found: Survey, ask: Ask) -> str:
    """What the values of label rasters mean: few of them may be classes, as of land cover."""
    is_parted = found.num_components >= _PARTS
    if found.values == 1 and is_parted:
        return "binary"
    if found.values > _MOST_CLASSES:
        return "instances"
    question = (
        f"The label rasters hold {counted(found.values, 'value')}, each in "
        f"{found.num_components:.1f} separate "
        "parts of a window on average: is a value a class or one object?"
    )
    answer = ask(question, ["class", "object"], "class" if is_parted else "object")
    return "semantic" if answer == "class" else "instances"


def _pixels(found: Survey, side: int, ask: Ask) -> Iterator[Choice]:
    stored = found.seen[0].stored
    if found.format == "volumes":
        return
    is_unnamed = not found.are_bands_told
    if stored.num_channels > 3 and (found.format != "geo" or is_unnamed):
        answers = ["0,1,2", "2,1,0"]
        question = (
            f"{counted(stored.num_channels, 'band')}: which are red, green, blue (counted from 0)?"
        )
        bands = [int(part) for part in ask(question, answers, answers[0]).split(",")]
        yield Choice("data.bands", bands, "red, green, blue among the bands")
    elif is_unnamed:
        question = "Which colours have the bands: red, green, blue or blue, green, red?"
        if ask(question, ["rgb", "bgr"], "rgb") == "bgr":
            yield Choice("data.bands", [2, 1, 0], "stored blue, green, red")
    if found.has_window:  # which goes before any stretch
        return
    is_dark = float(np.median([image.brightness for image in found.seen])) < DARK
    if stored.dtype != "uint8" and found.format == "geo":
        yield Choice("data.stretch", "percentile", f"{stored.dtype} values, stretched by scene")
    elif stored.dtype != "uint8" or is_dark:
        reason = "dark images" if stored.dtype == "uint8" else f"{stored.dtype} values"
        yield Choice("data.stretch", "auto", reason)


def _window(found: Survey, side: int, ask: Ask) -> Iterator[Choice]:
    if found.format == "volumes" and found.modality == "ct":
        default = "none" if found.has_window else "soft_tissue"
        without = "that of the files" if found.has_window else "percentiles"
        question = f"CT: which window shows your objects (none: {without})?"
        window = ask(question, [*WINDOWS, "none"], default)
        if window != "none":
            yield Choice("data.window", window, "Hounsfield units that are shown")


def _tile(found: Survey, side: int, ask: Ask) -> Iterator[Choice]:
    if found.format == "geo" or not (tile := choose_tile(found.seen, side)):
        return
    typical = typical_side([area for image in found.seen for area in image.areas])
    seen = typical * side / tile
    reason = f"objects are about {typical:.0f} pixels across, {seen:.0f} at the model's input then"
    yield Choice("data.tile", tile, reason)


def _groups(found: Survey, side: int, ask: Ask) -> Iterator[Choice]:
    tie = found.grouping
    if tie.is_split:
        yield from _groups_of_splits(found, ask)
    elif tie.column:
        are_few = tie.num_groups < len(SPLITS)
        reason = "what belongs together stays in one split"
        if are_few:
            reason = (
                "if nothing of it may lie in two splits; "
                f"{counted(tie.num_groups, 'value makes', 'values make')} no three"
            )
        yield Choice("data.group_column", tie.column, reason, are_few)
    elif tie.regex:
        question = (
            "File names seem to say which images belong together (one patient, slide or video): "
            f"{found.seen[0].image_id}. Keep such images in one split?"
        )
        if ask(question, ["yes", "no"], "yes") == "yes":
            yield Choice(
                "data.group_regex",
                tie.regex,
                "images that share this stay together",
            )


def _groups_of_splits(found: Survey, ask: Ask) -> Iterator[Choice]:
    """Where splits are named, groups say what counts as independent: wrong ones do harm, too."""
    tie = found.grouping
    if tie.is_grouped or not (tie.column or tie.regex):
        return
    name, value = "data.group_regex", tie.regex
    what = f"names such as {found.seen[0].image_id}"
    if tie.column:
        name, value = "data.group_column", tie.column
        what = f"the manifest's column {value}"
    question = (
        f"Can {what} say which images are of one patient, slide or video, so that evaluate must not "
        "count them as independent (and not only of one kind)?"
    )
    answer = ask(question, ["yes", "no", "unsure"], "unsure")
    if answer == "yes":
        yield Choice(name, value, "evaluate counts what belongs together as one")
    elif answer == "unsure":
        reason = (
            f"if {what} can say which images are of one patient, slide or video: without it evaluate "
            "counts images as independent"
        )
        yield Choice(name, value, reason, is_off=True)


def _augment(found: Survey, side: int, ask: Ask) -> Iterator[Choice]:
    preset = found.modality
    reason = "the preset for images of this kind; docs/augmentation.md shows all"
    if not preset:
        preset = ask("What are the images?", [p for p in PRESETS if p != "none"], _ANY)
        kind = "fits any picture" if preset == _ANY else "as you say"
        reason = f"{kind}; docs/augmentation.md shows what there is"
    yield Choice("data.augment", preset, reason)


def choose_scene_tile(found: Survey, side: int) -> int:
    """Side of a scene's windows: the model's input, less where the scene would give too few.

    Finer still where too many objects would be too small.
    """
    longest = max(max(image.hw) for image in found.seen)
    is_small = len(found.sizes) < len(SPLITS) or sum(found.sizes.values()) < _FEW_WINDOWS
    tile = max(LEAST_TILE, longest // 4) if is_small else min(max(side, 256), 1024)
    if are_too_small(found.seen, side, tile):
        return min(tile, choose_tile(found.seen, side) or tile)
    return tile


# What suits `nano` alone
OF_NANO = [
    Choice("model.optim.lr", 1e-3, "a small model learns faster"),
    Choice("model.lora.rank", 32, "and has room to learn yours beside what it knows"),
    Choice("model.lora.alpha", 64, "twice the rank"),
    Choice("model.lora.targets", "all", "layers of the encoder"),
    Choice("data.target_side", 64, "nano's own grid of masks"),
]


def model_of_nano() -> dict[str, dict[str, Any]]:
    """The settings of the model among `OF_NANO`, as `fit` takes them."""
    found: dict[str, dict[str, Any]] = {}
    for choice in OF_NANO:
        section, _, name = choice.name.removeprefix("model.").partition(".")
        if choice.name.startswith("model."):
            found.setdefault(section, {})[name] = choice.value
    return found


def choose_model(base: str, found: Survey, has_gpu: bool) -> list[Choice]:
    """Model, batches and length of a first run."""
    is_nano = base == "nano"
    budget = _BUDGETS["nano" if is_nano else "gpu" if has_gpu else "cpu"]
    batch = 4 if is_nano or has_gpu else 1
    few = found.sizes.get("train", 1) < _FEW_IMAGES
    told = "training, validations and the choice at the end"
    choices = [
        Choice("base", base, "samtune models lists the others"),
        Choice("budget", budget, told + ("; few images: results will be unsure" if few else "")),
        Choice("data.batch_size", batch, "windows at a time; --auto true fits it to the memory"),
    ]
    if is_nano:
        choices += OF_NANO
    fills = [fill for image in found.seen for fill in image.fills]
    if fills and (fill := float(np.median(fills))) < _THIN:
        reason = f"objects fill {fill:.0%} of their boxes: lines come out empty with a plain loss"
        choices.append(Choice("model.loss.pixel_loss", "balanced_bce", reason))
        choices.append(
            Choice("model.loss.general", 4, "twice the usual: such a loss forgets more of the rest")
        )
    return choices

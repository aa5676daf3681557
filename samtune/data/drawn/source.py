"""Endless drawn pictures with exact truth, to train and test a network without any real data.

Picture `n` of a split is fixed by the seed, the split and `n`: it is drawn anew whenever it is read,
and nothing is kept.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import cv2
import numpy as np

from samtune.data.drawn.canvas import Canvas
from samtune.data.drawn.closeups import draw_window, enlarge, mirrored, photographed
from samtune.data.drawn.kinds import KINDS, Scene, draw_ground, draw_palette
from samtune.data.drawn.richer import TRAINING_KINDS
from samtune.data.drawn.textures import TextureBank, texture_bank
from samtune.data.source import Record, Source
from samtune.errors import UserError
from samtune.prompts.seeding import object_rng
from samtune.types import FloatArray, LabelArray, Sample

# An epoch of training is longer than any run; validation and test are short enough to be repeated.
NUM_PICTURES = {"train": 1_000_000, "val": 64, "test": 200}
SIDE = 256
# Shares of the picture below which an object is left out
CRUMB, TRAINING_CRUMB = 0.001, 0.0004


class DrawnPictures(Source):
    """Pictures of one split.

    Args:
        split: `train`, `val`, `test`; no picture is in two of them.
        seed: of all pictures.
        num_pictures: how many there are; 0 takes the split's own number.
        side: of the square pictures, pixels.

    Raises:
        UserError: no such split.
    """

    def __init__(self, split: str, seed: int = 0, num_pictures: int = 0, side: int = SIDE) -> None:
        if split not in NUM_PICTURES:
            raise UserError(f"there are no drawn pictures '{split}': {', '.join(NUM_PICTURES)}")
        self.split, self.seed, self.side = split, seed, side
        self.records = _Records(split, num_pictures or NUM_PICTURES[split])
        texture_bank(seed)  # now: each copy of this process would draw them anew

    def read(self, index: int) -> Sample:
        bank = texture_bank(self.seed)
        # the word is of the first pictures that were drawn: another would draw other ones
        rng = object_rng(self.seed, "scene", self.split, index)
        hw, is_training = (self.side, self.side), self.split == "train"
        canvas = draw_picture(hw, bank, rng, TRAINING_KINDS if is_training else KINDS)
        image, labels, window = canvas.image, canvas.labels, None
        if is_training and (window := draw_window(labels, rng)):
            image, labels = enlarge(image, labels, window, hw)
        pixels = canvas.finished(degrade(image, bank, rng))
        if is_training:
            pixels, labels = mirrored(photographed(pixels, rng), labels, rng)
        crumb = TRAINING_CRUMB if is_training else CRUMB
        labels = without_crumbs(labels, canvas.num_objects, crumb)
        return Sample(self.records[index].image_id, pixels, labels)

    def hw(self, index: int) -> tuple[int, int]:
        return self.side, self.side


class _Records(Sequence[Record]):
    """Records that are made when they are asked for."""

    def __init__(self, split: str, count: int) -> None:
        self.split, self.num_records = split, count

    def __len__(self) -> int:
        return self.num_records

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self.num_records))]
        number = range(self.num_records)[index]
        return Record(f"{self.split}-{number:06d}", Path(), self.split)


def drawn_splits(seed: int) -> dict[str, Source]:
    """Pictures for `train`, `val` and `test`."""
    return {split: DrawnPictures(split, seed) for split in NUM_PICTURES}


def draw_picture(
    hw: tuple[int, int], bank: TextureBank, rng: np.random.Generator,
    kinds: tuple[tuple[Scene, float], ...] = KINDS,
) -> Canvas:  # fmt: skip
    """Draw a picture of one of `kinds`: clean, as a perfect camera would see it."""
    canvas, palette = Canvas(hw, bank, rng), draw_palette(rng)
    draw_ground(canvas, palette)
    scenes, weights = zip(*kinds, strict=True)
    scenes[int(rng.choice(len(scenes), p=weights))](canvas, palette)
    return canvas


def degrade(image: FloatArray, bank: TextureBank, rng: np.random.Generator) -> FloatArray:
    """What light, lens and sensor make of a picture."""
    hw = image.shape[:2]
    if rng.random() < 0.35:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.3:
        light = cv2.resize(rng.uniform(0.5, 1.2, (3, 3)).astype(np.float32), hw[::-1])
        image = image * light[..., None]
    if rng.random() < 0.45:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 2.0)))
    if rng.random() < 0.3:
        image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.4)))
    if rng.random() < 0.25:
        level, contrast = rng.uniform(0.1, 0.9), rng.uniform(0.25, 1.0)
        image = (image - np.float32(image.mean())) * np.float32(contrast) + np.float32(level)
    if rng.random() < 0.08:
        image = 1 - image
    if rng.random() < 0.6:
        noise = bank.noise_crop(hw, rng)
        if rng.random() < 0.5:
            noise = noise[..., :1]
        image = image + noise * np.float32(np.exp(rng.uniform(np.log(0.005), np.log(0.07))))
    return np.asarray(image, np.float32)


def without_crumbs(labels: LabelArray, num_objects: int, smallest: float = CRUMB) -> LabelArray:
    """Remove what occlusion has left too small to be pointed at, a share of the picture."""
    areas = np.bincount(labels.ravel(), minlength=num_objects + 1)
    keep = np.where(areas >= smallest * labels[0].size, np.arange(len(areas)), 0).astype(np.int32)
    return keep[labels]

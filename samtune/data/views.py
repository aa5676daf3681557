"""Views of images with what a dense head should say of them: no prompts, all objects at once.

Views are drawn of about the size that the head has in use, most of them around an object and the
others anywhere, for that nothing is there must be learned too. Each comes several times within an
epoch, so that the encoder, which is frozen, is asked once for all of them. Those of validation are
always the same, and not augmented.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from samtune.data.augment.presets import augment, build_augmentation
from samtune.data.dataset import Failure
from samtune.data.label_maps import without_ignored
from samtune.data.objects import find_objects
from samtune.data.settings import OnError
from samtune.data.source import Kept, Source, cut
from samtune.errors import UserError
from samtune.geometry import labels_to_cells
from samtune.images.preprocess import to_pixel_values
from samtune.prompts.seeding import object_rng
from samtune.types import BACKGROUND, UNNAMED_CLASS, Grid, LabelArray, Sample, Window
from samtune.windows import OBJECT_SIDE, tile_for

log = logging.getLogger(__name__)
# Labels (L, t, t) and classes -> by name (t, t) arrays
MakeTargets = Callable[[LabelArray, Mapping[int, str]], dict[str, NDArray[Any]]]
# Side of a training view over that in use; and the share of views that are drawn around an object
_LEAST, _MOST = 0.7, 1.4
_AROUND = 0.6
# How often a view comes in an epoch of training: the encoder costs as much as a head, and is asked once
REPEATS = 3
# Images that are looked at for the size of objects
_LOOKED_AT = 40
# Of images that each reading process keeps, and views that it does
_KEPT_BYTES, _KEPT_VIEWS_BYTES = 2**29, 2**28


@dataclass(frozen=True)
class ViewSettings:
    """What views are drawn.

    Attributes:
        grid: of the targets, over the input of the network.
        make_targets: what the head should say.
        tile: side of a view in use, pixels; 0 is the whole image.
        object_side: where above 0, views are so large that the image's typical object has this side in
            the input, pixels: the head then finds out in use what size fits.
        augment: preset or file, see `build_augmentation`.
        seed: number that fixes all that is random.
        per_image: views that each image gives in an epoch.
        repeats: how often each of them comes in an epoch of training.
        on_error: `skip` passes over an image that cannot be read, with a warning.
    """

    grid: Grid
    make_targets: MakeTargets
    tile: int = 0
    object_side: float = 0.0
    augment: str = "none"
    seed: int = 0
    per_image: int = 1
    repeats: int = 1
    on_error: OnError = "fail"


@dataclass
class View:
    """One view; a batch of them has a leading B.

    Attributes:
        pixel_values: (3, S, S) float32.
        targets: (t, t) each.
        valid: (t, t) bool: cells that count.
        key: which view of which epoch it is; of a batch those of all.
    """

    pixel_values: Tensor
    targets: dict[str, Tensor]
    valid: Tensor
    key: Any = (0, 0)

    @property
    def num_bytes(self) -> int:
        """Of its tensors."""
        parts = (self.pixel_values, self.valid, *self.targets.values())
        return sum(part.numel() * part.element_size() for part in parts)

    def __len__(self) -> int:
        return len(self.pixel_values)

    def to(self, *arguments: Any, **settings: Any) -> Self:
        """Move all tensors, as `Tensor.to`."""
        return replace(
            self,
            pixel_values=self.pixel_values.to(*arguments, **settings),
            targets={name: part.to(*arguments, **settings) for name, part in self.targets.items()},
            valid=self.valid.to(*arguments, **settings),
        )


class ViewDataset(Dataset[View | Failure | None]):
    """Views of a source's images; indexed by (index, epoch), which with the seed fix all that is drawn.

    Args:
        source: whole images.
        settings: what is drawn.
        is_training: views are augmented.
    """

    def __init__(self, source: Source, settings: ViewSettings, is_training: bool) -> None:
        self.source, self.settings, self.is_training = source, settings, is_training
        self._pipeline = build_augmentation(settings.augment if is_training else "none")
        self._kept = Kept(source, _KEPT_BYTES if is_training else 0)
        self._views: dict[tuple[int, int], View] = {}

    @property
    def num_views(self) -> int:
        """Different ones in an epoch."""
        return len(self.source) * self.settings.per_image

    def __len__(self) -> int:
        return self.num_views * (self.settings.repeats if self.is_training else 1)

    def __getitem__(self, key: tuple[int, int]) -> View | Failure | None:
        own = (key[0] % self.num_views, key[1])
        if own in self._views:
            return self._views[own]
        view = self._draw(*own)
        if isinstance(view, View) and len(self) > self.num_views:
            self._views = {kept: each for kept, each in self._views.items() if kept[1] == own[1]}
            if (len(self._views) + 1) * view.num_bytes <= _KEPT_VIEWS_BYTES:
                self._views[own] = view
        return view

    def _draw(self, place: int, epoch: int) -> View | Failure | None:
        index, number = divmod(place, self.settings.per_image)
        for step in range(len(self.source) if self.is_training else 1):
            try:
                sample = self._kept.read((index + step) % len(self.source))
                return replace(self._view(sample, number, epoch), key=(place, epoch))
            except UserError as error:
                if self.settings.on_error == "fail":
                    return Failure(f"{error} (data.on_error: skip leaves such images out)")
                log.warning("left out: %s", error)
        return Failure("no image could be read") if self.is_training else None

    def _tile(self, sample: Sample) -> int:
        """Side of this image's views in use; without an object that of any."""
        settings = self.settings
        typical = typical_side([sample]) if settings.object_side else 0.0
        if not typical:
            return settings.tile
        return tile_for(typical, settings.object_side, settings.grid.frame.side)

    def _view(self, sample: Sample, number: int, epoch: int) -> View:
        settings = self.settings
        rng = object_rng(settings.seed, epoch, sample.image_id, number, "view")
        sample = cut(sample, draw_view(sample, self._tile(sample), rng))
        sample = augment(sample, self._pipeline, rng)
        sample, is_ignored = without_ignored(sample)
        labels, valid = labels_to_cells(sample.labels, settings.grid)
        valid &= ~labels_to_cells(is_ignored, settings.grid)[0]
        targets = settings.make_targets(labels, sample.classes)
        return View(
            to_pixel_values(sample.image, settings.grid.frame),
            {name: torch.from_numpy(each) for name, each in targets.items()},
            torch.from_numpy(valid),
        )


def draw_view(sample: Sample, tile: int, rng: np.random.Generator) -> Window:
    """A window of about the size of a tile, often around one of the objects."""
    hw = (sample.image.shape[0], sample.image.shape[1])
    ratio = math.exp(rng.uniform(math.log(_LEAST), math.log(_MOST)))
    side = max(16, round((tile or max(hw)) * ratio))
    places = find_objects(sample.labels) if rng.random() < _AROUND else []
    if places:
        place = places[int(rng.integers(len(places)))]
        middle_y, middle_x = (
            (part.start + part.stop) / 2 + rng.uniform(-side / 3, side / 3)
            for part in (place.rows, place.columns)
        )
    else:
        middle_y, middle_x = rng.uniform(0, hw[0]), rng.uniform(0, hw[1])
    y, height = _span(middle_y, side, hw[0])
    x, width = _span(middle_x, side, hw[1])
    return Window(y, x, height, width)


def _span(middle: float, side: int, length: int) -> tuple[int, int]:
    if side >= length:
        return 0, length
    return max(0, min(round(middle - side / 2), length - side)), side


def collate_views(items: Sequence[View | Failure | None]) -> View | Failure:
    """Views as one batch."""
    for item in items:
        if isinstance(item, Failure):
            return item
    views = [item for item in items if isinstance(item, View)]
    if not views:
        return View(torch.empty(0), {}, torch.empty(0))
    return View(
        torch.stack([view.pixel_values for view in views]),
        {name: torch.stack([view.targets[name] for view in views]) for name in views[0].targets},
        torch.stack([view.valid for view in views]),
        [view.key for view in views],
    )


def fitting_tile(source: Source, side: int) -> int:
    """Side of the views in which a head sees typical objects large enough, at most that of the images.

    Larger than a prompt's, for a head sees the pixels as well: fewer views make it quick.

    Args:
        source: whole images, some of which are looked at.
        side: of the network's input, pixels.
    """
    samples = _some(source)
    longest = max(int(max(sample.image.shape[:2])) for sample in samples)
    typical = typical_side(samples)
    return min(tile_for(typical, OBJECT_SIDE, side), longest) if typical else longest


def fitting_tiles(source: Source, side: int) -> tuple[int, int]:
    """The smallest and the largest side of views that fits the objects of one of the images.

    Use does not go beyond: what a head makes of sizes that it never saw tells nothing.
    """
    typical = [found for sample in _some(source) if (found := typical_side([sample]))]
    if not typical:
        tile = fitting_tile(source, side)
        return tile, tile
    return tile_for(min(typical), OBJECT_SIDE, side), tile_for(max(typical), OBJECT_SIDE, side)


def _some(source: Source) -> list[Sample]:
    step = -(-len(source) // _LOOKED_AT)
    return [source.read(index) for index in range(0, len(source), step)]


def typical_side(samples: Sequence[Sample]) -> float:
    """Median side of the objects of images, that of a square of their area, pixels; 0 without one."""
    areas = [place.area for sample in samples for place in find_objects(sample.labels)]
    return float(np.median(np.sqrt(areas))) if areas else 0.0


def class_shares(source: Source) -> dict[str, float]:
    """The share of all pixels that each class has, background first and the others by name.

    Raises:
        UserError: an image cannot be read, or there is no object.
    """
    pixels: Counter[str] = Counter()
    for index in range(len(source)):
        sample, is_ignored = without_ignored(source.read(index))
        names = {n: sample.classes.get(n) or UNNAMED_CLASS for n in np.unique(sample.labels) if n}
        is_object = (sample.labels != 0).any(0)
        pixels[BACKGROUND] += int(np.count_nonzero(~is_object & ~is_ignored))
        for number, name in names.items():
            pixels[name] += int(np.count_nonzero(sample.labels == number))
    classes = sorted(name for name, count in pixels.items() if name != BACKGROUND and count)
    if not classes:
        raise UserError("there is no object in the training images: the masks are empty")
    total = sum(pixels.values())
    return {name: pixels[name] / total for name in (BACKGROUND, *classes)}


def class_counts(source: Source) -> dict[str, int]:
    """How many objects each class has, by name.

    Raises:
        UserError: an image cannot be read, or objects are not of two classes at least.
    """
    counts: Counter[str] = Counter()
    for index in range(len(source)):
        sample, _ = without_ignored(source.read(index))
        ids = np.unique(sample.labels)
        counts.update(sample.classes[n] for n in ids.tolist() if n and sample.classes.get(n))
    if len(counts) < 2:
        found = f"of the class {next(iter(counts))} alone" if counts else "without classes"
        raise UserError(
            f"the training images hold objects {found}: there is nothing to tell apart (data.labels "
            "semantic with data.with_components makes objects of classes)"
        )
    return dict(sorted(counts.items()))

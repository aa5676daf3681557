"""From a source's sample to what a training step takes: augmented, resized, prompted."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from samtune.data.augment.presets import augment, build_augmentation
from samtune.data.features import FeatureStore
from samtune.data.objects import ObjectPlace, find_objects, object_key, object_mask
from samtune.data.settings import TARGET_SIDE, OnError
from samtune.data.source import Kept, Source, cut
from samtune.errors import UserError
from samtune.geometry import mask_to_cells, prompt_to_input, valid_cells
from samtune.images.preprocess import to_pixel_values
from samtune.prompts.protocols import Protocol, Recipe
from samtune.prompts.seeding import object_rng
from samtune.types import Features, FloatArray, InputFrame, ObjectKey, Prompt, Sample, Window
from samtune.windows import FOUND, closer_window, drawn_window

log = logging.getLogger(__name__)
# Of images whose windows are drawn, in each process that reads
_KEPT_BYTES = 2**28


@dataclass
class Item:
    """One image of a batch; fields as in `Batch`, without B.

    Where its features are `kept` in training, it carries no pixels.
    """

    pixel_values: Tensor
    targets: Tensor
    valid: Tensor
    prompts: dict[str, list[Prompt]]
    keys: list[ObjectKey]
    epoch: int
    entry: str = ""
    kept: Features | None = None


@dataclass
class Failure:
    """A user's error on its way out of a worker process, where an exception would lose its form."""

    message: str


@dataclass(frozen=True)
class PromptSettings:
    """What is drawn from each image.

    Attributes:
        frame: of the model's input.
        mask_side: side of the model's mask prompts.
        target_side: side T of the square targets.
        max_objects: per image; more are drawn from, anew each epoch. 0 takes the recipe's number.
        min_area: objects of fewer pixels (original image) are left out.
        augment: preset or file, see `build_augmentation`.
        seed: of everything drawn.
        on_error: `skip` passes over an image that cannot be read, with a warning.
        views: augmented views that take turns; 0 draws a new one in every epoch.
        windows: of each image, around an object each; 0 takes whole images.
    """

    frame: InputFrame
    mask_side: int
    target_side: int = TARGET_SIDE
    max_objects: int = 0
    min_area: int = 10
    augment: str = "none"
    seed: int = 0
    on_error: OnError = "fail"
    views: int = 0
    windows: int = 0

    @property
    def tokens(self) -> int:
        """Of the model's input, along a side."""
        return self.mask_side // 4


class PromptedDataset(Dataset[Item | Failure | None]):
    """Images of a source with targets and first prompts.

    It is indexed by (index, epoch): with the seed these fix everything that is drawn, whatever the
    worker or the order. Validation leaves the epoch at 0.

    Args:
        source: where samples come from.
        settings: what is drawn.
        prompting: a recipe, which draws one first prompt for each object (under the key `first`),
            or protocols, each of which prompts every object.
        is_training: on `on_error: skip` the next readable image takes a bad one's place; in
            validation it is left out.
        store: where features of images are kept, if they are.
    """

    def __init__(
        self,
        source: Source,
        settings: PromptSettings,
        prompting: Recipe | list[Protocol],
        is_training: bool,
        store: FeatureStore | None = None,
    ) -> None:
        self.source = source
        self.store = store
        self.settings = settings
        self.prompting = prompting
        self.is_training = is_training
        self._pipeline = build_augmentation(settings.augment if is_training else "none")
        # each window of an image needs it anew
        self._kept = Kept(source, _KEPT_BYTES if settings.windows else 0)

    @property
    def windows(self) -> int:
        """Items that an image gives."""
        return max(1, self.settings.windows)

    def __len__(self) -> int:
        return len(self.source) * self.windows

    def __getitem__(self, key: tuple[int, int]) -> Item | Failure | None:
        (index, number), epoch = divmod(key[0], self.windows), key[1]
        attempts = len(self.source) if self.is_training else 1
        for step in range(attempts):
            try:
                return self._make_item(
                    self._kept.read((index + step) % len(self.source)), number, epoch
                )
            except UserError as error:
                if self.settings.on_error == "fail":
                    return Failure(f"{error} (data.on_error: skip leaves such images out)")
                log.warning("left out: %s", error)
        return Failure("no image could be read") if self.is_training else None

    def _make_item(self, sample: Sample, number: int, epoch: int) -> Item | None:
        settings = self.settings
        view = epoch % settings.views if settings.views else epoch
        main = -1
        if settings.windows:
            windowed = self._window(sample, number, view)
            if windowed is None:
                return None
            sample, main = windowed
        name = sample.image_id
        sample = augment(sample, self._pipeline, object_rng(settings.seed, view, name, "augment"))
        original_hw = sample.image.shape[:2]
        places = self._choose(sample, main, object_rng(settings.seed, epoch, name, "objects"))
        grid = settings.frame.grid(settings.target_side)
        targets = np.zeros((len(places), grid.side, grid.side), np.uint8)
        prompts: dict[str, list[Prompt]] = {key: [] for key in self._prompt_keys()}
        mask_grid = settings.frame.grid(settings.mask_side)
        for number, place in enumerate(places):
            mask = object_mask(sample.labels, place)
            targets[number] = mask_to_cells(mask, grid)
            for key in prompts:
                rng = object_rng(settings.seed, epoch, name, place.object_id, key)
                prompt = self._protocol(key, rng).draw(mask, rng, mask_grid)
                prompts[key].append(prompt_to_input(prompt, original_hw, settings.frame))
        entry = self.store.name_of(sample.image) if self.store else ""
        kept = self.store.read(entry) if self.store else None
        return Item(
            # a picture of a validation image may be drawn
            torch.empty(0)
            if kept is not None and self.is_training
            else to_pixel_values(sample.image, settings.frame),
            torch.from_numpy(targets),
            torch.from_numpy(valid_cells(original_hw, grid)),
            prompts,
            [object_key(sample, place) for place in places],
            epoch,
            entry,
            kept,
        )

    def _prompt_keys(self) -> list[str]:
        if isinstance(self.prompting, Recipe):
            return ["first"]
        return [protocol.name for protocol in self.prompting]

    def _protocol(self, key: str, rng: np.random.Generator) -> Protocol:
        if isinstance(self.prompting, Recipe):
            return self.prompting.draw_protocol(rng)
        return next(protocol for protocol in self.prompting if protocol.name == key)

    def _window(self, sample: Sample, number: int, view: int) -> tuple[Sample, int] | None:
        """A window of an image around one of its objects, and that object's id.

        In training both are drawn; in validation each object has its turn, in the window that a point
        on it would have in use, and where there are no more, there is nothing. Of other objects those
        stay that lie in the window by more than half.
        """
        settings, name = self.settings, f"{sample.image_id}#{number}"
        hw = (sample.image.shape[0], sample.image.shape[1])
        whole = Window(0, 0, *hw)
        places = self._fitting(sample)
        if not places:
            is_first = number == 0 or self.is_training
            return (replace(sample, image_id=name), -1) if is_first else None
        if self.is_training:
            rng = object_rng(settings.seed, view, name, "window")
            place = places[int(rng.integers(len(places)))]
            window = drawn_window(_box(place), hw, settings.tokens, rng)
        else:
            if number >= len(places):
                return None
            rng = object_rng(settings.seed, 0, sample.image_id, "window")
            place = places[rng.permutation(len(places))[number]]
            window = closer_window(_box(place), whole, hw, settings.tokens, FOUND) or whole
        part = replace(cut(sample, window), image_id=name)
        areas = {each.object_id: each.area for each in places}
        for each in find_objects(part.labels):
            if 2 * each.area < areas.get(each.object_id, 0):
                layer = part.labels[each.layer]
                layer[layer == each.object_id] = 0
        return part, place.object_id

    def _fitting(self, sample: Sample) -> list[ObjectPlace]:
        """Objects that are neither too small nor nearly the whole image."""
        recipe = self.prompting if isinstance(self.prompting, Recipe) else None
        whole = sample.image.shape[0] * sample.image.shape[1]
        most = (recipe.max_cover if recipe else 1.0) * whole
        places = find_objects(
            sample.labels, max(self.settings.min_area, recipe.min_area if recipe else 0)
        )
        return [place for place in places if place.area <= most]

    def _choose(self, sample: Sample, main: int, rng: np.random.Generator) -> list[ObjectPlace]:
        """At most so many objects, the main one of a window among them."""
        recipe = self.prompting if isinstance(self.prompting, Recipe) else None
        max_objects = self.settings.max_objects or (recipe.max_objects if recipe else 0)
        places = self._fitting(sample)
        if max_objects and len(places) > max_objects:
            order = rng.permutation(len(places)).tolist()
            order.sort(key=lambda number: places[number].object_id != main)  # stable
            places = [places[number] for number in sorted(order[:max_objects])]
        return places


def _box(place: ObjectPlace) -> FloatArray:
    rows, columns = place.rows, place.columns
    return np.array([columns.start, rows.start, columns.stop - 1, rows.stop - 1], np.float32)

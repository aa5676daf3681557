"""The data of a run, for Lightning and for evaluation: settings in, sources and loaders out."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from samtune.data.dataset import PromptedDataset, PromptSettings
from samtune.data.drawn.source import DrawnPictures
from samtune.data.features import FeatureStore, open_store
from samtune.data.formats import open_splits
from samtune.data.loader import BatchLoader
from samtune.data.settings import DataSettings
from samtune.data.source import Source, Subset, Tiles, notes_of
from samtune.data.splits import divide_as_before
from samtune.data.views import REPEATS, ViewDataset, collate_views
from samtune.errors import UserError
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.prompts.seeding import object_rng
from samtune.types import InputFrame

log = logging.getLogger(__name__)
# Images larger than this are read in blocks of it, pixels: objects on the edge of one are cut there
_BLOCK = 2048
# Training windows of an epoch, at least
_WINDOWS_AN_EPOCH = 256
# Objects of a validation window; and of an image, where there is no limit
_OBJECTS_A_WINDOW, _VAL_OBJECTS = 8, 256
# General pictures, and objects of each for every image of a step: a picture that is encoded anyway
# holds the more, the more of its objects are asked for; hardly one has more than the last number
_NUM_GENERAL, _GENERAL_OBJECTS, _MOST_GENERAL_OBJECTS = 256, 10, 40
# Prompts on general pictures: those that a tuned model is measured with there; points forget first
_GENERAL_FIRST = {"point": 0.6, "box": 0.4}
# Views that a head is validated on, at most
_VIEWS_VALIDATED = 200


class SamDataModule(pl.LightningDataModule):
    """Images and masks of a run.

    Args:
        settings: where they are, how they are read, divided, prompted and loaded.
        is_for_head: a head learns from views of all objects; what the settings ignore is an object of
            the class `IGNORED_CLASS`.
        repeats: how often each of these views comes in an epoch of training.

    Raises:
        UserError: the tile is still to be chosen, see `checks/tiling.py`.
    """

    def __init__(
        self, settings: DataSettings, is_for_head: bool = False, repeats: int = REPEATS
    ) -> None:
        super().__init__()
        if settings.tile == "auto":
            raise UserError(
                "data.tile is auto: here no model says how large objects must be; give pixels (samtune "
                "init proposes them, and a run's config.yaml holds those that were chosen)"
            )
        self.is_for_head, self.repeats = is_for_head, repeats
        self.settings = settings
        self.path = Path(settings.path)
        self.format = settings.format
        self.reading = settings.reading
        self.tile, self.tile_overlap = settings.tile_side, settings.overlap
        self.train_images = settings.train_images
        self.recipe = RECIPES[settings.recipe]
        self.val_protocols = find_protocols(settings.val_protocols)
        self.val_objects = settings.val_objects
        self.target_side = settings.target_side
        self.augment, self.max_objects = settings.augment, settings.max_objects
        self.min_area = settings.min_area
        self.batch_size = settings.batch_size
        self.num_workers = _choose_num_workers(settings.num_workers)
        self.on_error = settings.on_error
        self.seed = settings.seed
        self.cache = settings.cache
        self.store: FeatureStore | None = None
        self._most_validated = 0
        self._sources: dict[str, Source] = {}
        self._before: Mapping[str, Sequence[str]] = {}
        self._is_training = False
        self._train_loader: BatchLoader | None = None
        self._loader_state = {"num_given": 0}

    def source(self, split: str, indices: list[int] | None = None) -> Source:
        """Images of `train`, `val` or `test`, as they are trained on and asked about.

        Whole ones where windows are drawn from them, but for very large ones, which are read in blocks;
        without windows they are cut into tiles, if the settings say so.

        Args:
            split: their name.
            indices: of the images that are wanted; `None` for all.

        Raises:
            UserError: the data cannot be opened, or the split is empty.
        """
        source = self.whole_source(split)
        source = source if indices is None else Subset(source, indices)
        if source.is_tiled:
            return source
        if not self.with_windows:
            return self._cut(source, self.tile, self.tile_overlap) if self.tile else source
        longest = max((max(hw) for hw in self._sizes(source).values()), default=0)
        return self._cut(source, _BLOCK, _BLOCK // 8) if longest > _BLOCK else source

    def _cut(self, source: Source, side: int, overlap: int) -> Source:
        """Tiles of the images whose size can be read; others are errors, or passed over."""
        readable = list(self._sizes(source))
        return Tiles(
            source if len(readable) == len(source) else Subset(source, readable), side, overlap
        )

    def _sizes(self, source: Source) -> dict[int, tuple[int, int]]:
        """Height and width of images by their place; what cannot be read is left out if so set."""
        sizes = {}
        for index in range(len(source)):
            try:
                sizes[index] = source.hw(index)
            except UserError:
                if self.on_error == "fail":
                    raise
        return sizes

    def tiles(self, split: str) -> Source:
        """Images as everything is searched in them: in tiles, if the settings say so.

        Raises:
            UserError: the data cannot be opened, or the split is empty.
        """
        source = self.whole_source(split)
        is_to_be_cut = self.tile and not source.is_tiled
        return self._cut(source, self.tile, self.tile_overlap) if is_to_be_cut else source

    @property
    def with_windows(self) -> bool:
        """Whether training draws windows around objects; drawn pictures are small already."""
        return self.settings.windows != 0 and self.format != "drawn"

    def windows(self, split: str) -> int:
        """How many windows an image of a split gives; 0 for none."""
        if not self.with_windows:
            return 0
        if split == "val" and self._most_validated:
            return 1
        if split == "val":
            return -(-(self.val_objects or _VAL_OBJECTS) // _OBJECTS_A_WINDOW)
        if self.settings.windows > 0:
            return self.settings.windows
        return -(-_WINDOWS_AN_EPOCH // len(self.source("train")))

    def split_sizes(self) -> dict[str, int]:
        """How many images each split has, before they are cut into tiles."""
        self._open()
        return {name: len(source) for name, source in self._sources.items()}

    @property
    def notes(self) -> list[str]:
        """What the reader noted of the data: what is left out, say."""
        self._open()
        return notes_of(self._sources.values())

    def _open(self) -> None:
        if not self._sources:
            found = open_splits(
                self.path,
                self.format,
                replace(self.settings.of_source, keeps_ignored=self.is_for_head),
                self.settings.of_splits,
            )
            self._sources = self._divided(found) if self._before else found

    def keep_splits(self, before: Mapping[str, Sequence[str]], is_training: bool = False) -> None:
        """Divide the images as a run has divided them, though some were added or removed since.

        Args:
            before: image ids by split.
            is_training: what was trained on so far must all be there.
        """
        self._before, self._is_training = before, is_training

    def _divided(self, found: dict[str, Source]) -> dict[str, Source]:
        division = divide_as_before(found, self._before)
        if gone := [
            f"{len(ids)} of {name}, such as {ids[0]}" for name, ids in division.missing.items()
        ]:
            told = f"images that the run had are not in {self.path} now: {'; '.join(gone)}"
            is_needed = self._is_training and {"train", "val"} & division.missing.keys()
            if is_needed or not any(map(len, division.sources.values())):
                raise UserError(f"{told}: put them back")
            log.warning("%s", told)
        if added := division.added:
            log.warning(
                "%d images were added to %s since the run began, such as %s: they are in none of its "
                "splits and are left out", len(added), self.path, added[0],
            )  # fmt: skip
        return division.sources

    def image_ids(self) -> dict[str, list[str]]:
        """Of each split, before images are cut into tiles."""
        self._open()
        return {
            name: [record.image_id for record in source.records]
            for name, source in self._sources.items()
        }

    def whole_source(self, split: str) -> Source:
        """Images of a split before they are cut into tiles.

        Raises:
            UserError: the data cannot be opened, or the split is empty.
        """
        self._open()
        source = self._sources.get(split)
        if source is None or not len(source):
            sizes = ", ".join(f"{name} {len(part)}" for name, part in self._sources.items())
            raise UserError(f"the split '{split}' of {self.path} has no images (found: {sizes})")
        if split == "train" and 0 < self.train_images < len(source):
            # of one seed, the fewer are among the more
            order = object_rng(self.seed, "train images").permutation(len(source))
            return Subset(source, sorted(order[: self.train_images].tolist()))
        return source

    def setup(self, stage: str) -> None:
        """Open the data, so that a wrong path is said before anything is loaded."""
        if stage == "fit":
            self.source("train")
            self.source("val")

    def prompted(self, frame: InputFrame, mask_side: int) -> PromptedDataset:
        """Training images with their first prompts, for who wants to see them."""
        settings = PromptSettings(
            frame, mask_side, self.target_side, self.max_objects, self.min_area, self.augment,
            self.seed, self.on_error, 0, self.windows("train"),
        )  # fmt: skip
        return PromptedDataset(self.source("train"), settings, self.recipe, True)

    def train_dataset(self, model: Any) -> PromptedDataset:
        """Training images for a model: its `frame`, `mask_side` and `frozen_part` are asked for."""
        settings = self._prompt_settings(model, self.max_objects, "train")
        store = self._open_store(model)
        return PromptedDataset(self.source("train"), settings, self.recipe, True, store)

    def val_dataset(self, model: Any) -> PromptedDataset:
        """Validation images for a model."""
        windows, source = self.windows("val"), self.source("val")
        if windows and self._most_validated:
            step = -(-len(source) // self._most_validated)
            source = Subset(source, list(range(0, len(source), step)))
        most = _OBJECTS_A_WINDOW if windows else self.val_objects
        settings = self._prompt_settings(model, most, "val")
        store = self._open_store(model)
        return PromptedDataset(source, settings, self.val_protocols, False, store)

    def views_dataset(self, split: str, model: Any) -> ViewDataset:
        """Views for a dense head: drawn of training images, of the others as they are in use."""
        source, per_image = self.whole_source(split), max(1, self.windows("train"))
        settings = model.view(self.seed, self.augment, per_image, self.repeats, self.on_error)
        if split == "train":
            return ViewDataset(source, settings, True)
        most = self._most_validated or _VIEWS_VALIDATED
        source = Subset(source, list(range(0, len(source), -(-len(source) // most))))
        return ViewDataset(source, replace(settings, per_image=max(1, most // len(source))), False)

    def general_dataset(self, model: Any) -> PromptedDataset:
        """Drawn pictures with prompts, that a model may be held to what its base answers."""
        most = min(_GENERAL_OBJECTS * self.batch_size, _MOST_GENERAL_OBJECTS)
        settings = replace(self._prompt_settings(model, most, "train"), augment="none", windows=0)
        pictures = DrawnPictures("train", num_pictures=_NUM_GENERAL)
        recipe = replace(self.recipe, first=_GENERAL_FIRST)
        return PromptedDataset(pictures, settings, recipe, True, self._open_store(model))

    def spread_validation(self, most: int) -> None:
        """Validate on so many images at most, evenly spread, on one window of each."""
        self._most_validated = most

    def num_items(self, split: str) -> int:
        """Images of an epoch, or windows of them, as often as they come."""
        return len(self.source(split)) * max(1, self.windows(split)) * self._repeats(split)

    def _repeats(self, split: str) -> int:
        return self.repeats if self.is_for_head and split == "train" else 1

    def tell_epoch(self) -> str:
        """How long an epoch is, in words: what is counted are windows or tiles, where images give them.

        Raises:
            UserError: there are no training images.
        """
        images, items = len(self.whole_source("train")), self.num_items("train")
        kind = "windows" if self.with_windows else "tiles"
        repeats = self._repeats("train")
        parts = f", {items // repeats} {kind} of them" if items != images * repeats else ""
        parts += f", each {repeats} times" if repeats > 1 else ""
        batches = -(-items // self.batch_size)
        return f"an epoch: {images} images{parts}, {batches} batches of {self.batch_size}"

    def num_kept(self) -> int:
        """How many answers of the encoder the cache will hold."""
        general = _NUM_GENERAL if self.recipe.general and self.format != "drawn" else 0
        return self.num_items("train") * max(1, self.views) + self.num_items("val") + general

    @property
    def views(self) -> int:
        """Views of each training image (or window) that take turns; 0 draws new ones each time."""
        if self.cache.mode == "off":
            return 0
        return max(1, self.cache.views) if self.augment != "none" or self.with_windows else 0

    def _open_store(self, model: Any) -> FeatureStore | None:
        """Open the cache, once, and tell the model of it."""
        if self.store is None and self.cache.mode != "off":
            self.store = open_store(self.cache, model.frozen_part, self.augment)
            model.store = self.store
        return self.store

    def train_dataloader(self) -> BatchLoader:
        model, place = self._trained_model(), self._place()
        if model.reads_views:
            self._train_loader = BatchLoader(
                self.views_dataset("train", model), self.batch_size, self.seed, self.num_workers,
                *place, collate=collate_views,
            )  # fmt: skip
        else:
            self._train_loader = BatchLoader(
                self.train_dataset(model), self.batch_size, self.seed, self.num_workers, *place
            )
        self._train_loader.load_state_dict(self._loader_state)
        self._loader_state = {"num_given": 0}
        return self._train_loader

    def state_dict(self) -> dict[str, int]:
        """Where in the epoch training is; an epoch that is over, cut short or not, is none begun.

        Lightning would ask the loader itself, but hands the answer back too late when the number of
        steps has to be known for the learning rate.
        """
        if self._train_loader is None or self.trainer is None:
            return self._loader_state
        state = self._train_loader.state_dict()
        is_over = state["num_given"] >= self.trainer.num_training_batches
        return state | {"num_given": 0} if is_over else state

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._loader_state = state_dict

    def val_dataloader(self) -> BatchLoader:
        model = self._trained_model()
        if model.reads_views:
            return BatchLoader(
                self.views_dataset("val", model), self.batch_size, None, self.num_workers,
                *self._place(), collate=collate_views,
            )  # fmt: skip
        dataset = self.val_dataset(model)
        return BatchLoader(dataset, self.batch_size, None, self.num_workers, *self._place())

    def _place(self) -> tuple[int, int]:
        """Which of how many training processes this one is."""
        assert self.trainer is not None, "loaders are made by a Lightning trainer"
        return int(self.trainer.global_rank), int(self.trainer.world_size)

    def _trained_model(self) -> Any:
        assert self.trainer is not None, "loaders are made by a Lightning trainer"
        return self.trainer.lightning_module

    def _prompt_settings(self, model: Any, max_objects: int, split: str) -> PromptSettings:
        return PromptSettings(
            model.frame, int(model.mask_side), self.target_side, max_objects,
            self.min_area, self.augment, self.seed, self.on_error, self.views, self.windows(split),
        )  # fmt: skip


def _choose_num_workers(number: int) -> int:
    if number >= 0:
        return number
    return min(8, max(1, (os.cpu_count() or 1) // 2))

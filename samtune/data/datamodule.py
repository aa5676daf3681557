"""The data of a run, for Lightning: data sets for a model, and loaders that go on where they were."""

import logging
import os
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from samtune.data.augment.presets import build_augmentation
from samtune.data.dataset import PromptedDataset, PromptSettings
from samtune.data.drawn.source import DrawnPictures
from samtune.data.features import FeatureStore, open_store
from samtune.data.loader import BatchLoader
from samtune.data.settings import DataSettings
from samtune.data.source import Subset
from samtune.data.split_sources import OBJECTS_A_WINDOW, SplitSources
from samtune.data.views import REPEATS, ViewDataset, collate_views
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.types import InputFrame

log = logging.getLogger(__name__)
# General pictures, and objects of each for every image of a step: a picture that is encoded anyway
# holds the more, the more of its objects are asked for; hardly one has more than the last number
_NUM_GENERAL, _GENERAL_OBJECTS, _MOST_GENERAL_OBJECTS = 256, 10, 40
# Prompts on general pictures: those that a tuned model is measured with there; points forget first
_GENERAL_FIRST = {"point": 0.6, "box": 0.4}
# Views that a head is validated on, at most
_VIEWS_VALIDATED = 200


class SamDataModule(SplitSources, pl.LightningDataModule):
    """Images and masks of a run, prompted or in views, and the loaders of both.

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
        pl.LightningDataModule.__init__(self)
        SplitSources.__init__(self, settings, is_for_head)
        self.repeats = repeats
        self.recipe = RECIPES[settings.recipe]
        self.val_protocols = find_protocols(settings.val_protocols)
        self.target_side = settings.target_side
        self.augment, self.max_objects = settings.augment, settings.max_objects
        self.min_area = settings.min_area
        self.batch_size = settings.batch_size
        self.num_workers = _choose_num_workers(settings.num_workers)
        self.cache = settings.cache
        self.store: FeatureStore | None = None
        self._train_loader: BatchLoader | None = None
        self._loader_state = {"num_given": 0}

    def setup(self, stage: str) -> None:
        """Open the data, so that a wrong path or preset is said before anything is loaded."""
        if stage == "fit":
            build_augmentation(self.augment)
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
        most = OBJECTS_A_WINDOW if windows else self.val_objects
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

"""The data of a run, for Lightning and for evaluation: settings in, sources and loaders out."""

import os
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl

from samtune.data.dataset import TARGET_SIDE, OnError, PromptedDataset, PromptSettings
from samtune.data.features import CacheSettings, FeatureStore, open_store
from samtune.data.formats import Format, open_splits
from samtune.data.image_io import as_range
from samtune.data.loader import BatchLoader
from samtune.data.source import ReadSettings, Source, Subset, Tiles
from samtune.data.splits import SplitSettings
from samtune.data.volume_slices import Axis
from samtune.errors import UserError
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.prompts.seeding import object_rng
from samtune.types import InputFrame, Stretch

Labels = Literal["auto", "instances", "semantic", "binary"]
RecipeName = Literal["mixed", "sam", "sam2", "medsam", "points", "boxes"]


class SamDataModule(pl.LightningDataModule):
    """Images and masks of a run.

    Args:
        path: folder with images/ and labels/ or masks/, or a folder or file of COCO, YOLO, labelme,
            Pascal VOC, CVAT, Label Studio, tar shards, NIfTI volumes, or of Hugging Face
            (`save_to_disk`, parquet, or the name hf:OWNER/NAME).
        format: of the data; `auto` recognises it; `procedural` draws endless scenes, without a path.
        labels: what mask values mean: `instances`, `semantic` classes, `binary`; `auto` takes the
            folder labels/ as instances and masks/ as classes.
        with_components: make every connected part an object of its own.
        class_names: names of the mask values, such as `{1: road}`.
        ignore_values: mask values that are no object.
        stretch: `percentile` for dark or 16-bit images, `auto` to decide by image, or `none`.
        window: of CT volumes: lung, bone, soft_tissue, brain, liver, or CENTRE,WIDTH in Hounsfield
            units; without one, percentiles of each volume are stretched (MR).
        axis: that volumes are cut across; `auto` is that of clearly the coarsest spacing, or axial.
        with_neighbours: a volume's slice has its neighbours as red and blue.
        slices: of volumes, and windows of scenes: those that are `labelled`, or `all`.
        objects: of scenes: a vector file, a label raster, or a folder of them, where they do not lie
            beside the scenes.
        layer: of vector files: the layer with the objects, where several hold polygons.
        class_column: of polygons: the attribute that names their class.
        encoding: of the polygons' text, such as latin-1, where the file does not say.
        block: side of the blocks of a scene that splits never tear apart, pixels; 0 chooses.
        value_range: intensities that become 0 and 255, such as [200, 3000], instead of a stretch.
        bands: channels in the order red, green, blue: numbers from 0, or names that a GeoTIFF has.
        split_column: manifest column that names the split.
        split_folder: folder with train.txt, val.txt, test.txt of image ids.
        group_column: manifest column whose values must not lie in two drawn splits (patient, slide).
        group_regex: the part of an image id that names its group, instead of a column.
        val_fraction: share of images drawn for validation where the data names none.
        test_fraction: share of images drawn for testing where the data names none.
        split_seed: of drawn splits, where they are to stay while `seed` changes; -1 for `seed`.
        train_images: training images at most, drawn by `seed`; 0 for all.
        tile: side of tiles that larger images are cut into, pixels; 0 reads whole images, and
            scenes in windows of 512.
        tile_overlap: of neighbouring tiles, pixels.
        recipe: how prompts are simulated in training.
        val_protocols: prompts of the validation.
        val_objects: objects per validation image at most; 0 for all.
        augment: none, light, microscopy, fluorescence, he, aerial, satellite, ct, mr, xray, ultrasound,
            endoscopy, medical (docs/augmentation.md shows them), or a file of albumentations.
        max_objects: objects per training image at most; 0 takes the recipe's number.
        target_side: side of the grid on which losses are taken; 64 is nano's own, and fast.
        min_area: smaller objects are left out, pixels of the original image.
        batch_size: images at a time.
        num_workers: processes that read images; -1 chooses by the number of cores.
        on_error: `skip` leaves out images that cannot be read, with a warning; `fail` stops.
        seed: of splits, order, augmentation and prompts.
        cache: keeping what the frozen part of the encoder makes of each image.
    """

    def __init__(
        self,
        path: str = "data",
        format: Format = "auto",
        labels: Labels = "auto",
        with_components: bool = False,
        class_names: dict[int, str] | None = None,
        ignore_values: list[int] | None = None,
        stretch: Stretch = "none",
        window: str = "",
        axis: Axis = "auto",
        with_neighbours: bool = False,
        slices: Literal["labelled", "all"] = "labelled",
        objects: str = "",
        layer: str = "",
        class_column: str = "",
        encoding: str = "",
        block: int = 0,
        value_range: list[float] | None = None,
        bands: list[int | str] | None = None,
        split_column: str = "split",
        split_folder: str = "",
        group_column: str = "",
        group_regex: str = "",
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = -1,
        train_images: int = 0,
        tile: int = 0,
        tile_overlap: int = 64,
        recipe: RecipeName = "mixed",
        val_protocols: list[str] = ["box", "point"],  # noqa: B006 (jsonargparse shows it)
        val_objects: int = 32,
        augment: str = "none",
        max_objects: int = 0,
        target_side: int = TARGET_SIDE,
        min_area: int = 10,
        batch_size: int = 1,
        num_workers: int = -1,
        on_error: OnError = "fail",
        seed: int = 0,
        cache: CacheSettings = CacheSettings(),  # noqa: B008
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}: give a whole number from 1 up")
        if tile and not 0 <= tile_overlap < tile:
            raise UserError(f"data.tile_overlap is {tile_overlap}: give 0 to {tile - 1}")
        if tile and format == "procedural":
            raise UserError("data.tile is for images of files: procedural scenes are small already")
        if cache.mode != "off" and format == "procedural":
            raise UserError("data.cache is for images of files: procedural scenes never come again")
        if train_images < 0:
            raise UserError(f"data.train_images is {train_images}: give a whole number from 0 up")
        if target_side < 1:
            raise UserError(f"data.target_side is {target_side}: give a whole number from 1 up")
        self.path = Path(path)
        self.format = format
        self.read_settings = ReadSettings(
            stretch, tuple(bands) if bands else None, as_range(value_range), labels, with_components,
            tuple(ignore_values or ()), tuple((class_names or {}).items()),
            window, axis, with_neighbours, slices,
            objects, layer, class_column, encoding, tile, tile_overlap, block,
        )  # fmt: skip
        self.split_settings = SplitSettings(
            split_column, Path(split_folder) if split_folder else None, group_column, group_regex,
            val_fraction, test_fraction, seed if split_seed < 0 else split_seed,
        )  # fmt: skip
        self.train_images = train_images
        self.tile, self.tile_overlap = tile, tile_overlap
        self.recipe = RECIPES[recipe]
        self.val_protocols = find_protocols(val_protocols)
        self.val_objects = val_objects
        self.target_side = target_side
        self.augment, self.max_objects, self.min_area = augment, max_objects, min_area
        self.batch_size = batch_size
        self.num_workers = _choose_num_workers(num_workers)
        self.on_error = on_error
        self.seed = seed
        self.cache = cache
        self.store: FeatureStore | None = None
        self._sources: dict[str, Source] = {}
        self._train_loader: BatchLoader | None = None
        self._loader_state = {"num_given": 0}

    def source(self, split: str, indices: list[int] | None = None) -> Source:
        """Images of `train`, `val` or `test`, cut into tiles if the settings say so.

        Args:
            split: their name.
            indices: of the images that are wanted; `None` for all.

        Raises:
            UserError: the data cannot be opened, or the split is empty.
        """
        source = self.whole_source(split)
        source = source if indices is None else Subset(source, indices)
        is_to_be_cut = self.tile and not source.is_tiled
        return Tiles(source, self.tile, self.tile_overlap) if is_to_be_cut else source

    def split_sizes(self) -> dict[str, int]:
        """How many images each split has, before they are cut into tiles."""
        self._open()
        return {name: len(source) for name, source in self._sources.items()}

    def _open(self) -> None:
        if not self._sources:
            self._sources = open_splits(
                self.path, self.format, self.read_settings, self.split_settings
            )

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
            self.seed, self.on_error,
        )  # fmt: skip
        return PromptedDataset(self.source("train"), settings, self.recipe, True)

    def train_dataset(self, model: Any) -> PromptedDataset:
        """Training images for a model: its `frame`, `mask_side` and `frozen_part` are asked for."""
        settings = self._prompt_settings(model, self.max_objects)
        store = self._open_store(model)
        return PromptedDataset(self.source("train"), settings, self.recipe, True, store)

    def val_dataset(self, model: Any) -> PromptedDataset:
        """Validation images for a model."""
        settings = self._prompt_settings(model, self.val_objects)
        store = self._open_store(model)
        return PromptedDataset(self.source("val"), settings, self.val_protocols, False, store)

    def num_kept(self) -> int:
        """How many answers of the encoder the cache will hold."""
        return len(self.source("train")) * max(1, self.views) + len(self.source("val"))

    @property
    def views(self) -> int:
        """Augmented views of each training image that take turns; 0 without a cache."""
        return self.cache.views if self.cache.mode != "off" and self.augment != "none" else 0

    def _open_store(self, model: Any) -> FeatureStore | None:
        """Open the cache, once, and tell the model of it."""
        if self.store is None and self.cache.mode != "off":
            self.store = open_store(self.cache, model.frozen_part, self.augment)
            model.store = self.store
        return self.store

    def train_dataloader(self) -> BatchLoader:
        dataset = self.train_dataset(self._trained_model())
        self._train_loader = BatchLoader(
            dataset, self.batch_size, self.seed, self.num_workers, *self._place()
        )
        self._train_loader.load_state_dict(self._loader_state)
        self._loader_state = {"num_given": 0}
        return self._train_loader

    def state_dict(self) -> dict[str, int]:
        """Where in the epoch training is.

        Lightning would ask the loader itself, but hands the answer back too late when the number of
        steps has to be known for the learning rate.
        """
        return self._train_loader.state_dict() if self._train_loader else self._loader_state

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._loader_state = state_dict

    def val_dataloader(self) -> BatchLoader:
        dataset = self.val_dataset(self._trained_model())
        return BatchLoader(dataset, self.batch_size, None, self.num_workers, *self._place())

    def _place(self) -> tuple[int, int]:
        """Which of how many training processes this one is."""
        assert self.trainer is not None, "loaders are made by a Lightning trainer"
        return int(self.trainer.global_rank), int(self.trainer.world_size)

    def _trained_model(self) -> Any:
        assert self.trainer is not None, "loaders are made by a Lightning trainer"
        return self.trainer.lightning_module

    def _prompt_settings(self, model: Any, max_objects: int) -> PromptSettings:
        return PromptSettings(
            model.frame, int(model.mask_side), self.target_side, max_objects,
            self.min_area, self.augment, self.seed, self.on_error, self.views,
        )  # fmt: skip


def _choose_num_workers(number: int) -> int:
    if number >= 0:
        return number
    return min(8, max(1, (os.cpu_count() or 1) // 2))

"""The settings of a run's data: each is a flag, a key in YAML and an argument in Python."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from samtune.errors import UserError
from samtune.images.intensity import as_range
from samtune.ranges import Count, CountOrChoice, NotNegative, Positive, Share
from samtune.reading import Axis, Reading
from samtune.types import Stretch

Format = Literal[
    "auto", "coco", "mask_folder", "yolo", "labelme", "volumes", "geo", "voc", "cvat",
    "label_studio", "shards", "hub", "masks_beside", "nnunet", "folder_per_image",
    "cell_tracking", "drawn",
]  # fmt: skip
Labels = Literal["auto", "instances", "semantic", "binary"]
RecipeName = Literal["mixed", "sam", "sam2", "medsam", "micro_sam", "samed", "points", "boxes"]
# What annotations that COCO files mark as crowds are
Crowds = Literal["auto", "objects", "left_out"]
OnError = Literal["fail", "skip"]
# Formats that data sets are written in
Target = Literal["coco", "labels", "yolo", "labelme"]
# Side T of the square targets: SAM's own low resolution. The loss of a smaller network is taken
# there too, on upsampled logits.
TARGET_SIDE = 256
# Of neighbouring tiles, pixels, where nothing else is said
MOST_OVERLAP = 64


@dataclass(frozen=True)
class CacheSettings:
    """Keeping what the frozen part of the encoder makes of each image.

    Attributes:
        mode: whether the output of the frozen part of the encoder is kept on disk: fp16 takes half
            the space of fp32 (rounding: 5e-4 of a value).
        folder: of the cache; runs share it.
        views: augmented versions of each image that are kept and used in turn; 0 allows no random
            augmentation.
        limit_gb: the folder grows no further than this; images beyond it are computed each time.
    """

    mode: Literal["off", "fp16", "fp32"] = "off"
    folder: str = ".samtune-cache"
    views: Count = 0
    limit_gb: NotNegative = 100.0


@dataclass(frozen=True)
class SourceSettings:
    """How the files of a source become samples.

    Attributes:
        reading: of the pixels.
        labels: what mask values mean: `instances`, `semantic` (one object per class), `binary`
            (everything above 0 is one object); `auto` decides by folder name and values.
        with_components: connected parts become objects of their own.
        ignore_values: label values that are no object.
        keeps_ignored: these are objects of the class `IGNORED_CLASS` instead: for who learns from every
            pixel, they are no background either.
        class_names: label value -> name.
        slices: those slices or windows that are `labelled`, or `all`.
        objects, layer, class_column, encoding, tile_overlap, block: of scenes, see `readers/geo.py`.
        crowds: what annotations are that COCO files mark as crowds.
        with_foreign_labels: of volumes: also DICOM labels that say they belong to another image.
    """

    reading: Reading = field(default_factory=Reading)
    labels: Labels = "auto"
    with_components: bool = False
    ignore_values: tuple[int, ...] = ()
    keeps_ignored: bool = False
    class_names: tuple[tuple[int, str], ...] = ()
    slices: str = "labelled"
    objects: str = ""
    layer: str = ""
    class_column: str = ""
    encoding: str = ""
    tile_overlap: Count = MOST_OVERLAP
    block: Count = 0
    crowds: Crowds = "auto"
    with_foreign_labels: bool = False


@dataclass(frozen=True)
class SplitSettings:
    """How images are divided.

    Attributes:
        column: manifest column that names each image's split.
        folder: folder with `train.txt`, `val.txt`, `test.txt`, one image id a line; `None` without.
        group_column: manifest column whose values must not lie in two splits (patient, slide);
            without it the column `group`, unless the splits that the data names share its values.
        group_regex: the part of an image id that names its group, such as `^(.*)_\\d+$`.
        val_fraction, test_fraction: shares that are drawn where the data names no such split.
        seed: of the drawing.
    """

    column: str = "split"
    folder: Path | None = None
    group_column: str = ""
    group_regex: str = ""
    val_fraction: Share = 0.15
    test_fraction: Share = 0.15
    seed: int = 0


@dataclass(frozen=True)
class DataSettings:
    """Images and masks of a run.

    Attributes:
        path: folder with images/ and labels/ or masks/, with images and their masks (a.png,
            a_masks.png), or a folder or file of COCO, YOLO, labelme, Pascal VOC, CVAT, Label Studio,
            nnU-Net, Data Science Bowl 2018, Cell Tracking Challenge, tar shards, NIfTI volumes, or of
            Hugging Face (`save_to_disk`, parquet, or the name hf:OWNER/NAME).
        format: format of the data; `auto` recognises it; `drawn` draws endless pictures and needs no
            path.
        labels: what mask values mean: `instances`, `semantic` classes, `binary`; `auto` takes the
            folder labels/ as instances and masks/ as classes.
        with_components: make every connected part an object of its own.
        class_names: names of the mask values, such as `{1: road}`.
        ignore_values: mask values that are neither object nor background.
        stretch: `percentile` for dark or 16-bit images, `auto` to decide by image, or `none`.
        window: of CT: lung, bone, soft_tissue, brain, liver, or CENTRE,WIDTH in Hounsfield units;
            without one, percentiles of each volume are stretched (MR).
        axis: the direction in which volumes are cut into slices; `auto` takes the one with clearly the
            coarsest spacing, or axial.
        with_neighbours: show the neighbours of a volume's slice as red and blue.
        slices: which slices of volumes and windows of scenes: those that are `labelled`, or `all`.
        with_foreign_labels: of volumes: take DICOM SEG and RTSTRUCT also where they say that they
            belong to another patient, study or frame of reference than their image.
        objects: of scenes: a vector file, a label raster, or a folder of them, where they do not lie
            beside the scenes.
        layer: the layer of a vector file that holds the objects, where several hold polygons.
        class_column: the attribute of polygons, or the column of a label raster's table, that names
            classes.
        encoding: encoding of the polygons' text, such as latin-1, where the file does not say.
        block: side of the blocks of a scene that splits never tear apart, pixels; 0 chooses.
        crowds: what annotations with `iscrowd: 1` of COCO files are: regions that are `left_out`, or
            `objects`, as CVAT marks every mask; `auto` decides by what else is there, and says so.
        value_range: intensities that become 0 and 255, such as [200, 3000], instead of a stretch.
        bands: channels in the order red, green, blue: numbers from 0, or names that a GeoTIFF has;
            of volumes with several values a voxel: which of them (channels, times).
        split_column: manifest column that names the split.
        split_folder: folder with train.txt, val.txt, test.txt of image ids.
        group_column: manifest column whose values must not lie in two drawn splits (patient, slide).
        group_regex: the part of an image id that names its group, instead of a column.
        val_fraction: share of images drawn for validation where the data names none.
        test_fraction: share of images drawn for testing where the data names none.
        split_seed: number that fixes the random splits, if they should stay while `seed` changes;
            -1 uses `seed`.
        train_images: training images at most, drawn by `seed`; 0 for all.
        windows: windows of random sizes around objects, taken from each training image in an epoch;
            -1 chooses their number so that an epoch has 256 or more, 0 takes whole images or tiles.
        tile: side in pixels of the windows in which images are looked at (for points, for searching
            everything, for scenes); 0 takes the whole image, or 512 pixels of a scene; `auto` chooses
            by the sizes of the objects (fit, check, evaluate, compare, calibrate, thresholds, scale).
        tile_overlap: of neighbouring tiles, pixels; -1 is a quarter of their side, but no more than 64.
        recipe: how prompts are simulated in training.
        val_protocols: prompts of the validation.
        val_objects: objects per validation image at most; 0 for all.
        augment: none, light, microscopy, fluorescence, he, aerial, satellite, ct, mr, xray, ultrasound,
            endoscopy, medical (docs/augmentation.md shows them), or a file of albumentations.
        max_objects: objects per training image at most; 0 takes the recipe's number.
        target_side: side of the grid on which losses are computed; 64 is nano's own, and fast.
        min_area: smaller objects are left out, pixels of the original image.
        batch_size: images at a time.
        num_workers: processes that read images; -1 chooses by the number of cores.
        on_error: `skip` leaves out images that cannot be read, with a warning; `fail` stops.
        seed: number that fixes splits, order, augmentation and prompts.
        cache: keeping what the frozen part of the encoder makes of each image.

    Raises:
        UserError: a value makes no sense.
    """

    path: str = "data"
    format: Format = "auto"
    labels: Labels = "auto"
    with_components: bool = False
    class_names: dict[int, str] | None = None
    ignore_values: list[int] | None = None
    stretch: Stretch = "none"
    window: str = ""
    axis: Axis = "auto"
    with_neighbours: bool = False
    slices: Literal["labelled", "all"] = "labelled"
    with_foreign_labels: bool = False
    objects: str = ""
    layer: str = ""
    class_column: str = ""
    encoding: str = ""
    block: Count = 0
    crowds: Crowds = "auto"
    value_range: list[float] | None = None
    bands: list[int | str] | None = None
    split_column: str = "split"
    split_folder: str = ""
    group_column: str = ""
    group_regex: str = ""
    val_fraction: Share = 0.15
    test_fraction: Share = 0.15
    split_seed: CountOrChoice = -1
    train_images: Count = 0
    windows: CountOrChoice = -1
    tile: Count | Literal["auto"] = 0
    tile_overlap: CountOrChoice = -1
    recipe: RecipeName = "mixed"
    val_protocols: list[str] = field(default_factory=lambda: ["box", "point"])
    val_objects: Count = 32
    augment: str = "none"
    max_objects: Count = 0
    target_side: Positive = TARGET_SIDE
    min_area: Count = 10
    batch_size: Positive = 1
    num_workers: CountOrChoice = -1
    on_error: OnError = "fail"
    seed: int = 0
    cache: CacheSettings = field(default_factory=CacheSettings)

    def __post_init__(self) -> None:
        _ = self.reading  # says what makes no sense
        if (side := self.tile_side) and self.tile_overlap >= side:
            raise UserError(f"data.tile_overlap is {self.tile_overlap}: give 0 to {side - 1}")
        if self.tile and self.format == "drawn":
            raise UserError("data.tile is for images of files: drawn pictures are small already")
        if self.cache.mode != "off" and self.format == "drawn":
            raise UserError("data.cache is for images of files: drawn pictures never come again")

    @property
    def reading(self) -> Reading:
        """How pixels are read, in training and by everything that uses the model."""
        return Reading(
            tuple(self.bands) if self.bands else None, self.stretch,
            as_range(self.value_range),
            self.window, self.axis, self.with_neighbours, self.tile_side,
        )  # fmt: skip

    @property
    def tile_side(self) -> int:
        """Side of the tiles, pixels; 0 for whole images, and as long as it is not chosen."""
        return 0 if self.tile == "auto" else self.tile

    @property
    def overlap(self) -> int:
        """Of neighbouring tiles, pixels."""
        if self.tile_overlap >= 0:
            return self.tile_overlap
        return min(MOST_OVERLAP, (self.tile_side or MOST_OVERLAP * 4) // 4)

    @property
    def of_source(self) -> SourceSettings:
        """How files become samples."""
        return SourceSettings(
            self.reading, self.labels, self.with_components, tuple(self.ignore_values or ()), False,
            tuple((self.class_names or {}).items()), self.slices, self.objects, self.layer,
            self.class_column, self.encoding, self.overlap, self.block, self.crowds,
            self.with_foreign_labels,
        )  # fmt: skip

    @property
    def of_splits(self) -> SplitSettings:
        """Where the splits come from."""
        return SplitSettings(
            self.split_column, Path(self.split_folder) if self.split_folder else None,
            self.group_column, self.group_regex, self.val_fraction, self.test_fraction,
            self.seed if self.split_seed < 0 else self.split_seed,
        )  # fmt: skip

"""The images of a run, split by split: opened once, whole or cut, divided as before where a run has."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from samtune.data.formats import open_splits
from samtune.data.settings import DataSettings
from samtune.data.source import Source, Subset, Tiles, notes_of
from samtune.data.splits import divide_as_before
from samtune.errors import UserError
from samtune.prompts.seeding import object_rng

log = logging.getLogger(__name__)
# Images larger than this are read in blocks of it, pixels: objects on the edge of one are cut there
_BLOCK = 2048
# Training windows of an epoch, at least
_WINDOWS_AN_EPOCH = 256
# Objects of a validation window; and of an image, where there is no limit
OBJECTS_A_WINDOW, _VAL_OBJECTS = 8, 256


class SplitSources:
    """Training, validation and test images.

    Args:
        settings: where they are, and how they are read, divided and cut.
        is_for_head: what the settings ignore is an object of the class `IGNORED_CLASS`.

    Raises:
        UserError: the tile is still to be chosen, see `checks/tiling.py`.
    """

    def __init__(self, settings: DataSettings, is_for_head: bool = False) -> None:
        if settings.tile == "auto":
            raise UserError(
                "data.tile is auto: here no model says how large objects must be; give pixels (samtune "
                "init proposes them, and a run's config.yaml holds those that were chosen)"
            )
        self.is_for_head = is_for_head
        self.settings = settings
        self.path = Path(settings.path)
        self.format = settings.format
        self.reading = settings.reading
        self.tile, self.tile_overlap = settings.tile_side, settings.overlap
        self.train_images = settings.train_images
        self.val_objects, self.on_error = settings.val_objects, settings.on_error
        self.seed = settings.seed
        self._most_validated = 0
        self._sources: dict[str, Source] = {}
        self._before: Mapping[str, Sequence[str]] = {}
        self._is_training = False

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
            return -(-(self.val_objects or _VAL_OBJECTS) // OBJECTS_A_WINDOW)
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

    def spread_validation(self, most: int) -> None:
        """Validate on so many images at most, evenly spread, on one window of each."""
        self._most_validated = most
